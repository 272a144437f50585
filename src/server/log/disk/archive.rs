//! The archive's file: opening it, and the one transaction that puts entries in and takes others out.
//!
//! Each commit is in two phases and records the allocator's state ("quick repair"): after a crash the
//! file opens at once instead of being walked through, and a commit that failed for want of room leaves
//! a file that can be opened and read without any.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Utc};
use redb::{
    CommitError, Database, DatabaseError, ReadTransaction, ReadableDatabase, ReadableTable, StorageError, Table,
    TableError, TransactionError, WriteTransaction,
};
use thiserror::Error;

use super::codec::{self, Unreadable};
use super::schema::{
    ENTRIES, EXPIRIES, FORMAT, FORMAT_NAME, IDS, KEY, META, NAMES, POSTINGS, TOPICS, TOTALS, TopicRow, Totals,
};
use crate::server::log::seal::{KEY_BYTES, Seal};
use crate::server::log::{Cursor, Entry, OpenError, Retention, Size, Topic};

/// The archive's file in the log's folder.
pub(super) const FILE: &str = "log.redb";

/// What redb may keep in memory of the file. The operating system keeps more.
const CACHE_BYTES: usize = 64 << 20;

/// Why the archive could not be read or written.
#[derive(Debug, Error)]
#[error("{0}")]
pub(super) struct Failure(pub(super) redb::Error);

impl Failure {
    /// Whether there was no room.
    pub(super) fn is_full(&self) -> bool {
        matches!(&self.0, redb::Error::Io(error) if super::is_full(error))
    }

    /// Whether it will be over once the file has been opened again.
    pub(super) fn passes(&self) -> bool {
        matches!(self.0, redb::Error::DatabaseClosed | redb::Error::PreviousIo)
    }
}

impl From<Unreadable> for Failure {
    fn from(error: Unreadable) -> Self {
        Self(redb::Error::Corrupted(error.to_string()))
    }
}

macro_rules! failures {
    ($($error:ty),*) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self(error.into())
            }
        })*
    };
}
failures!(CommitError, DatabaseError, StorageError, TableError, TransactionError);

/// What an archive that has just been opened says of itself.
pub(super) struct Opened {
    pub(super) database: Database,
    pub(super) key: [u8; KEY_BYTES],
    pub(super) totals: Totals,
    /// The oldest entry that is kept, or the place after the newest.
    pub(super) oldest: Cursor,
    pub(super) topics: Vec<(u64, TopicRow)>,
}

/// Opens the database alone: enough to go on after a failure.
pub(super) fn open_database(path: &Path) -> Result<Database, DatabaseError> {
    let repaired = Arc::new(AtomicBool::new(false));
    let callback = repaired.clone();
    let database = Database::builder()
        .set_cache_size(CACHE_BYTES)
        .set_repair_callback(move |session| {
            if !callback.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    "the log was not closed cleanly: it is being checked and repaired, which reads all of it"
                );
            }
            tracing::debug!(progress = session.progress(), "repairing the log");
        })
        .create(path)?;
    if repaired.load(Ordering::Relaxed) {
        tracing::warn!(file = %path.display(), "the log has been repaired: everything that was committed is there");
    }
    Ok(database)
}

/// Whether a file of so many bytes should be made smaller that holds so many bytes of entries. The indexes
/// of small entries may be as large as they are, and redb doubles the file when it needs more.
pub(super) fn is_wasteful(file: u64, entries: u64) -> bool {
    file > 6 * entries + (64 << 20)
}

/// Opens the archive, or makes it where there is none.
pub(super) fn open(path: PathBuf) -> Result<Opened, OpenError> {
    let database = open_database(&path).map_err(|error| open_error(&path, error.into()))?;
    match read_or_begin(&database) {
        Ok((FORMAT, key, totals, oldest, topics)) => Ok(Opened { database, key, totals, oldest, topics }),
        Ok((found, ..)) => Err(OpenError::Newer { path, found, known: FORMAT }),
        Err(failure) => Err(open_error(&path, failure)),
    }
}

/// What the archive holds in all, as the last commit left it, and its topics.
pub(super) fn totals(database: &Database) -> Result<(Totals, Vec<(u64, TopicRow)>), Failure> {
    let txn = database.begin_read()?;
    let meta = txn.open_table(META)?;
    let totals = meta.get(TOTALS)?.ok_or(Unreadable)?;
    Ok((Totals::decode(totals.value())?, topics(&txn)?))
}

fn topics(txn: &ReadTransaction) -> Result<Vec<(u64, TopicRow)>, Failure> {
    let mut rows = Vec::new();
    for row in txn.open_table(TOPICS)?.iter()? {
        let (number, row) = row?;
        rows.push((number.value(), TopicRow::decode(row.value())?));
    }
    Ok(rows)
}

type Contents = (u32, [u8; KEY_BYTES], Totals, Cursor, Vec<(u64, TopicRow)>);

