//! Entries that are fanned out together, and what of them goes to one client.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use chrono::Utc;

use crate::server::log::{Cursor, Entry};
use crate::server::traces::TraceContext;

/// Bytes of frames that are written at once; one frame always fits.
const CHUNK_BYTES: usize = 64 * 1024;

/// Entries that became durable together, in order: at most [`Batch::MAX`].
#[derive(Debug)]
pub(super) struct Batch {
    entries: Box<[Arc<Entry>]>,
    /// Those whose publish is traced. `None` where there are none, as always without tracing.
    traced: Option<Box<[TracedEntry]>>,
}

/// An entry of a batch whose publish is traced.
#[derive(Clone, Debug)]
pub(super) struct TracedEntry {
    /// Its number in the batch.
    pub(super) n: usize,
    pub(super) cursor: Cursor,
    pub(super) publish: TraceContext,
}

/// Which entries of a batch a session gets: bit `n` stands for the batch's entry `n`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Selection(u64);

/// What is written to the sessions that get the same entries of a batch: encoded once for all of them.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// One chunk of HTTP/1.1.
    pub bytes: Bytes,
    /// The last entry in it.
    pub last: Cursor,
    /// How many entries it has.
    pub entries: u64,
    /// Whether it has all that are selected: otherwise it would be too long.
    pub(super) is_whole: bool,
}

/// A batch as it is offered to one session after the other.
pub(super) struct Offer {
    batch: Arc<Batch>,
    /// Now, in milliseconds since the hub was opened.
    pub(super) at: u64,
    chunks: HashMap<Selection, Chunk>,
    /// Most sessions get what the one before got.
    newest: Option<(Selection, Chunk)>,
}

impl Batch {
    /// As many entries as a [`Selection`] has bits.
    pub(super) const MAX: usize = u64::BITS as usize;

    pub(super) fn new(entries: Box<[Arc<Entry>]>) -> Self {
        debug_assert!(entries.len() <= Self::MAX, "a selection has a bit for each entry");
        Self { entries, traced: None }
    }

    /// The same batch, some of whose publishes are traced.
    pub(super) fn with_traced(self, traced: Option<Box<[TracedEntry]>>) -> Self {
        Self { traced, ..self }
    }

    pub(super) fn entries(&self) -> &[Arc<Entry>] {
        &self.entries
    }

    /// Those whose publish is traced.
    pub(super) fn traced(&self) -> Option<&[TracedEntry]> {
        self.traced.as_deref()
    }

    /// The place of its first entry.
    pub(super) fn first(&self) -> Cursor {
        self.entries.first().map_or(Cursor::START, |entry| entry.cursor)
    }

    /// The place of its last entry.
    pub(super) fn last(&self) -> Cursor {
        self.entries.last().map_or(Cursor::START, |entry| entry.cursor)
    }

    /// Those that have expired, of the few that have a time to live.
    pub(super) fn expired(&self) -> Selection {
        self.select(has_expired)
    }

    /// The private ones.
    pub(super) fn private(&self) -> Selection {
        self.select(|entry| entry.private)
    }

    fn select(&self, is_meant: impl Fn(&Entry) -> bool) -> Selection {
        let mut selection = Selection::NONE;
        let numbers = self.entries.iter().enumerate().filter(|(_, entry)| is_meant(entry));
        numbers.for_each(|(n, _)| selection.insert(n));
        selection
    }
}

impl Offer {
    pub(super) fn new(batch: Arc<Batch>, at: u64) -> Self {
        Self { batch, at, chunks: HashMap::new(), newest: None }
    }

    pub(super) fn batch(&self) -> &Arc<Batch> {
        &self.batch
    }

    /// What of the selection comes after `cursor`.
    pub(super) fn after(&self, cursor: Cursor, mut selection: Selection) -> Selection {
        loop {
            let rest = selection;
            match selection.pop() {
                Some(n) if self.batch.entries[n].cursor <= cursor => {}
                _ => return rest,
            }
        }
    }

    /// The selected entries, encoded; `None` where nothing is selected.
    pub(super) fn chunk(&mut self, selection: Selection) -> Option<&Chunk> {
        if self.newest.as_ref().is_none_or(|(newest, _)| *newest != selection) {
            let chunk = match self.chunks.get(&selection) {
                Some(chunk) => chunk.clone(),
                None => {
                    let chunk = Chunk::of(&self.batch, selection)?;
                    self.chunks.insert(selection, chunk.clone());
                    chunk
                }
            };
            self.newest = Some((selection, chunk));
        }
        self.newest.as_ref().map(|(_, chunk)| chunk)
    }
}

