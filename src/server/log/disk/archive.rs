//! The archive's file: opening it, and beginning to write.
//!
//! Each commit is in two phases and records the allocator's state ("quick repair"): after a crash the
//! file opens at once instead of being walked through, and a commit that failed for want of room leaves
//! a file that can be opened and read without any.

use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::{Database, DatabaseError, ReadTransaction, ReadableDatabase, ReadableTable, WriteTransaction};

use super::changes::Tables;
use super::codec::Unreadable;
use super::failure::Failure;
use super::migrate;
use super::schema::{COPY, ENTRIES, FORMAT, FORMAT_NAME, KEY, META, TOPICS, TOTALS, TopicRow, Totals};
use crate::server::log::id_cipher::{IdKey, KEY_BYTES};
use crate::server::log::{Cursor, OpenError};

/// The archive's file in the log's folder.
pub(super) const FILE: &str = "log.redb";

/// What redb may keep in memory of the file, in proportion to it: a sixteenth, within these bounds. The operating system
/// keeps more.
const CACHE_PART: u64 = 16;
const CACHE_BYTES: RangeInclusive<u64> = 4 << 20..=64 << 20;

/// What an archive that has just been opened says of itself.
pub(super) struct Opened {
    pub(super) database: Database,
    pub(super) key: IdKey,
    /// Whether it is a copy of a cluster's log.
    pub(super) is_copy: bool,
    pub(super) totals: Totals,
    /// The oldest entry that is kept.
    pub(super) oldest: Option<Cursor>,
    pub(super) topics: Vec<(u64, TopicRow)>,
}

/// Which sequencer assigns a log's cursors.
#[derive(Clone, Copy)]
pub(super) enum LogKind {
    /// The log's own writer.
    Own,
    /// A cluster's stream; ids are encrypted with this key.
    Copy(IdKey),
    /// Either: for maintenance, which appends nothing.
    Any,
}

/// Opens the database alone: enough to go on after a failure.
pub(super) fn open_database(path: &Path) -> Result<Database, DatabaseError> {
    let repaired = Arc::new(AtomicBool::new(false));
    let callback = repaired.clone();
    let database = Database::builder()
        .set_cache_size(usize::try_from(cache_bytes(path)).unwrap_or(usize::MAX))
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

fn cache_bytes(path: &Path) -> u64 {
    let file = std::fs::metadata(path).map_or(0, |file| file.len());
    (file / CACHE_PART).clamp(*CACHE_BYTES.start(), *CACHE_BYTES.end())
}

/// Whether a file of `file` bytes that holds `entries` bytes of entries should be made smaller. The indexes
/// of small entries may be as large as they are, and redb doubles the file when it needs more.
pub(super) fn is_wasteful(file: u64, entries: u64) -> bool {
    file > 6 * entries + (64 << 20)
}

/// Opens the archive, or makes it where there is none.
pub(super) fn open(path: PathBuf) -> Result<Opened, OpenError> {
    let database = open_database(&path).map_err(|error| open_error(&path, error.into()))?;
    match read_or_begin(database) {
        Ok(Ok(opened)) => Ok(opened),
        Ok(Err(found)) => Err(OpenError::Newer { path, found, known: FORMAT }),
        Err(failure) => Err(open_error(&path, failure)),
    }
}

/// What the archive holds in all, as the last commit left it.
pub(super) fn totals(database: &Database) -> Result<Totals, Failure> {
    let txn = database.begin_read()?;
    let meta = txn.open_table(META)?;
    let totals = meta.get(TOTALS)?.ok_or(Unreadable)?;
    Ok(Totals::decode(totals.value())?)
}

fn topics(txn: &ReadTransaction) -> Result<Vec<(u64, TopicRow)>, Failure> {
    let mut rows = Vec::new();
    for row in txn.open_table(TOPICS)?.iter()? {
        let (number, row) = row?;
        rows.push((number.value(), TopicRow::decode(row.value())?));
    }
    Ok(rows)
}

impl Opened {
    /// Checks that the log in this folder is of this kind. An empty log becomes it.
    pub(super) fn take_as(&mut self, kind: LogKind, folder: &Path, is_empty: bool) -> Result<(), OpenError> {
        match kind {
            LogKind::Any => Ok(()),
            LogKind::Own if self.is_copy => Err(OpenError::ClusterCopy(folder.into())),
            LogKind::Own => Ok(()),
            LogKind::Copy(key) if self.is_copy && self.key == key => Ok(()),
            LogKind::Copy(_) if self.is_copy => Err(OpenError::OtherClusterCopy(folder.into())),
            LogKind::Copy(_) if !is_empty || self.totals.newest > Cursor::START => {
                Err(OpenError::NotClusterCopy(folder.into()))
            }
            LogKind::Copy(key) => {
                self.become_copy(&key).map_err(|failure| open_error(&folder.join(FILE), failure))?;
                (self.key, self.is_copy, self.totals) = (key, true, Totals::default());
                Ok(())
            }
        }
    }

    fn become_copy(&self, key: &IdKey) -> Result<(), Failure> {
        let txn = begin(&self.database)?;
        {
            let mut meta = Tables::open(&txn)?.meta;
            meta.insert(KEY, key.as_slice())?;
            meta.insert(COPY, [].as_slice())?;
            // The empty log may have reserved cursors.
            meta.insert(TOTALS, Totals::default().encode().as_slice())?;
        }
        Ok(txn.commit()?)
    }
}

/// Reads an archive, and creates it if it is new. Returns the format instead if it is unknown.
fn read_or_begin(database: Database) -> Result<Result<Opened, u32>, Failure> {
    if database.begin_read()?.list_tables()?.next().is_none() {
        let txn = begin(&database)?;
        {
            let mut meta = Tables::open(&txn)?.meta;
            meta.insert(FORMAT_NAME, FORMAT.to_le_bytes().as_slice())?;
            meta.insert(KEY, rand::random::<[u8; KEY_BYTES]>().as_slice())?;
            meta.insert(TOTALS, Totals::default().encode().as_slice())?;
        }
        txn.commit()?;
    }
    migrate::migrate(format_of(&database)?, || begin(&database))?;
    // Only reads from here on: a log on a full disk must open.
    let format = format_of(&database)?;
    if format != FORMAT {
        return Ok(Err(format));
    }
    let txn = database.begin_read()?;
    let meta = txn.open_table(META)?;
    let key = meta.get(KEY)?.ok_or(Unreadable)?.value().try_into().map_err(|_| Unreadable)?;
    let totals = Totals::decode(meta.get(TOTALS)?.ok_or(Unreadable)?.value())?;
    let oldest = txn.open_table(ENTRIES)?.first()?.map(|(cursor, _)| Cursor(cursor.value()));
    let is_copy = meta.get(COPY)?.is_some();
    let topics = topics(&txn)?;
    drop((meta, txn));
    Ok(Ok(Opened { database, key, is_copy, totals, oldest, topics }))
}

fn format_of(database: &Database) -> Result<u32, Failure> {
    let txn = database.begin_read()?;
    let format = txn.open_table(META)?.get(FORMAT_NAME)?.ok_or(Unreadable)?.value().try_into();
    Ok(u32::from_le_bytes(format.map_err(|_| Unreadable)?))
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