fn read_or_begin(database: &Database) -> Result<Contents, Failure> {
    if database.begin_read()?.list_tables()?.next().is_none() {
        let txn = begin(database)?;
        {
            let mut meta = Tables::open(&txn)?.meta;
            meta.insert(FORMAT_NAME, FORMAT.to_le_bytes().as_slice())?;
            meta.insert(KEY, rand::random::<[u8; KEY_BYTES]>().as_slice())?;
            meta.insert(TOTALS, Totals::default().encode().as_slice())?;
        }
        txn.commit()?;
    }
    // Only reads from here on: a log on a full disk must open.
    let txn = database.begin_read()?;
    let meta = txn.open_table(META)?;
    let format = meta.get(FORMAT_NAME)?.ok_or(Unreadable)?.value().try_into().map_err(|_| Unreadable)?;
    let format = u32::from_le_bytes(format);
    if format != FORMAT {
        return Ok((format, [0; KEY_BYTES], Totals::default(), Cursor::START, Vec::new()));
    }
    let key = meta.get(KEY)?.ok_or(Unreadable)?.value().try_into().map_err(|_| Unreadable)?;
    let totals = Totals::decode(meta.get(TOTALS)?.ok_or(Unreadable)?.value())?;
    let oldest = txn.open_table(ENTRIES)?.first()?.map(|(cursor, _)| Cursor(cursor.value()));
    Ok((format, key, totals, oldest.unwrap_or(totals.newest.next()), topics(&txn)?))
}

fn open_error(path: &Path, failure: Failure) -> OpenError {
    match failure.0 {
        redb::Error::DatabaseAlreadyOpen => OpenError::Locked(path.parent().unwrap_or(path).into()),
        redb::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
            OpenError::Damaged { path: path.into(), reason: error.to_string() }
        }
        redb::Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            OpenError::Damaged { path: path.into(), reason: "it has been cut off".into() }
        }
        redb::Error::Io(error) => super::unusable(path, error),
        error => OpenError::Damaged { path: path.into(), reason: error.to_string() },
    }
}

/// Begins a transaction whose commit is as the head of this file says.
pub(super) fn begin(database: &Database) -> Result<WriteTransaction, Failure> {
    let mut txn = database.begin_write()?;
    txn.set_quick_repair(true);
    Ok(txn)
}

/// Why an entry is taken out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Removal {
    /// It has had its time, as its publisher said: nobody misses it.
    Expired,
    /// Retention: who has not read it has lost it.
    Retention,
}

/// All tables, open for writing.
pub(super) struct Tables<'t> {
    pub(super) entries: Table<'t, u64, &'static [u8]>,
    pub(super) postings: Table<'t, (u64, u64), ()>,
    pub(super) expiries: Table<'t, (i64, u64), ()>,
    ids: Table<'t, (u64, u64), ()>,
    names: Table<'t, &'static str, u64>,
    topics: Table<'t, u64, &'static [u8]>,
    meta: Table<'t, &'static str, &'static [u8]>,
}

