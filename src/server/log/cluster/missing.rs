//! Entries that this node lacks: the stream had evicted or lost them before this node could copy them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{fs, io};

use async_trait::async_trait;
use tracing::error;

use crate::server::log::{Cursor, OpenError, Page, PageSize, ReadError, Reader, Storage};

/// The file in the log's folder. It holds a cursor in decimal.
const FILE: &str = "lost";

/// Records up to where entries may be missing.
pub(super) struct MissingEntries {
    before: AtomicU64,
    path: Option<PathBuf>,
}

impl MissingEntries {
    /// Reads the file in the log's folder.
    pub(super) fn open(storage: &Storage) -> Result<Self, OpenError> {
        let Storage::Disk { folder } = storage else { return Ok(Self { before: AtomicU64::new(0), path: None }) };
        let path = folder.join(FILE);
        let before = match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().ok(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(0),
            Err(error) => return Err(OpenError::NotWritable { path, error }),
        };
        match before {
            Some(before) => Ok(Self { before: AtomicU64::new(before), path: Some(path) }),
            None => Err(OpenError::Damaged { path, reason: "it holds no number".into() }),
        }
    }

    /// Records that entries before this cursor are missing.
    pub(super) fn set(&self, before: Cursor) {
        if self.before.fetch_max(before.0, Ordering::SeqCst) >= before.0 {
            return;
        }
        let written = self.path.as_ref().map(|path| fs::write(path, format!("{}\n", before.0))).transpose();
        if let Err(error) = written {
            error!(%error, "that entries are lacking can't be written down: readers are not told after a restart");
        }
    }

    fn before(&self) -> Cursor {
        Cursor(self.before.load(Ordering::SeqCst))
    }
}

/// A reader that reports missing entries as a gap.
pub(super) struct GapReader {
    pub(super) missing: Arc<MissingEntries>,
    pub(super) reader: Box<dyn Reader>,
    pub(super) at: Cursor,
    /// The cursor up to which the gap was reported.
    pub(super) told: Cursor,
}

#[async_trait]
impl Reader for GapReader {
    async fn next(&mut self, size: PageSize) -> Result<Page, ReadError> {
        let mut page = self.reader.next(size).await?;
        let before = self.missing.before();
        // A reader that starts right before the first entry misses nothing.
        if self.at.next() < before && self.told < before {
            self.told = before;
            page.gap = true;
        }
        self.at = page.next;
        Ok(page)
    }
}
