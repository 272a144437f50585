//! The journal: two files that take each batch of new entries with one write and one flush, until the
//! archive has them. It knows nothing of topics or retention.
//!
//! A batch is one record: all of it counts or nothing. Each file is written from its beginning to about
//! [`SEGMENT_BYTES`] and, once the archive has what it holds, from its beginning again, over blocks that
//! the disk has already given. A record tells its file's generation, a random number that changes each
//! time, so that what is left from before is never taken for new.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use super::codec;
use crate::server::log::{Cursor, Durability, Entry, OpenError};

/// How much one file takes before the other one's turn.
const SEGMENT_BYTES: u64 = 8 << 20;

/// Begins each record. The last byte is the format's version.
const MAGIC: [u8; 4] = *b"tdj\x01";

/// Magic, length (u32), generation (u64), checksum (u32) of generation and payload.
const HEADER_BYTES: usize = 20;

pub(super) struct Journal {
    segments: [Segment; 2],
    active: usize,
    durability: Durability,
    record: Vec<u8>,
}

struct Segment {
    file: File,
    /// Where the next record goes.
    end: u64,
    generation: u64,
    /// The newest entry in it.
    last: Cursor,
}

/// What a journal held when it was opened, oldest first.
pub(super) type Recovered = Vec<Arc<Entry>>;

impl Journal {
    /// Opens the journal in a folder; gives the entries after `archived`.
    pub(super) fn open(
        folder: &Path,
        durability: Durability,
        archived: Cursor,
    ) -> Result<(Self, Recovered), OpenError> {
        let mut entries = Vec::new();
        let mut segments = Vec::new();
        for name in ["journal-0", "journal-1"] {
            let path = folder.join(name);
            segments.push(Segment::open(&path, durability, &mut entries)?);
        }
        entries.retain(|entry: &Arc<Entry>| entry.cursor > archived);
        entries.sort_by_key(|entry| entry.cursor);
        let missing = entries.iter().zip(archived.0 + 1..).find(|(entry, expected)| entry.cursor.0 != *expected);
        if let Some((entry, expected)) = missing {
            let reason = format!("update {expected} is missing, the next one is {}", entry.cursor);
            return Err(OpenError::Damaged { path: folder.join("journal-0"), reason });
        }
        let [first, second] = <[Segment; 2]>::try_from(segments).unwrap_or_else(|_| unreachable!("two names"));
        let active = usize::from(second.last > first.last);
        Ok((Self { segments: [first, second], active, durability, record: Vec::new() }, entries))
    }

    /// Encodes a batch as a record, ready to be written. Its entries follow one another.
    pub(super) fn encode(&mut self, entries: &[Arc<Entry>]) {
        self.record.clear();
        self.record.resize(HEADER_BYTES, 0);
        for entry in entries {
            codec::put_entry(&mut self.record, entry);
        }
    }

    /// Whether there is a place for the encoded record, now that the archive has everything up to
    /// `archived`.
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

    /// Writes the encoded record and flushes it. It ends with the entry at `last`.
    ///
    /// After an error nothing of it is kept, or the error says that the journal must not go on.
    pub(super) fn write(&mut self, last: Cursor) -> Result<(), WriteError> {
        let segment = &mut self.segments[self.active];
        let payload = u32::try_from(self.record.len() - HEADER_BYTES)
            .map_err(|_| WriteError::Refused(io::Error::other("a batch of more than 4 GiB")))?;
        self.record[..4].copy_from_slice(&MAGIC);
        self.record[4..8].copy_from_slice(&payload.to_le_bytes());
        self.record[8..16].copy_from_slice(&segment.generation.to_le_bytes());
        let checksum = checksum(segment.generation, &self.record[HEADER_BYTES..]);
        self.record[16..20].copy_from_slice(&checksum.to_le_bytes());
        match segment.append(&self.record, self.durability) {
            Ok(()) => {
                segment.last = last;
                Ok(())
            }
            // The record may be whole on the disk although it counts for nothing: it must go, or it
            // would come back beside the one that takes its place.
            Err(error) => match segment.file.set_len(segment.end) {
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
    fn open(path: &Path, durability: Durability, entries: &mut Vec<Arc<Entry>>) -> Result<Self, OpenError> {
        let unusable = |error| super::unusable(path, error);
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(unusable)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(unusable)?;
        let damaged = |reason| OpenError::Damaged { path: path.into(), reason };

        let generation = header(&bytes).map_or(0, |header| header.generation);
        let mut end = 0;
        let mut last = Cursor::START;
        while let Some(record) = record(&bytes[end..], generation) {
            let payload = &bytes[end + HEADER_BYTES..end + record];
            for entry in codec::entries(payload).map_err(|error| damaged(error.to_string()))? {
                last = entry.cursor;
                entries.push(Arc::new(entry));
            }
            end += record;
        }
        // Each flush ends before the next record is written: only the last record can be torn. One
        // that is whole behind a bad one means that the disk has lost what it had acknowledged.
        if durability == Durability::Fsync
            && (end + 1..bytes.len()).any(|at| record(&bytes[at..], generation).is_some())
        {
            return Err(damaged(format!("the bytes from {end} on are not what was written")));
        }
        // What lies behind the end would otherwise be read as following what is written next.
        file.set_len(end as u64).and_then(|()| file.sync_data()).map_err(unusable)?;
        Ok(Self { file, end: end as u64, generation, last })
    }

    fn append(&mut self, record: &[u8], durability: Durability) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.end))?;
        self.file.write_all(record)?;
        if durability == Durability::Fsync {
            self.file.sync_data()?;
        }
        self.end += record.len() as u64;
        Ok(())
    }
}

struct Header {
    bytes: usize,
    generation: u64,
    checksum: u32,
}

fn header(bytes: &[u8]) -> Option<Header> {
    let (magic, rest) = bytes.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (generation, rest) = rest.split_first_chunk()?;
    let (checksum, _) = rest.split_first_chunk()?;
    (*magic == MAGIC).then_some(Header {
        bytes: HEADER_BYTES + u32::from_le_bytes(*length) as usize,
        generation: u64::from_le_bytes(*generation),
        checksum: u32::from_le_bytes(*checksum),
    })
}

/// The length of the record that these bytes begin with, if it is whole and of this generation.
fn record(bytes: &[u8], generation: u64) -> Option<usize> {
    let header = header(bytes).filter(|header| header.generation == generation)?;
    let payload = bytes.get(HEADER_BYTES..header.bytes)?;
    (checksum(generation, payload) == header.checksum).then_some(header.bytes)
}

fn checksum(generation: u64, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&generation.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}
