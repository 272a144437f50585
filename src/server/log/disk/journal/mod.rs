//! The journal: two files that take each batch of new entries with one write and at most one flush, until the archive
//! has them. It knows nothing of topics or retention.
//!
//! A batch is one record: all of it counts or nothing. Each file is written from its beginning to about
//! [`SEGMENT_BYTES`] and, once the archive has what it holds, from its beginning again, over blocks that
//! the disk has already given. A record tells its file's generation, a random number that changes each
//! time, so that what is left from before is never taken for new.

mod record;
mod recover;
#[cfg(test)]
mod tests;

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use super::codec;
use crate::server::log::{Cursor, Durability, Entry, OpenError};
use record::{HEADER_BYTES, Header};
use recover::Recovered;

/// How much one file takes before the other one's turn.
const SEGMENT_BYTES: u64 = 8 << 20;
/// A record's buffer that has grown larger is given back.
const BUFFER_BYTES: usize = 2 << 20;

const FILES: [&str; 2] = ["journal-0", "journal-1"];

pub(super) struct Journal {
    segments: [Segment; 2],
    active: usize,
    record: Vec<u8>,
    /// Everything up to here is on the disk, as far as the journal knows.
    flushed: Cursor,
}

struct Segment {
    file: File,
    /// Where the next record goes.
    end: u64,
    generation: u64,
    /// The newest entry in it.
    last: Cursor,
    /// Whether something has been written since the last flush.
    dirty: bool,
}

/// What is written beside a record's entries.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecordInfo {
    /// The newest entry before it.
    pub(super) previous: Cursor,
    /// Its newest entry.
    pub(super) last: Cursor,
    /// Cursors up to here may be given to entries that are not flushed.
    pub(super) reserved: Cursor,
    /// Whether it must be on the disk when the write is answered.
    pub(super) flush: bool,
}

impl Journal {
    /// Opens the journal in a folder; gives what it holds after `archived`. `durability` says how a journal of format 1
    /// was written; newer ones say it themselves.
    pub(super) fn open(
        folder: &Path,
        durability: Durability,
        archived: Cursor,
    ) -> Result<(Self, Recovered), OpenError> {
        let mut files = Vec::new();
        let mut read = Vec::new();
        for name in FILES {
            let path = folder.join(name);
            let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
            let mut file = opened.map_err(|error| super::unusable(&path, error))?;
            let segment = recover::read(&path, &mut file, durability)?;
            files.push((path, file));
            read.push(segment);
        }
        sync_folder(folder)?;
        let recovered = recover::recover(&read, archived)?;
        let mut segments = Vec::new();
        for (((path, file), read), end) in files.into_iter().zip(read).zip(recovered.ends) {
            // What lies behind the end would otherwise be read as following what is written next.
            let cut = file.set_len(end).and_then(|()| file.sync_data());
            cut.map_err(|error| super::unusable(&path, error))?;
            let last = read.last_before(end);
            segments.push(Segment { file, end, generation: read.generation, last, dirty: false });
        }
        let segments = <[Segment; 2]>::try_from(segments).unwrap_or_else(|_| unreachable!("two names"));
        let active = usize::from(segments[1].last > segments[0].last);
        let flushed = recovered.entries.last().map_or(archived, |entry| entry.cursor);
        Ok((Self { segments, active, record: Vec::new(), flushed }, recovered))
    }

    /// Encodes a batch as a record, ready to be written. Its entries are in order.
    pub(super) fn encode(&mut self, entries: &[Arc<Entry>]) {
        self.record.clear();
        self.record.shrink_to(BUFFER_BYTES);
        self.record.resize(HEADER_BYTES, 0);
        for entry in entries {
            codec::put_entry(&mut self.record, entry);
        }
    }

    /// Whether the encoded record has a place, now that the archive has everything up to `archived`; prepares
    /// it.
    pub(super) fn has_room(&mut self, archived: Cursor) -> bool {
        let bytes = self.record.len() as u64;
        for turn in [self.active, 1 - self.active] {
            let segment = &mut self.segments[turn];
            if segment.end > 0 && segment.last <= archived {
                segment.end = 0;
            }
            // A record of any size goes into an empty file.
            if segment.end == 0 || segment.end + bytes <= SEGMENT_BYTES {
                if segment.end == 0 {
                    segment.generation = rand::random();
                }
                self.active = turn;
                return true;
            }
        }
        false
    }

    /// Writes the encoded record.
    ///
    /// After an error nothing of it is kept, or the error says that the journal must not go on.
    pub(super) fn write(&mut self, info: RecordInfo) -> Result<(), WriteError> {
        let generation = self.segments[self.active].generation;
        let RecordInfo { previous, last, reserved, flush } = info;
        let header = Header { generation, previous, flushed: self.flushed, reserved };
        header.put(&mut self.record).map_err(WriteError::Refused)?;
        if flush && self.segments[1 - self.active].dirty {
            // What is answered as durable must not follow something that isn't.
            self.segments[1 - self.active].flush().map_err(WriteError::Broken)?;
        }
        let segment = &mut self.segments[self.active];
        match segment.append(&self.record, flush) {
            Ok(()) => {
                segment.last = last;
                if flush {
                    self.flushed = last;
                }
                Ok(())
            }
            // The record may be whole on the disk although it counts for nothing: it must go, or it
            // would come back beside the one that takes its place.
            Err(error) => match segment.file.set_len(segment.end).and_then(|()| segment.file.sync_data()) {
                Ok(()) => Err(WriteError::Refused(error)),
                Err(_) => Err(WriteError::Broken(error)),
            },
        }
    }
}

/// Why a record was not written.
pub(super) enum WriteError {
    /// It left no trace; the next one may do better.
    Refused(io::Error),
    /// The journal can't be trusted until it is opened again.
    Broken(io::Error),
}

impl Segment {
    fn append(&mut self, record: &[u8], flush: bool) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.end))?;
        self.file.write_all(record)?;
        self.dirty = true;
        if flush {
            self.flush()?;
        }
        self.end += record.len() as u64;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        self.dirty = false;
        Ok(())
    }
}

/// Makes the names of new files as durable as what is written into them, and those of new folders above.
fn sync_folder(folder: &Path) -> Result<(), OpenError> {
    let absolute = std::path::absolute(folder).map_err(|error| super::unusable(folder, error))?;
    for folder in absolute.ancestors().take(3) {
        // A folder above that may not be read was not made by us.
        match File::open(folder).and_then(|folder| folder.sync_all()) {
            Err(error) if folder == absolute => return Err(super::unusable(folder, error)),
            _ => {}
        }
    }
    Ok(())
}
