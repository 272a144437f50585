//! A reader of the log on disk: where it is, and what it has found out on the way.

use std::sync::Arc;

use async_trait::async_trait;

use super::Shared;
use super::filtered::Wanted;
use crate::server::log::verdicts::Verdicts;
use crate::server::log::{Cursor, Page, PageSize, ReadError, Reader, TopicFilter};

pub(super) struct DiskReader {
    shared: Arc<Shared>,
    filter: Arc<dyn TopicFilter>,
    at: Cursor,
    state: ReadState,
}

/// What a reader has found out for one page and need not find out again for the next.
#[derive(Default)]
pub(super) struct ReadState {
    /// The reader knows what the first so many evictions are to it.
    pub(super) evictions: u64,
    pub(super) wanted: Wanted,
    /// By topic, for entries in memory.
    pub(super) verdicts: Verdicts,
    /// By topic's number, for entries of the archive.
    pub(super) archived_verdicts: Verdicts<u64>,
}

impl DiskReader {
    pub(super) fn new(shared: Arc<Shared>, from: Cursor, filter: Arc<dyn TopicFilter>) -> Self {
        Self { shared, filter, at: from, state: ReadState::default() }
    }
}

#[async_trait]
impl Reader for DiskReader {
    async fn next(&mut self, size: PageSize) -> Result<Page, ReadError> {
        let page = self.shared.page_after(self.at, &*self.filter, size, &mut self.state).await?;
        self.at = page.next;
        Ok(page)
    }
}
