//! The archive as it is at one moment, to read from. It blocks: only a thread that may wait calls it.

use std::collections::{BTreeSet, HashMap, hash_map};
use std::ops::Bound;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use redb::{AccessGuard, Database, ReadOnlyTable, ReadTransaction, ReadableDatabase, StorageError};

use super::codec::{self, Header, Unreadable, lane_number};
use super::failure::Failure;
use super::schema::{ENTRIES, IDS, LANES, META, NAMES, POSTINGS, TOPICS, TOTALS, TopicRow, Totals};
use super::topic_directory::TopicDirectory;
use crate::server::log::id_cipher::IdCipher;
use crate::server::log::page::PageBudget;
use crate::server::log::{Cursor, Entry, Lane, Page, Topic, TopicFilter, TopicInfo};

pub(super) struct Snapshot {
    txn: ReadTransaction,
    entries: ReadOnlyTable<u64, &'static [u8]>,
    pub(super) totals: Totals,
}

/// Which entries of the archive to look at.
#[derive(Clone, Copy)]
pub(super) struct Look {
    /// Maximum number of entries.
    pub(super) count: usize,
    /// About how many bytes of them.
    pub(super) bytes: usize,
    /// Whether private ones are looked at, or passed over.
    pub(super) private: bool,
    /// The same of the hub's own events.
    pub(super) system: bool,
}

impl Look {
    /// Looks at whatever there is.
    pub(super) fn at_all(count: usize, bytes: usize) -> Self {
        Self { count, bytes, private: true, system: true }
    }

    /// Looks at what a filter may want.
    pub(super) fn of(filter: &dyn TopicFilter, count: usize, bytes: usize) -> Self {
        Self { count, bytes, private: filter.wants_private(), system: filter.wants_system() }
    }
}

/// A part of the log as its headers tell it.
pub(super) struct Window {
    pub(super) places: Vec<Seen>,
    /// The last place that was looked at or passed over, and how many there were.
    pub(super) last: Option<Cursor>,
    pub(super) count: usize,
    /// Whether the log ends with it.
    pub(super) is_last: bool,
    /// How many bytes were looked at.
    pub(super) bytes: usize,
}

/// An entry that has been looked at.
pub(super) struct Seen {
    pub(super) cursor: Cursor,
    pub(super) topics: SeenTopics,
    /// How many bytes it counts for.
    pub(super) size: usize,
}

/// The topics of an entry that has been looked at.
pub(super) enum SeenTopics {
    Numbers(Vec<u64>),
    /// Those of one of the hub's own events, which have no number.
    Names(Box<[Topic]>),
}

impl SeenTopics {
    pub(super) fn numbers(&self) -> &[u64] {
        match self {
            Self::Numbers(numbers) => numbers,
            Self::Names(_) => &[],
        }
    }

    pub(super) fn names(&self) -> &[Topic] {
        match self {
            Self::Numbers(_) => &[],
            Self::Names(names) => names,
        }
    }
}

impl Snapshot {
    pub(super) fn begin(database: &Database) -> Result<Self, Failure> {
        let txn = database.begin_read()?;
        let entries = txn.open_table(ENTRIES)?;
        let totals = Totals::decode(txn.open_table(META)?.get(TOTALS)?.ok_or(Unreadable)?.value())?;
        Ok(Self { txn, entries, totals })
    }

    /// The numbers of the known ones among these topics.
    pub(super) fn known(&self, topics: &[Topic]) -> Result<Vec<u64>, Failure> {
        let names = self.txn.open_table(NAMES)?;
        let mut numbers = Vec::with_capacity(topics.len());
        for topic in topics {
            numbers.extend(names.get(topic.as_str())?.map(|number| number.value()));
        }
        Ok(numbers)
    }

