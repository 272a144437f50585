//! The archive as it is at one moment, to read from. It blocks: only a thread that may wait calls it.

use std::collections::{BTreeSet, HashMap, hash_map};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use redb::{Database, ReadOnlyTable, ReadTransaction, ReadableDatabase};

use super::archive::Failure;
use super::codec::{self, Header, Unreadable};
use super::names::Names;
use super::schema::{ENTRIES, IDS, META, NAMES, POSTINGS, TOPICS, TOTALS, TopicRow, Totals};
use crate::server::log::page::PageBudget;
use crate::server::log::seal::Seal;
use crate::server::log::{Cursor, Entry, Page, Topic};

pub(super) struct Snapshot {
    txn: ReadTransaction,
    entries: ReadOnlyTable<u64, &'static [u8]>,
    pub(super) totals: Totals,
}

/// A part of the log as its headers tell it.
pub(super) struct Window {
    pub(super) places: Vec<Seen>,
    /// Whether the log ends with it.
    pub(super) is_last: bool,
    /// How many bytes were looked at.
    pub(super) bytes: usize,
}

/// An entry that has been looked at.
pub(super) struct Seen {
    pub(super) cursor: Cursor,
    /// Its topics' numbers.
    pub(super) topics: Vec<u64>,
    /// How many bytes its frame has.
    pub(super) frame: usize,
}

impl Snapshot {
    pub(super) fn begin(database: &Database) -> Result<Self, Failure> {
        let txn = database.begin_read()?;
        let entries = txn.open_table(ENTRIES)?;
        let totals = Totals::decode(txn.open_table(META)?.get(TOTALS)?.ok_or(Unreadable)?.value())?;
        Ok(Self { txn, entries, totals })
    }

    /// The numbers of those of these topics that are known.
    pub(super) fn known(&self, topics: &[Topic]) -> Result<Vec<u64>, Failure> {
        let names = self.txn.open_table(NAMES)?;
        let mut numbers = Vec::with_capacity(topics.len());
        for topic in topics {
            numbers.extend(names.get(topic.as_str())?.map(|number| number.value()));
        }
        Ok(numbers)
    }

