//! What a journal holds when it is opened.
//!
//! Each record says up to where everything was on the disk before it was written. So whatever one of them vouches for
//! must be there, or the disk has lost what it had acknowledged; anything behind that may be torn or missing after a
//! power cut, and is dropped. The rule is the same for whoever opens the folder, whatever it was written with.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::warn;

use super::record::{self, Whole};
use crate::server::log::disk::{codec, unusable};
use crate::server::log::{Cursor, Durability, Entry, OpenError};

/// One file, as it was read.
pub(super) struct ReadSegment {
    path: PathBuf,
    pub(super) generation: u64,
    /// The whole records that follow one another from the file's beginning.
    records: Vec<ReadRecord>,
    /// The records behind them, which something torn or damaged cuts off.
    stray: Vec<ReadRecord>,
}

struct ReadRecord {
    /// Where it ends in its file.
    end: u64,
    previous: Cursor,
    flushed: Cursor,
    reserved: Cursor,
    entries: Vec<Arc<Entry>>,
}

/// What a journal held when it was opened.
pub(in crate::server::log::disk) struct Recovered {
    /// The entries, oldest first.
    pub(in crate::server::log::disk) entries: Vec<Arc<Entry>>,
    /// Cursors up to here may have been given to entries that are lost.
    pub(in crate::server::log::disk) reserved: Cursor,
    /// Where each file ends that goes on.
    pub(super) ends: [u64; 2],
}

impl ReadRecord {
    fn last(&self) -> Cursor {
        self.entries.last().map_or(self.previous, |entry| entry.cursor)
    }
}

impl ReadSegment {
    /// The newest entry before a place in the file.
    pub(super) fn last_before(&self, end: u64) -> Cursor {
        let mut newest_first = self.records.iter().rev();
        newest_first.find(|record| record.end <= end).map_or(Cursor::START, ReadRecord::last)
    }
}

/// Reads a file of the journal.
pub(super) fn read(path: &Path, file: &mut File, durability_1: Durability) -> Result<ReadSegment, OpenError> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|error| unusable(path, error))?;
    let damaged = |_| OpenError::Damaged { path: path.into(), reason: "a record can't be read".into() };

    let generation = record::generation(&bytes);
    let mut segment = ReadSegment {
        path: path.into(),
        generation: generation.unwrap_or_default(),
        records: Vec::new(),
        stray: Vec::new(),
    };
    let mut end = 0;
    while let Some(whole) = record::whole(&bytes[end..]).filter(|whole| Some(whole.generation()) == generation) {
        end += whole.length;
        segment.records.push(decode(&whole, end, durability_1).map_err(damaged)?);
    }
    // Those of an older generation are in the archive, so what they say does no harm.
    let mut at = end + 1;
    while at < bytes.len() {
        match record::whole(&bytes[at..]) {
            Some(whole) => {
                at += whole.length;
                segment.stray.extend(decode(&whole, at, durability_1));
            }
            None => at += 1,
        }
    }
    Ok(segment)
}

fn decode(whole: &Whole<'_>, end: usize, durability_1: Durability) -> Result<ReadRecord, codec::Unreadable> {
    let end = end as u64;
    let (header, entries) = match whole.header {
        Ok(header) => (Some(header), codec::entries(whole.payload)?),
        Err(_) => (None, codec::entries_1(whole.payload)?),
    };
    let entries: Vec<_> = entries.into_iter().map(Arc::new).collect();
    if let Some(header) = header {
        let record::Header { previous, flushed, reserved, .. } = header;
        return Ok(ReadRecord { end, previous, flushed, reserved, entries });
    }
    // In format 1 each record followed the one before without a hole, and was written after the flush of that one.
    let previous = entries.first().map_or(Cursor::START, |entry| entry.cursor.previous());
    let flushed = if durability_1 == Durability::Fsync { previous } else { Cursor::START };
    Ok(ReadRecord { end, previous, flushed, reserved: Cursor::START, entries })
}

/// What is to be taken over from the files of a journal: the entries after `archived` up to the first that is missing.
pub(super) fn recover(segments: &[ReadSegment], archived: Cursor) -> Result<Recovered, OpenError> {
    let mut records: Vec<_> = segments
        .iter()
        .enumerate()
        .flat_map(|(file, segment)| segment.records.iter().map(move |record| (file, record)))
        .collect();
    records.sort_by_key(|(_, record)| (record.previous, record.last()));
    let (mut newest, mut entries, mut dropped) = (archived, Vec::new(), None);
    let mut reserved = Cursor::START;
    let mut ends = [0; 2];
    for (file, record) in records {
        if dropped.is_none() && record.previous > newest {
            dropped = Some((newest, record));
        }
        // Of an archived record, the archive knows what was reserved.
        if record.last() > archived {
            reserved = reserved.max(record.reserved);
        }
        if dropped.is_some() {
            continue;
        }
        entries.extend(record.entries.iter().filter(|entry| entry.cursor > newest).cloned());
        newest = newest.max(record.last());
        ends[file] = record.end;
    }
    for segment in segments {
        for record in segment.records.iter().chain(&segment.stray) {
            if record.flushed > newest {
                let reason = format!("updates after {newest} are missing that had been flushed to the disk");
                return Err(OpenError::Damaged { path: segment.path.clone(), reason });
            }
        }
        let mut torn = segment.stray.iter().filter(|record| record.last() > archived).peekable();
        if torn.peek().is_some() {
            warn!(file = %segment.path.display(), "a crash of the machine has torn the journal: its end is dropped");
        }
        reserved = torn.map(|record| record.reserved.max(record.last())).fold(reserved, Cursor::max);
    }
    if let Some((last, record)) = dropped {
        warn!(after = %last, next = %record.previous, "a crash of the machine has cost the newest updates that were not flushed");
        reserved = reserved.max(record.last());
    }
    Ok(Recovered { entries, reserved, ends })
}
