//! What a reader of the log is given at once.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Cursor, Entry, ReadError};

/// How much a page may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSize {
    /// Maximum number of entries. A page always fits at least one.
    pub entries: usize,
    /// Maximum number of bytes, as [`Entry::size`] counts them, unless the first entry alone has more.
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
    /// Whether retention has evicted entries after the reader's cursor that the filter would have wanted, and no
    /// earlier page of this reader has said so. The first page says it whatever else it holds.
    ///
    /// It is never false when something was lost. Entries that expired, as their publisher wanted, are not lost. It is
    /// exact for a topic that has had an entry all along. A topic without entries is dropped, and can't be told from one
    /// that never was: for these it is true if any dropped topic has lost entries to retention after the cursor. Where the
    /// hub's own events are wanted, it may be true if any of these was evicted.
    pub gap: bool,
}

/// Reads the log page by page from a cursor on. What it has found out for one page it remembers for the next.
#[async_trait]
pub trait Reader: Send {
    /// The next page, oldest entries first, with as many entries as it holds. A page can be empty with `more` set: each
    /// call scans a bounded number of entries. After an error it may be called again.
    ///
    /// Matching runs on the caller's task and outside the log's locks.
    async fn next(&mut self, size: PageSize) -> Result<Page, ReadError>;
}

/// What of a page's size has been taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageBudget {
    size: PageSize,
    entries: usize,
    bytes: usize,
}

impl PageBudget {
    pub(super) fn new(size: PageSize) -> Self {
        Self { size, entries: 0, bytes: 0 }
    }

    /// Takes room for one more entry; `false` if there is none.
    pub(super) fn take(&mut self, entry: &Entry) -> bool {
        self.take_bytes(entry.size())
    }

    /// Takes room for one more entry of this size; `false` if there is none.
    pub(super) fn take_bytes(&mut self, bytes: usize) -> bool {
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