    /// Whether any of these topics has lost entries after `cursor`.
    pub(super) fn have_lost(&self, numbers: &[u64], cursor: Cursor) -> Result<bool, Failure> {
        for &number in numbers {
            if self.row(number)?.is_some_and(|row| row.removed > cursor) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What is true of a topic, if it is known.
    pub(super) fn row(&self, number: u64) -> Result<Option<TopicRow>, Failure> {
        let topics = self.txn.open_table(TOPICS)?;
        topics.get(number)?.map(|row| Ok(TopicRow::decode(row.value())?)).transpose()
    }

    /// The first places of these topics within `from..=to`, in order, at most `limit`.
    pub(super) fn first_of(
        &self,
        numbers: &[u64],
        from: Cursor,
        to: Cursor,
        limit: usize,
    ) -> Result<Vec<Cursor>, Failure> {
        let postings = self.txn.open_table(POSTINGS)?;
        if let [number] = numbers {
            let rows = postings.range((*number, from.0)..=(*number, to.0.max(from.0)))?.take(limit);
            let places = rows.map(|row| Ok(Cursor(row?.0.value().1)));
            return places.filter(|place| !matches!(place, Ok(place) if *place > to)).collect();
        }
        let mut cursors = BTreeSet::new();
        for &number in numbers {
            // Nothing behind the last of enough is of use.
            let to = if cursors.len() < limit { to } else { *cursors.last().unwrap_or(&to) };
            if from > to {
                continue;
            }
            for row in postings.range((number, from.0)..=(number, to.0))?.take(limit) {
                cursors.insert(Cursor(row?.0.value().1));
                if cursors.len() > limit {
                    cursors.pop_last();
                }
            }
        }
        Ok(cursors.into_iter().collect())
    }

    /// The last places of these topics up to `to`, newest first, at most `limit`.
    pub(super) fn last_of(&self, numbers: &[u64], to: Cursor, limit: usize) -> Result<Vec<Cursor>, Failure> {
        let postings = self.txn.open_table(POSTINGS)?;
        let mut cursors = BTreeSet::new();
        for &number in numbers {
            for row in postings.range((number, 0)..=(number, to.0))?.rev().take(limit) {
                cursors.insert(Cursor(row?.0.value().1));
                if cursors.len() > limit {
                    cursors.pop_first();
                }
            }
        }
        Ok(cursors.into_iter().rev().collect())
    }

    /// The first places from `from` on, whatever their topics, until there are so many or so many bytes of them.
    pub(super) fn window_from(&self, from: Cursor, count: usize, bytes: usize) -> Result<Window, Failure> {
        look_at(self.entries.range(from.0..)?, count, bytes)
    }

    /// The last places up to `to`, newest first, whatever their topics, until there are so many or so many bytes
    /// of them.
    pub(super) fn window_until(&self, to: Cursor, count: usize, bytes: usize) -> Result<Window, Failure> {
        look_at(self.entries.range(..=to.0)?.rev(), count, bytes)
    }

    /// The topics of what has been looked at, by their numbers.
    pub(super) fn topics_of(&self, window: &Window, names: &Names) -> Result<HashMap<u64, Topic>, Failure> {
        let mut topics = HashMap::new();
        for &number in window.places.iter().flat_map(|seen| &seen.topics) {
            if let hash_map::Entry::Vacant(topic) = topics.entry(number) {
                topic.insert(self.name(number, names)?);
            }
        }
        Ok(topics)
    }

    /// Goes on with a page: the entries at these places, which are in order. Those that are not there or have had
    /// their time are left out. Answers whether all of them have been looked at, as far as there was budget.
    pub(super) fn fetch(
        &self,
        cursors: &[Cursor],
        names: &Names,
        now: DateTime<Utc>,
        budget: &mut PageBudget,
        page: &mut Page,
    ) -> Result<bool, Failure> {
        let mut take = |cursor, value: &[u8]| -> Result<bool, Failure> {
            let header = codec::archived(value)?;
            if !header.has_expired(now) {
                if !budget.take_bytes(header.frame.len()) {
                    return Ok(false);
                }
                page.entries.push(Arc::new(self.entry(cursor, &header, names)?));
            }
            page.next = cursor;
            Ok(true)
        };
        if let [first, .., last] = cursors
            && last.0.wrapping_sub(first.0) == cursors.len() as u64 - 1
        {
            // One after the other: one descent into the tree instead of one each.
            for row in self.entries.range(first.0..=last.0)? {
                let (cursor, value) = row?;
                if !take(Cursor(cursor.value()), value.value())? {
                    return Ok(false);
                }
            }
        } else {
            for &cursor in cursors {
                if let Some(value) = self.entries.get(cursor.0)?
                    && !take(cursor, value.value())?
                {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// The entries at these places, as far as they are there.
    pub(super) fn all_at(&self, cursors: &[Cursor], names: &Names) -> Result<Vec<Arc<Entry>>, Failure> {
        cursors.iter().filter_map(|cursor| self.get(*cursor, names).transpose()).collect()
    }

    /// The entry at this place.
    pub(super) fn get(&self, cursor: Cursor, names: &Names) -> Result<Option<Arc<Entry>>, Failure> {
        let value = self.entries.get(cursor.0)?;
        value.map(|value| Ok(Arc::new(self.entry(cursor, &codec::archived(value.value())?, names)?))).transpose()
    }

    /// The earliest entry with an id that its publisher gave.
    pub(super) fn given(&self, id: &str, seal: &Seal, names: &Names) -> Result<Option<Arc<Entry>>, Failure> {
        let digest = seal.digest(id);
        for row in self.txn.open_table(IDS)?.range((digest, 0)..=(digest, u64::MAX))? {
            let entry = self.get(Cursor(row?.0.value().1), names)?;
            if let Some(entry) = entry.filter(|entry| &*entry.id == id) {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    fn entry(&self, cursor: Cursor, header: &Header<'_>, names: &Names) -> Result<Entry, Failure> {
        let topics = header.topics().map(|number| self.name(number, names)).collect::<Result<_, _>>()?;
        Ok(header.entry(cursor, topics)?)
    }

    fn name(&self, number: u64, names: &Names) -> Result<Topic, Failure> {
        match names.get(number) {
            Some(topic) => Ok(topic),
            // Forgotten since, but not in this snapshot.
            None => {
                let row = self.row(number)?.ok_or(Unreadable)?;
                Ok(Topic::parse(&row.name).map_err(|_| Unreadable)?)
            }
        }
    }
}

type Row<'a> = (redb::AccessGuard<'a, u64>, redb::AccessGuard<'a, &'static [u8]>);

fn look_at<'a>(
    rows: impl Iterator<Item = Result<Row<'a>, redb::StorageError>>,
    count: usize,
    bytes: usize,
) -> Result<Window, Failure> {
    let mut window = Window { places: Vec::new(), is_last: true, bytes: 0 };
    for row in rows {
        if window.places.len() == count || window.bytes >= bytes {
            window.is_last = false;
            break;
        }
        let (cursor, value) = row?;
        let header = codec::archived(value.value())?;
        let (topics, frame) = (header.topics().collect(), header.frame.len());
        window.places.push(Seen { cursor: Cursor(cursor.value()), topics, frame });
        window.bytes += value.value().len();
    }
    Ok(window)
}
