//! The one transaction that puts entries into the archive and takes others out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use redb::{ReadableTable, ReadableTableMetadata, Table, WriteTransaction};

use super::codec::{self, Unreadable, lane_number};
use super::failure::Failure;
use super::schema::{
    ENTRIES, EXPIRIES, IDS, LANES, LATE, META, NAMES, POSTINGS, TOPICS, TOTALS, TopicRow, Totals, WHOLE_LOG,
};
use crate::server::log::id_cipher::IdCipher;
use crate::server::log::{Cursor, Entry, Lane, Topic};

/// Why an entry is taken out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Removal {
    /// It has expired, as its publisher said: nobody misses it.
    Expired,
    /// Retention evicts it: a reader that has not had it is told of a gap.
    Eviction,
}

/// All tables, open for writing.
pub(super) struct Tables<'t> {
    pub(super) entries: Table<'t, u64, &'static [u8]>,
    pub(super) postings: Table<'t, (u64, u64), ()>,
    pub(super) expiries: Table<'t, (i64, u64), ()>,
    pub(super) late: Table<'t, (u64, i64, u64), ()>,
    lanes: Table<'t, (u8, u64), ()>,
    ids: Table<'t, (u64, u64), ()>,
    names: Table<'t, &'static str, u64>,
    topics: Table<'t, u64, &'static [u8]>,
    pub(super) meta: Table<'t, &'static str, &'static [u8]>,
}

impl<'t> Tables<'t> {
    pub(super) fn open(txn: &'t WriteTransaction) -> Result<Self, Failure> {
        Ok(Self {
            entries: txn.open_table(ENTRIES)?,
            postings: txn.open_table(POSTINGS)?,
            expiries: txn.open_table(EXPIRIES)?,
            late: txn.open_table(LATE)?,
            lanes: txn.open_table(LANES)?,
            ids: txn.open_table(IDS)?,
            names: txn.open_table(NAMES)?,
            topics: txn.open_table(TOPICS)?,
            meta: txn.open_table(META)?,
        })
    }

    /// The oldest entry that is kept.
    pub(super) fn oldest(&self) -> Result<Option<Cursor>, Failure> {
        Ok(self.entries.first()?.map(|(cursor, _)| Cursor(cursor.value())))
    }

    /// The oldest entry in another lane than the main one.
    pub(super) fn oldest_in(&self, lane: Lane) -> Result<Option<Cursor>, Failure> {
        let number = lane_number(lane);
        let first = self.lanes.range((number, 0)..=(number, u64::MAX))?.next();
        Ok(first.transpose()?.map(|(key, _)| Cursor(key.value().1)))
    }

    /// The oldest entry in the main lane, none of which is before `from`.
    pub(super) fn oldest_in_main(&self, from: Cursor) -> Result<Option<Cursor>, Failure> {
        for row in self.entries.range(from.0..)? {
            let (cursor, entry) = row?;
            if codec::archived(entry.value())?.lane == Lane::Main {
                return Ok(Some(Cursor(cursor.value())));
            }
        }
        Ok(None)
    }

    /// The entry with the earliest time of those on a topic that stand behind a later time.
    pub(super) fn first_late(&self, topic: u64) -> Result<Option<(i64, Cursor)>, Failure> {
        let first = self.late.range((topic, i64::MIN, 0)..=(topic, i64::MAX, u64::MAX))?.next();
        Ok(first.transpose()?.map(|(key, _)| (key.value().1, Cursor(key.value().2))))
    }

    /// When the entry at this place was taken.
    pub(super) fn at(&self, cursor: u64) -> Result<Option<DateTime<Utc>>, Failure> {
        self.entries.get(cursor)?.map(|bytes| Ok(codec::archived(bytes.value())?.at)).transpose()
    }
}

/// The state of the archive once a transaction is committed.
pub(super) struct Outcome {
    pub(super) totals: Totals,
    /// With the newest entry that has been evicted from each.
    pub(super) new_topics: Vec<(u64, Topic, Cursor)>,
    /// The topics that retention has evicted something from, with the newest of it.
    pub(super) evicted: Vec<(u64, Cursor)>,
    /// The newest entry in [`Lane::System`] that has been evicted, if one was.
    pub(super) evicted_system: Option<Cursor>,
    /// The topics that have no entry any more.
    pub(super) dropped: Vec<u64>,
}