impl<'t> Tables<'t> {
    pub(super) fn open(txn: &'t WriteTransaction) -> Result<Self, Failure> {
        Ok(Self {
            entries: txn.open_table(ENTRIES)?,
            postings: txn.open_table(POSTINGS)?,
            expiries: txn.open_table(EXPIRIES)?,
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

    /// When the entry at this place was taken.
    pub(super) fn at(&self, cursor: u64) -> Result<Option<DateTime<Utc>>, Failure> {
        self.entries.get(cursor)?.map(|bytes| Ok(codec::archived(bytes.value())?.at)).transpose()
    }
}

/// What is true once a transaction is committed.
pub(super) struct Outcome {
    pub(super) totals: Totals,
    /// Of that, what is apart.
    pub(super) apart: Size,
    /// With the newest entry that has been removed from each.
    pub(super) new_topics: Vec<(u64, Topic, Cursor)>,
    /// The topics that retention has removed something from, with the newest of it.
    pub(super) lost: Vec<(u64, Cursor)>,
    /// The topics that have no entry any more.
    pub(super) forgotten: Vec<u64>,
}

/// One transaction's changes.
pub(super) struct Changes<'t, 'a> {
    pub(super) tables: Tables<'t>,
    seal: &'a Seal,
    retention: &'a Retention,
    pub(super) totals: Totals,
    pub(super) apart: Size,
    rows: HashMap<u64, TopicRow>,
    numbers: HashMap<String, u64>,
    pub(super) new_topics: BTreeMap<u64, String>,
    /// The topics that retention has removed something from.
    lost: BTreeSet<u64>,
    scratch: Vec<u8>,
}

impl<'t, 'a> Changes<'t, 'a> {
    pub(super) fn begin(
        txn: &'t WriteTransaction,
        seal: &'a Seal,
        retention: &'a Retention,
        totals: Totals,
        apart: Size,
    ) -> Result<Self, Failure> {
        Ok(Self {
            tables: Tables::open(txn)?,
            seal,
            retention,
            totals,
            apart,
            rows: HashMap::new(),
            numbers: HashMap::new(),
            new_topics: BTreeMap::new(),
            lost: BTreeSet::new(),
            scratch: Vec::new(),
        })
    }

    /// Puts in the next entry.
    pub(super) fn put(&mut self, entry: &Entry) -> Result<(), Failure> {
        let cursor = entry.cursor.0;
        let mut topics = Vec::with_capacity(entry.topics.len());
        for topic in &entry.topics {
            let number = self.number(topic.as_str())?;
            if !topics.contains(&number) {
                topics.push(number);
            }
        }
        self.scratch.clear();
        codec::put_archived(&mut self.scratch, entry, &topics);
        let bytes = self.scratch.len() as u64;
        self.tables.entries.insert(cursor, self.scratch.as_slice())?;
        for number in topics {
            self.tables.postings.insert((number, cursor), ())?;
            let row = self.row(number)?;
            row.count += 1;
            row.bytes += bytes;
            if self.is_apart(number) {
                self.apart.add(bytes);
            }
        }
        if let Some(at) = entry.expires_at {
            self.tables.expiries.insert((at.timestamp_millis(), cursor), ())?;
        }
        if self.seal.open(&entry.id) != Some(entry.cursor) {
            self.tables.ids.insert((self.seal.digest(&entry.id), cursor), ())?;
        }
        self.totals.newest = entry.cursor;
        self.totals.count += 1;
        self.totals.bytes += bytes;
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
        let bytes = value.len() as u64;
        for number in header.topics() {
            self.tables.postings.remove((number, cursor))?;
            let row = self.row(number)?;
            row.count = row.count.saturating_sub(1);
            row.bytes = row.bytes.saturating_sub(bytes);
            if removal == Removal::Retention {
                row.removed = row.removed.max(Cursor(cursor));
                self.lost.insert(number);
            }
            if self.is_apart(number) {
                self.apart.remove(bytes);
            }
        }
        if let Some(at) = header.expires_at {
            self.tables.expiries.remove((at.timestamp_millis(), cursor))?;
        }
        let id = header.id()?;
        if self.seal.open(id) != Some(Cursor(cursor)) {
            self.tables.ids.remove((self.seal.digest(id), cursor))?;
        }
        self.totals.count = self.totals.count.saturating_sub(1);
        self.totals.bytes = self.totals.bytes.saturating_sub(bytes);
        if removal == Removal::Retention {
            self.totals.removed = self.totals.removed.max(Cursor(cursor));
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

    /// Whether a topic whose row has been read has an allowance of its own.
    fn is_apart(&self, number: u64) -> bool {
        self.rows.get(&number).is_some_and(|row| self.retention.is_apart(&row.name))
    }

    /// Whether this topic is known.
    pub(super) fn knows(&self, number: u64) -> Result<bool, Failure> {
        Ok(self.rows.contains_key(&number) || self.tables.topics.get(number)?.is_some())
    }

    /// The topics that something was put into or taken out of.
    pub(super) fn touched(&self) -> impl Iterator<Item = u64> {
        self.rows.keys().copied()
    }

    fn number(&mut self, name: &str) -> Result<u64, Failure> {
        if let Some(number) = self.numbers.get(name) {
            return Ok(*number);
        }
        let known = self.tables.names.get(name)?.map(|number| number.value());
        let number = match known {
            Some(number) => number,
            None => {
                let number = self.totals.next_topic;
                self.totals.next_topic += 1;
                self.tables.names.insert(name, number)?;
                self.rows.insert(number, TopicRow::new(name, self.totals.forgotten));
                self.new_topics.insert(number, name.into());
                number
            }
        };
        self.numbers.insert(name.into(), number);
        Ok(number)
    }

    /// Writes down what has changed of the topics and of the whole; the commit is next.
    pub(super) fn finish(mut self) -> Result<Outcome, Failure> {
        let (mut new_topics, mut lost, mut forgotten) = (Vec::new(), Vec::new(), Vec::new());
        for (&number, row) in &self.rows {
            if self.new_topics.contains_key(&number) {
                let topic = Topic::parse(&row.name).map_err(|_| Unreadable)?;
                new_topics.push((number, topic, row.removed));
            }
            if self.lost.contains(&number) {
                lost.push((number, row.removed));
            }
            if row.count > 0 {
                self.tables.topics.insert(number, row.encode().as_slice())?;
            } else {
                self.tables.topics.remove(number)?;
                self.tables.names.remove(row.name.as_str())?;
                self.totals.forgotten = self.totals.forgotten.max(row.removed);
                forgotten.push(number);
            }
        }
        self.tables.meta.insert(TOTALS, self.totals.encode().as_slice())?;
        Ok(Outcome { totals: self.totals, apart: self.apart, new_topics, lost, forgotten })
    }
}
