//! A reader of the log on disk.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;

use super::Shared;
use super::read_state::ReadState;
use crate::server::log::{Cursor, Page, PageSize, ReadError, Reader, TopicFilter};

pub(super) struct DiskReader {
    shared: Arc<Shared>,
    filter: Arc<dyn TopicFilter>,
    at: Cursor,
    state: ReadState,
}

impl DiskReader {
    pub(super) fn new(shared: Arc<Shared>, from: Cursor, filter: Arc<dyn TopicFilter>) -> Self {
        Self { shared, filter, at: from, state: ReadState::default() }
    }
}

#[async_trait]
impl Reader for DiskReader {
    async fn next(&mut self, size: PageSize) -> Result<Page, ReadError> {
        let begun = Instant::now();
        loop {
            let page = self.shared.page_after(self.at, &*self.filter, size, &mut self.state).await;
            if !self.shared.must_begin_again(&page, begun).await {
                self.at = page.as_ref().map_or(self.at, |page| page.next);
                return Ok(page?);
            }
        }
    }
}