/// One transaction's changes.
pub(super) struct Changes<'t, 'a> {
    pub(super) tables: Tables<'t>,
    cipher: &'a IdCipher,
    pub(super) totals: Totals,
    /// In order, as they are written: redb then comes to each page once.
    rows: BTreeMap<u64, TopicRow>,
    /// The topics' numbers by their names: of those that were looked up, all that are known.
    numbers: HashMap<String, u64>,
    pub(super) new_topics: BTreeMap<u64, String>,
    /// The topics that retention has evicted something from.
    evicted: BTreeSet<u64>,
    /// Whether retention has evicted something in [`Lane::System`].
    evicted_system: bool,
    scratch: Vec<u8>,
}

impl<'t, 'a> Changes<'t, 'a> {
    pub(super) fn begin(txn: &'t WriteTransaction, cipher: &'a IdCipher, totals: Totals) -> Result<Self, Failure> {
        Ok(Self {
            tables: Tables::open(txn)?,
            cipher,
            totals,
            rows: BTreeMap::new(),
            numbers: HashMap::new(),
            new_topics: BTreeMap::new(),
            evicted: BTreeSet::new(),
            evicted_system: false,
            scratch: Vec::new(),
        })
    }

    /// Puts in the next entries.
    pub(super) fn put_all(&mut self, entries: &[Arc<Entry>]) -> Result<(), Failure> {
        // In the order of their names each page is read once.
        let indexed = entries.iter().filter(|entry| entry.lane != Lane::System);
        let names: BTreeSet<_> = indexed.flat_map(|entry| &entry.topics).map(Topic::as_str).collect();
        for name in names {
            if let Some(number) = self.tables.names.get(name)? {
                self.numbers.insert(name.into(), number.value());
            }
        }
        entries.iter().try_for_each(|entry| self.put(entry))
    }

    fn put(&mut self, entry: &Entry) -> Result<(), Failure> {
        let cursor = entry.cursor.0;
        let indexed: &[Topic] = if entry.lane == Lane::System { &[] } else { &entry.topics };
        let mut topics = Vec::with_capacity(indexed.len());
        for topic in indexed {
            let number = self.number(topic.as_str());
            if !topics.contains(&number) {
                topics.push(number);
            }
        }
        self.scratch.clear();
        codec::put_archived(&mut self.scratch, entry, &topics);
        let (bytes, at) = (entry.size() as u64, entry.at.timestamp_millis());
        self.tables.entries.insert(cursor, self.scratch.as_slice())?;
        for number in topics {
            self.tables.postings.insert((number, cursor), ())?;
            let row = self.row(number)?;
            row.count += 1;
            row.bytes += bytes;
            let is_late = at < row.latest_at;
            row.latest_at = row.latest_at.max(at);
            if is_late {
                self.tables.late.insert((number, at, cursor), ())?;
            }
        }
        if at < self.totals.latest_at {
            self.tables.late.insert((WHOLE_LOG, at, cursor), ())?;
        }
        self.totals.latest_at = self.totals.latest_at.max(at);
        if entry.lane != Lane::Main {
            self.tables.lanes.insert((lane_number(entry.lane), cursor), ())?;
        }
        if let Some(at) = entry.expires_at {
            self.tables.expiries.insert((at.timestamp_millis(), cursor), ())?;
        }
        if !self.cipher.has_made(&entry.id, entry.cursor) {
            self.tables.ids.insert((self.cipher.digest(&entry.id), cursor), ())?;
        }
        self.totals.newest = entry.cursor;
        self.totals.lane(entry.lane).add(bytes);
        Ok(())
    }