impl Chunk {
    fn of(batch: &Batch, mut selection: Selection) -> Option<Self> {
        let mut frames: Vec<&Entry> = Vec::new();
        let mut length = 0;
        let mut is_whole = true;
        while let Some(entry) = selection.pop().map(|n| &batch.entries[n]) {
            if length > 0 && length + entry.frame.len() > CHUNK_BYTES {
                is_whole = false;
                break;
            }
            length += entry.frame.len();
            frames.push(entry);
        }
        let last = frames.last()?.cursor;
        let entries = frames.len() as u64;
        Some(Self { bytes: chunk(frames.iter().map(|entry| &*entry.frame), length), last, entries, is_whole })
    }
}

/// Few updates have a time to live: the others must not cost a look at the clock.
pub(super) fn has_expired(entry: &Entry) -> bool {
    entry.expires_at.is_some() && entry.has_expired(Utc::now())
}

/// One chunk of HTTP/1.1 (RFC 9112, 7.1) with these frames, which have `length` bytes together.
pub fn chunk<'a>(frames: impl Iterator<Item = &'a [u8]>, length: usize) -> Bytes {
    let head = format!("{length:x}\r\n");
    let mut chunk = BytesMut::with_capacity(head.len() + length + 2);
    chunk.put_slice(head.as_bytes());
    frames.for_each(|frame| chunk.put_slice(frame));
    chunk.put_slice(b"\r\n");
    chunk.freeze()
}

impl Selection {
    pub(super) const NONE: Self = Self(0);

    pub(super) fn insert(&mut self, n: usize) {
        self.0 |= 1 << n;
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn contains(self, n: usize) -> bool {
        self.0 & (1 << n) != 0
    }

    pub(super) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Takes out the first entry's number.
    pub(super) fn pop(&mut self) -> Option<usize> {
        let first = (self.0 != 0).then(|| self.0.trailing_zeros() as usize)?;
        self.0 &= self.0 - 1;
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::log::{Field, Topic, Update};

    fn batch(sizes: &[usize]) -> Arc<Batch> {
        let entry = |(n, size): (usize, &usize)| {
            let topics = vec![Topic::parse("a").expect("a topic")];
            let (id, data) = (Field::parse(&(n + 1).to_string()).ok(), "x".repeat(*size));
            let update = Update { topics, data, id, event: None, retry: None, private: false, ttl: None };
            Arc::new(Entry::new(Cursor(n as u64 + 1), Utc::now(), update))
        };
        Arc::new(Batch::new(sizes.iter().enumerate().map(entry).collect()))
    }

    fn selection(numbers: &[usize]) -> Selection {
        let mut selection = Selection::NONE;
        numbers.iter().for_each(|&n| selection.insert(n));
        selection
    }

    #[test]
    fn a_selection_gives_its_entries_in_order_each_once() {
        let mut selection = selection(&[63, 0, 7, 7]);
        assert_eq!(std::iter::from_fn(|| selection.pop()).collect::<Vec<_>>(), [0, 7, 63]);
        assert!(selection.is_empty());
    }

    #[test]
    fn those_who_get_the_same_entries_share_one_chunk() {
        let mut offer = Offer::new(batch(&[1, 2, 3]), 0);
        let mut bytes = |numbers: &[usize]| offer.chunk(selection(numbers)).expect("a chunk").bytes.clone();
        let (one, two, three) = (bytes(&[0, 2]), bytes(&[1]), bytes(&[0, 2]));
        assert_eq!(one, "20\r\nid: 1\ndata: x\n\nid: 3\ndata: xxx\n\n\r\n".as_bytes());
        assert_eq!(one.as_ptr(), three.as_ptr());
        assert_ne!(one, two);
    }

    #[test]
    fn what_a_session_has_read_already_is_left_out() {
        let offer = Offer::new(batch(&[1, 2, 3]), 0);
        let after = |cursor, numbers: &[usize]| offer.after(Cursor(cursor), selection(numbers));
        assert_eq!(after(0, &[0, 2]), selection(&[0, 2]));
        assert_eq!(after(1, &[0, 2]), selection(&[2]));
        assert_eq!(after(3, &[0, 2]), Selection::NONE);
    }

    #[test]
    fn a_chunk_is_bounded_and_has_one_entry_at_least() {
        let mut offer = Offer::new(batch(&[10, CHUNK_BYTES, 10]), 0);
        let mut of = |numbers: &[usize]| {
            let chunk = offer.chunk(selection(numbers)).expect("a chunk");
            (chunk.entries, chunk.last, chunk.is_whole)
        };
        assert_eq!(of(&[0, 1, 2]), (1, Cursor(1), false));
        assert_eq!(of(&[1, 2]), (1, Cursor(2), false));
        assert_eq!(of(&[0, 2]), (2, Cursor(3), true));
    }
}
