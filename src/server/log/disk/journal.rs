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

use tracing::warn;

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
            segments.push(Segment::open(&path, durability, archived, &mut entries)?);
        }
        sync_folder(folder)?;
        entries.retain(|entry: &Arc<Entry>| entry.cursor > archived);
        entries.sort_by_key(|entry| entry.cursor);
        let missing = entries.iter().zip(archived.0 + 1..).find(|(entry, expected)| entry.cursor.0 != *expected);
        if let Some((entry, expected)) = missing {
            let next = entry.cursor;
            if durability == Durability::Fsync {
                let reason = format!("update {expected} is missing, the next one is {next}");
                return Err(OpenError::Damaged { path: folder.join("journal-0"), reason });
            }
            // The system had written the newer file but not yet the end of the older one.
            warn!(missing = expected, %next, "a crash of the machine has cost the newest updates, as --durability os allows");
            for segment in segments.iter_mut().filter(|segment| segment.last >= next) {
                segment.clear().map_err(|error| super::unusable(folder, error))?;
            }
            entries.retain(|entry| entry.cursor < next);
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
    fn open(
        path: &Path,
        durability: Durability,
        archived: Cursor,
        entries: &mut Vec<Arc<Entry>>,
    ) -> Result<Self, OpenError> {
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
        // that is whole behind a bad one means that the disk has lost what it had acknowledged; unless it is
        // from before the file was begun again, and its entries are in the archive.
        let acknowledged = |at: usize| {
            let record = record(&bytes[at..], generation)?;
            codec::entries(&bytes[at + HEADER_BYTES..at + record])
                .ok()?
                .last()
                .filter(|entry| entry.cursor > archived)?;
            Some(())
        };
        if durability == Durability::Fsync && (end + 1..bytes.len()).any(|at| acknowledged(at).is_some()) {
            return Err(damaged(format!("the bytes from {end} on are not what was written")));
        }
        // What lies behind the end would otherwise be read as following what is written next.
        file.set_len(end as u64).and_then(|()| file.sync_data()).map_err(unusable)?;
        Ok(Self { file, end: end as u64, generation, last })
    }

    fn clear(&mut self) -> io::Result<()> {
        self.end = 0;
        self.last = Cursor::START;
        self.file.set_len(0).and_then(|()| self.file.sync_data())
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

#[cfg(test)]
mod tests {
    use std::fs;

    use chrono::DateTime;

    use super::*;
    use crate::server::log::{Field, Topic, Update};

    fn entry(cursor: u64, bytes: usize) -> Arc<Entry> {
        let update = Update {
            topics: vec![Topic::parse("t").expect("a topic")],
            data: "x".repeat(bytes),
            id: Some(Field::parse(&format!("id-{cursor}")).expect("an id")),
            event: None,
            retry: None,
            private: false,
            ttl: None,
        };
        Arc::new(Entry::new(Cursor(cursor), DateTime::UNIX_EPOCH, update))
    }

    fn write(journal: &mut Journal, entry: &Arc<Entry>, archived: Cursor) {
        journal.encode(std::slice::from_ref(entry));
        assert!(journal.has_room(archived));
        assert!(journal.write(entry.cursor).is_ok());
    }

    fn cursors(recovered: &Recovered) -> Vec<u64> {
        recovered.iter().map(|entry| entry.cursor.0).collect()
    }

    #[test]
    fn a_power_cut_in_the_first_record_of_a_file_begun_again_costs_nothing_that_was_acknowledged() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal-0");
        let (mut journal, _) = Journal::open(folder.path(), Durability::Fsync, Cursor::START).expect("a journal");
        for cursor in 1..=8 {
            write(&mut journal, &entry(cursor, 2000), Cursor::START);
        }
        let before = fs::read(&path).expect("the file");
        write(&mut journal, &entry(9, 6000), Cursor(8));
        drop(journal);
        let mut torn = fs::read(&path).expect("the file");
        torn[..4096].copy_from_slice(&before[..4096]);
        fs::write(&path, torn).expect("a torn file");
        let (_, recovered) = Journal::open(folder.path(), Durability::Fsync, Cursor(8)).expect("it opens");
        assert!(recovered.is_empty(), "{:?}", cursors(&recovered));
    }

    #[test]
    fn with_durability_os_a_crash_of_the_machine_costs_the_newest_updates_and_no_more() {
        let half = SEGMENT_BYTES as usize / 2;
        let folder = tempfile::tempdir().expect("a folder");
        let (mut journal, _) = Journal::open(folder.path(), Durability::Os, Cursor::START).expect("a journal");
        for cursor in 1..=3 {
            write(&mut journal, &entry(cursor, half - 1000), Cursor::START);
        }
        drop(journal);
        let path = folder.path().join("journal-0");
        let kept = fs::metadata(&path).expect("the file").len() / 2 + 100;
        OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(kept)).expect("a shorter file");
        for _ in 0..2 {
            let (_, recovered) = Journal::open(folder.path(), Durability::Os, Cursor::START).expect("it opens");
            assert_eq!(cursors(&recovered), [1]);
        }
    }
}