    /// Whether any of these topics has lost entries after `cursor`.
    pub(super) fn have_evicted(&self, numbers: &[u64], cursor: Cursor) -> Result<bool, Failure> {
        for &number in numbers {
            if self.row(number)?.is_some_and(|row| row.evicted > cursor) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// How many entries say that they were taken after a time.
    pub(super) fn count_after(&self, time: DateTime<Utc>) -> Result<u64, Failure> {
        let mut count = 0;
        for row in self.entries.range::<u64>(..)? {
            count += u64::from(codec::archived(row?.1.value())?.at > time);
        }
        Ok(count)
    }

    /// What is true of a topic, if it is known.
    pub(super) fn row(&self, number: u64) -> Result<Option<TopicRow>, Failure> {
        let topics = self.txn.open_table(TOPICS)?;
        topics.get(number)?.map(|row| Ok(TopicRow::decode(row.value())?)).transpose()
    }

    /// What the archive holds on a topic.
    pub(super) fn topic_info(&self, topic: &Topic, directory: &TopicDirectory) -> Result<Option<TopicInfo>, Failure> {
        let number = self.txn.open_table(NAMES)?.get(topic.as_str())?.map(|number| number.value());
        match number {
            Some(number) => self.topic_info_of(number, directory),
            None => Ok(None),
        }
    }

    /// The same for the topics after one, in the order of their names, at most `limit`.
    pub(super) fn topic_infos(
        &self,
        after: Option<&Topic>,
        limit: usize,
        directory: &TopicDirectory,
    ) -> Result<Vec<TopicInfo>, Failure> {
        let begin = after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.as_str()));
        let mut infos = Vec::new();
        for row in self.txn.open_table(NAMES)?.range::<&str>((begin, Bound::Unbounded))? {
            if infos.len() == limit {
                break;
            }
            infos.extend(self.topic_info_of(row?.1.value(), directory)?);
        }
        Ok(infos)
    }

