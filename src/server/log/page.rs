//! What a reader of the log is given at once.

use std::sync::Arc;

use super::{Cursor, Entry};

/// How much a page may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSize {
    /// At most so many entries; one may be there in any case.
    pub entries: usize,
    /// At most so many bytes of frames, unless the first entry alone has more.
    pub bytes: usize,
}

/// Some entries of the log, oldest first.
#[derive(Debug)]
pub struct Page {
    /// The entries that were wanted.
    pub entries: Vec<Arc<Entry>>,
    /// Everything up to here has been looked at: read on from it.
    pub next: Cursor,
    /// Whether there may be more.
    pub more: bool,
    /// Whether retention has removed entries after the cursor that was asked for which the filter would
    /// have wanted, and no page has told the reader yet.
    ///
    /// It is never false when something was lost. Entries that had had their time, as their publisher
    /// said, are not lost. It is exact for a topic that has had an entry all along; one that had none for
    /// a while has been forgotten and can't be told from one that never was: for these it is true if
    /// any topic has lost its last entry to retention after the cursor.
    pub gap: bool,
}

/// What a log has found out for one reader. Whoever reads on page by page, with the same filter, hands it on from
/// page to page: what has been told is not told again, and what has been looked for is not looked for again.
#[derive(Debug, Default)]
pub struct Notes {
    /// Of how many losses the reader knows what they are to it.
    pub(super) losses: u64,
    pub(super) wanted: Wanted,
}

/// The topics that a filter wants which can't list them.
#[derive(Debug, Default)]
pub(super) enum Wanted {
    /// It has not been asked.
    #[default]
    Unknown,
    /// These numbers, and no other one up to `last`.
    Few { numbers: Arc<Vec<u64>>, last: Option<u64> },
    /// Too many to remember.
    Many,
}

/// What of a page's size has been taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    size: PageSize,
    entries: usize,
    bytes: usize,
}

impl Room {
    pub(super) fn new(size: PageSize) -> Self {
        Self { size, entries: 0, bytes: 0 }
    }

    /// Takes room for one more entry, whose frame has so many bytes; `false` if there is none.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        let fits = self.entries == 0 || (self.entries_left() > 0 && bytes <= self.bytes_left());
        if fits {
            self.entries += 1;
            self.bytes = self.bytes.saturating_add(bytes);
        }
        fits
    }

    /// Whether there is none for any entry.
    pub(super) fn is_full(&self) -> bool {
        self.entries > 0 && (self.entries_left() == 0 || self.bytes_left() == 0)
    }

    pub(super) fn entries_left(&self) -> usize {
        self.size.entries.saturating_sub(self.entries)
    }

    pub(super) fn bytes_left(&self) -> usize {
        self.size.bytes.saturating_sub(self.bytes)
    }
}