    /// Takes the entry at this place out, if it is there.
    pub(super) fn remove(&mut self, cursor: u64, removal: Removal) -> Result<(), Failure> {
        let Some(value) = self.tables.entries.remove(cursor)? else { return Ok(()) };
        self.scratch.clear();
        self.scratch.extend_from_slice(value.value());
        drop(value);
        let value = std::mem::take(&mut self.scratch);
        let header = codec::archived(&value)?;
        let (bytes, at) = (header.size, header.at.timestamp_millis());
        let any_late = !self.tables.late.is_empty()?;
        for number in header.topics() {
            self.tables.postings.remove((number, cursor))?;
            if any_late {
                self.tables.late.remove((number, at, cursor))?;
            }
            let row = self.row(number)?;
            row.count = row.count.saturating_sub(1);
            row.bytes = row.bytes.saturating_sub(bytes);
            if removal == Removal::Eviction {
                row.evicted = row.evicted.max(Cursor(cursor));
                self.evicted.insert(number);
            }
        }
        if any_late {
            self.tables.late.remove((WHOLE_LOG, at, cursor))?;
        }
        if header.lane != Lane::Main {
            self.tables.lanes.remove((lane_number(header.lane), cursor))?;
        }
        if let Some(at) = header.expires_at {
            self.tables.expiries.remove((at.timestamp_millis(), cursor))?;
        }
        let id = header.id()?;
        if !self.cipher.has_made(id, Cursor(cursor)) {
            self.tables.ids.remove((self.cipher.digest(id), cursor))?;
        }
        self.totals.lane(header.lane).remove(bytes);
        if removal == Removal::Eviction {
            self.totals.last_evicted = self.totals.last_evicted.max(Cursor(cursor));
            if header.lane == Lane::System {
                self.totals.system_evicted = self.totals.system_evicted.max(Cursor(cursor));
                self.evicted_system = true;
            }
        }
        self.scratch = value;
        Ok(())
    }

    /// What is true of a topic; it must be known.
    pub(super) fn row(&mut self, number: u64) -> Result<&mut TopicRow, Failure> {
        if !self.rows.contains_key(&number) {
            let row = self.tables.topics.get(number)?.ok_or(Unreadable)?;
            let row = TopicRow::decode(row.value())?;
            self.rows.insert(number, row);
        }
        Ok(self.rows.get_mut(&number).ok_or(Unreadable)?)
    }

    /// Whether this topic is known.
    pub(super) fn knows(&self, number: u64) -> Result<bool, Failure> {
        Ok(self.rows.contains_key(&number) || self.tables.topics.get(number)?.is_some())
    }

    /// The topics that something was put into or taken out of.
    pub(super) fn touched(&self) -> impl Iterator<Item = u64> {
        self.rows.keys().copied()
    }

    /// The number of a topic that was looked up, or a new one.
    fn number(&mut self, name: &str) -> u64 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = self.totals.next_topic;
        self.totals.next_topic += 1;
        self.rows.insert(number, TopicRow::new(name, self.totals.dropped_topics_evicted_up_to));
        self.new_topics.insert(number, name.into());
        self.numbers.insert(name.into(), number);
        number
    }

    /// Writes down what has changed of the topics and of the whole; the commit is next.
    pub(super) fn finish(mut self) -> Result<Outcome, Failure> {
        let (mut new_topics, mut evicted, mut dropped) = (Vec::new(), Vec::new(), Vec::new());
        // In order too.
        let mut names = BTreeMap::new();
        for (&number, row) in &self.rows {
            let is_new = self.new_topics.contains_key(&number);
            if is_new {
                let topic = Topic::parse(&row.name).map_err(|_| Unreadable)?;
                new_topics.push((number, topic, row.evicted));
            }
            if self.evicted.contains(&number) {
                evicted.push((number, row.evicted));
            }
            if row.count > 0 {
                self.tables.topics.insert(number, row.encode().as_slice())?;
                if is_new {
                    names.insert(row.name.as_str(), Some(number));
                }
            } else {
                self.tables.topics.remove(number)?;
                names.insert(row.name.as_str(), None);
                let evicted_up_to = &mut self.totals.dropped_topics_evicted_up_to;
                *evicted_up_to = row.evicted.max(*evicted_up_to);
                dropped.push(number);
            }
        }
        for (name, number) in names {
            match number {
                Some(number) => self.tables.names.insert(name, number)?,
                None => self.tables.names.remove(name)?,
            };
        }
        self.tables.meta.insert(TOTALS, self.totals.encode().as_slice())?;
        let evicted_system = self.evicted_system.then_some(self.totals.system_evicted);
        Ok(Outcome { totals: self.totals, new_topics, evicted, evicted_system, dropped })
    }
}
