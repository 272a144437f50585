//! Reading the log in memory. Filters run on what a subscriber sent, so they run outside the lock, on some entries at a
//! time.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::task::yield_now;

use super::Shared;
use crate::server::log::page::PageBudget;
use crate::server::log::verdicts::Verdicts;
use crate::server::log::{Cursor, Entry, Page, PageSize, ReadError, Reader, Topic, TopicFilter};

/// How many entries, or topics, a filter is asked about in one go.
const SLICE: usize = 256;
/// How many entries one page's reading looks at, wanted or not.
const SCAN_LIMIT: usize = 4096;

pub(super) struct MemoryReader {
    shared: Arc<Shared>,
    filter: Arc<dyn TopicFilter>,
    verdicts: Verdicts,
    at: Cursor,
    /// The reader knows what the first so many evictions are to it.
    evictions: u64,
}

impl MemoryReader {
    pub(super) fn new(shared: Arc<Shared>, from: Cursor, filter: Arc<dyn TopicFilter>) -> Self {
        Self { shared, filter, verdicts: Verdicts::default(), at: from, evictions: 0 }
    }

    /// The next entries of these topics, by index.
    fn listed(&mut self, topics: &[Topic], mut budget: PageBudget) -> Page {
        let state = self.shared.state();
        let gap = state.has_evicted_of(topics, self.at, self.evictions);
        let mut page = Page { entries: Vec::new(), next: state.newest().max(self.at), more: false, gap };
        for entry in state.on_topics(topics, self.at).filter_map(|cursor| state.get(cursor)) {
            if !budget.take(entry) {
                page.next = entry.cursor.previous();
                page.more = true;
                break;
            }
            page.entries.push(entry.clone());
        }
        self.evictions = state.evictions();
        page
    }

    /// The next entries that the filter wants, found by looking at one after the other.
    async fn scanned(&mut self, mut budget: PageBudget) -> Page {
        let mut page = Page { entries: Vec::new(), next: self.at, more: true, gap: false };
        let mut looked_at = 0;
        'page: while looked_at < SCAN_LIMIT {
            let (slice, newest) = self.shared.state().after(page.next, SLICE);
            for entry in &slice {
                let wanted = self.verdicts.wants(&*self.filter, entry);
                if budget.is_full() || (wanted && !budget.take(entry)) {
                    break 'page;
                }
                if wanted {
                    page.entries.push(entry.clone());
                }
                page.next = entry.cursor;
            }
            if slice.len() < SLICE {
                page.next = newest.max(page.next);
                page.more = false;
                break;
            }
            looked_at += slice.len();
            yield_now().await;
        }
        // After the last look: whatever was evicted before it was looked at is among these.
        let evictions = self.shared.state().evictions();
        page.gap = self.has_missed_wanted().await;
        self.evictions = evictions;
        page
    }

    /// Whether entries after the reader's cursor that the filter would have wanted have been evicted, by evictions
    /// that it doesn't know.
    async fn has_missed_wanted(&mut self) -> bool {
        let mut seen = self.evictions;
        loop {
            let topics = self.shared.state().evicted_after(seen, SLICE);
            let Some((number, ..)) = topics.last() else { break };
            seen = *number;
            let mut missed = topics.iter().filter(|(_, _, evicted)| *evicted > self.at);
            if missed.any(|(_, topic, _)| self.verdicts.wants_topic(&*self.filter, topic)) {
                return true;
            }
            yield_now().await;
        }
        self.shared.state().has_dropped_topics(self.at, self.evictions)
    }
}

#[async_trait]
impl Reader for MemoryReader {
    async fn next(&mut self, size: PageSize) -> Result<Page, ReadError> {
        let budget = PageBudget::new(size);
        let filter = self.filter.clone();
        let page = match filter.exact() {
            Some(topics) => self.listed(topics, budget),
            None => self.scanned(budget).await,
        };
        self.at = page.next;
        Ok(page)
    }
}

impl Shared {
    pub(super) async fn read_before(
        &self,
        cursor: Option<Cursor>,
        filter: &dyn TopicFilter,
        limit: usize,
    ) -> Vec<Arc<Entry>> {
        let mut end = cursor.unwrap_or_else(|| self.state().newest().next());
        if let Some(topics) = filter.exact() {
            return self.state().last_on_topics(topics, end, limit);
        }
        let (mut verdicts, mut entries) = (Verdicts::default(), Vec::new());
        while entries.len() < limit {
            let slice = self.state().before(end, SLICE);
            let Some(last) = slice.last() else { break };
            end = last.cursor;
            let wanted = slice.into_iter().filter(|entry| verdicts.wants(filter, entry));
            entries.extend(wanted.take(limit - entries.len()));
            yield_now().await;
        }
        entries
    }
}