    fn topic_info_of(&self, number: u64, directory: &TopicDirectory) -> Result<Option<TopicInfo>, Failure> {
        let Some(row) = self.row(number)? else { return Ok(None) };
        let newest = self.last_of(&[number], Cursor(u64::MAX), 1)?.first().copied().unwrap_or_default();
        Ok(Some(TopicInfo { topic: self.name(number, directory)?, updates: row.count, bytes: row.bytes, newest }))
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

    /// The first places from `from` on, whatever their topics.
    pub(super) fn window_from(&self, from: Cursor, look: Look) -> Result<Window, Failure> {
        look_at(self.entries.range(from.0..)?.map(row), look)
    }

    /// The last places up to `to`, newest first, whatever their topics.
    pub(super) fn window_until(&self, to: Cursor, look: Look) -> Result<Window, Failure> {
        look_at(self.entries.range(..=to.0)?.rev().map(row), look)
    }

    /// The first places of the hub's own events within `from..=to`.
    pub(super) fn system_window(&self, from: Cursor, to: Cursor, look: Look) -> Result<Window, Failure> {
        let lanes = self.txn.open_table(LANES)?;
        let number = lane_number(Lane::System);
        let places = lanes.range((number, from.0)..=(number, to.0.max(from.0)))?;
        let rows = places.map(|place| {
            let cursor = place?.0.value().1;
            Ok((Cursor(cursor), self.entries.get(cursor)?.ok_or(Unreadable)?))
        });
        look_at(rows, look)
    }

    /// The topics of what has been looked at, by their numbers.
    pub(super) fn topics_of(
        &self,
        window: &Window,
        directory: &TopicDirectory,
    ) -> Result<HashMap<u64, Topic>, Failure> {
        let mut topics = HashMap::new();
        for &number in window.places.iter().flat_map(|seen| seen.topics.numbers()) {
            if let hash_map::Entry::Vacant(topic) = topics.entry(number) {
                topic.insert(self.name(number, directory)?);
            }
        }
        Ok(topics)
    }

    /// Goes on with a page: the entries at these places, which are in order. Those that are not there or have had
    /// their time are left out. Answers whether all of them have been looked at, as far as there was budget.
    pub(super) fn fetch(
        &self,
        cursors: &[Cursor],
        directory: &TopicDirectory,
        now: DateTime<Utc>,
        budget: &mut PageBudget,
        page: &mut Page,
    ) -> Result<bool, Failure> {
        let mut take = |cursor, value: &[u8]| -> Result<bool, Failure> {
            let header = codec::archived(value)?;
            if !header.has_expired(now) {
                if !budget.take_bytes(usize::try_from(header.size).unwrap_or(usize::MAX)) {
                    return Ok(false);
                }
                page.entries.push(Arc::new(self.entry(cursor, &header, directory)?));
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
    pub(super) fn all_at(&self, cursors: &[Cursor], directory: &TopicDirectory) -> Result<Vec<Arc<Entry>>, Failure> {
        cursors.iter().filter_map(|cursor| self.get(*cursor, directory).transpose()).collect()
    }

    /// The entry at this place.
    pub(super) fn get(&self, cursor: Cursor, directory: &TopicDirectory) -> Result<Option<Arc<Entry>>, Failure> {
        let value = self.entries.get(cursor.0)?;
        value.map(|value| Ok(Arc::new(self.entry(cursor, &codec::archived(value.value())?, directory)?))).transpose()
    }

    /// The earliest entry with an id that its publisher gave.
    pub(super) fn given(
        &self,
        id: &str,
        cipher: &IdCipher,
        directory: &TopicDirectory,
    ) -> Result<Option<Arc<Entry>>, Failure> {
        let digest = cipher.digest(id);
        for row in self.txn.open_table(IDS)?.range((digest, 0)..=(digest, u64::MAX))? {
            let entry = self.get(Cursor(row?.0.value().1), directory)?;
            if let Some(entry) = entry.filter(|entry| &*entry.id == id) {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    fn entry(&self, cursor: Cursor, header: &Header<'_>, directory: &TopicDirectory) -> Result<Entry, Failure> {
        let topics = match header.lane {
            Lane::System => header.topic_names()?,
            _ => header.topics().map(|number| self.name(number, directory)).collect::<Result<_, _>>()?,
        };
        Ok(header.entry(cursor, topics)?)
    }

    fn name(&self, number: u64, directory: &TopicDirectory) -> Result<Topic, Failure> {
        match directory.get(number) {
            Some(topic) => Ok(topic),
            // Forgotten since, but not in this snapshot.
            None => {
                let row = self.row(number)?.ok_or(Unreadable)?;
                Ok(Topic::parse(&row.name).map_err(|_| Unreadable)?)
            }
        }
    }
}

type Value<'a> = AccessGuard<'a, &'static [u8]>;

fn row<'a>(row: redb::Result<(AccessGuard<'a, u64>, Value<'a>), StorageError>) -> Result<(Cursor, Value<'a>), Failure> {
    let (cursor, value) = row?;
    Ok((Cursor(cursor.value()), value))
}

fn look_at<'a>(
    rows: impl Iterator<Item = Result<(Cursor, Value<'a>), Failure>>,
    look: Look,
) -> Result<Window, Failure> {
    let mut window = Window { places: Vec::new(), last: None, count: 0, is_last: true, bytes: 0 };
    for row in rows {
        if window.count == look.count || window.bytes >= look.bytes {
            window.is_last = false;
            break;
        }
        let (cursor, value) = row?;
        let header = codec::archived(value.value())?;
        let is_system = header.lane == Lane::System;
        if (look.private || !header.private) && (look.system || !is_system) {
            let topics = match is_system {
                true => SeenTopics::Names(header.topic_names()?),
                false => SeenTopics::Numbers(header.topics().collect()),
            };
            window.places.push(Seen { cursor, topics, size: usize::try_from(header.size).unwrap_or(usize::MAX) });
        }
        window.last = Some(cursor);
        window.count += 1;
        window.bytes += value.value().len();
    }
    Ok(window)
}
