//! Reading what a filter wants that can't list its topics: it is asked about each topic once, by the topics'
//! numbers.

use std::collections::HashMap;
use std::sync::Arc;

use super::Shared;
use super::read::{SCAN_LIMIT, blocking, read_error};
use super::snapshot::{Snapshot, Window};
use crate::server::log::{Cursor, Entry, Page, ReadError, TopicFilter};

/// How many entries of the archive are looked at in one go.
const WINDOW: usize = 1024;
/// How many topics a filter is asked about in one go.
const TOPICS_AT_ONCE: usize = 1024;
/// Finding a topic's place in the index costs about as much as looking at so many entries in order.
const SEEK_COST: u64 = 8;

/// What a filter has said about topics, by their numbers.
#[derive(Default)]
pub(super) struct Asked(HashMap<u64, bool>);

impl Asked {
    fn wants(&self, number: u64) -> bool {
        self.0.get(&number) == Some(&true)
    }
}

impl Shared {
    /// The next entries that a filter wants which can't list its topics. Looks at the next entries first:
    /// most filters want enough of them. Where this one doesn't, the index of all topics that it wants
    /// is used if that is less work.
    pub(super) async fn archived_by_filter(
        self: &Arc<Self>,
        cursor: Cursor,
        filter: &dyn TopicFilter,
        limit: usize,
    ) -> Result<Page, ReadError> {
        let mut asked = Asked::default();
        let mut wanted = Vec::new();
        let mut next = cursor;
        let mut seen = 0;
        let (mut snapshot, mut window) = self.window_from(None, next).await?;
        let newest = snapshot.totals.newest;
        let lossy = snapshot.totals.removed > cursor;
        let mut more = true;
        while wanted.len() < limit && seen < SCAN_LIMIT {
            if seen > 0 {
                (snapshot, window) = self.window_from(Some(snapshot), next).await?;
            }
            seen += window.len();
            more = window.len() == WINDOW;
            self.ask(&window, filter, &mut asked);
            for (place, topics) in window.drain(..) {
                if wanted.len() == limit {
                    more = true;
                    break;
                }
                next = place;
                if topics.iter().any(|number| asked.wants(*number)) {
                    wanted.push(place);
                }
            }
            if !more {
                next = newest.max(cursor);
                break;
            }
        }
        if !lossy && (!more || wanted.len() >= limit) {
            return self.fetch_page(snapshot, wanted, next, more, false).await;
        }

        let numbers = self.ask_all(filter, &mut asked).await;
        let scanned = wanted.len();
        // A new snapshot, taken after the question: a topic that has been forgotten since the first one
        // counts as lost in it. And no further than the first one, whose topics were all asked about.
        self.read(move |shared, fresh| {
            let gap = lossy && (fresh.totals.forgotten > cursor || fresh.have_lost(&numbers, cursor)?);
            let mut hits = 0;
            if more && scanned < limit {
                for &number in &numbers {
                    hits += fresh.row(number)?.map_or(0, |row| row.count);
                }
                let rest = newest.0.saturating_sub(cursor.0);
                let by_scan = rest.min((limit as u64).saturating_mul(fresh.totals.count) / hits.max(1));
                if SEEK_COST * numbers.len() as u64 + (limit as u64) < by_scan {
                    return shared.page_of(fresh, &numbers, cursor, newest, limit, gap);
                }
            }
            Ok(Page { entries: snapshot.fetch(&wanted, &shared.names)?, next, more, gap })
        })
        .await
    }

    async fn fetch_page(
        self: &Arc<Self>,
        snapshot: Snapshot,
        wanted: Vec<Cursor>,
        next: Cursor,
        more: bool,
        gap: bool,
    ) -> Result<Page, ReadError> {
        if wanted.is_empty() {
            return Ok(Page { entries: Vec::new(), next, more, gap });
        }
        let shared = self.clone();
        blocking(move || {
            let entries = snapshot.fetch(&wanted, &shared.names).map_err(read_error)?;
            Ok(Page { entries, next, more, gap })
        })
        .await
    }

    async fn window_from(
        self: &Arc<Self>,
        snapshot: Option<Snapshot>,
        after: Cursor,
    ) -> Result<(Snapshot, Window), ReadError> {
        let shared = self.clone();
        blocking(move || {
            let snapshot = snapshot.map_or_else(|| shared.with_snapshot(Ok), Ok)?;
            let window = snapshot.window_from(after.next(), WINDOW).map_err(read_error)?;
            Ok((snapshot, window))
        })
        .await
    }

    /// The wanted ones of the last entries up to `to`, newest first, and the oldest place looked at
    /// unless it was the log's beginning.
    pub(super) async fn window_until(
        self: &Arc<Self>,
        to: Cursor,
        filter: &dyn TopicFilter,
        asked: &mut Asked,
        limit: usize,
    ) -> Result<(Vec<Arc<Entry>>, Option<Cursor>), ReadError> {
        let shared = self.clone();
        let (snapshot, window) = blocking(move || {
            shared.with_snapshot(|snapshot| {
                let window = snapshot.window_until(to, WINDOW)?;
                Ok((snapshot, window))
            })
        })
        .await?;
        self.ask(&window, filter, asked);
        let mut rest = window.last().map(|(place, _)| *place).filter(|_| window.len() == WINDOW);
        let mut wanted = Vec::new();
        for (place, topics) in window {
            if topics.iter().any(|number| asked.wants(*number)) {
                wanted.push(place);
                if wanted.len() == limit {
                    rest = Some(place);
                    break;
                }
            }
        }
        let page = self.fetch_page(snapshot, wanted, to, false, false).await?;
        Ok((page.entries, rest))
    }

    fn ask(&self, window: &Window, filter: &dyn TopicFilter, asked: &mut Asked) {
        for number in window.iter().flat_map(|(_, topics)| topics) {
            if !asked.0.contains_key(number) {
                // A name that retention has removed since: nothing of it is left to be wanted.
                let wanted = self.names.get(*number).is_some_and(|topic| filter.wants(topic.as_str()));
                asked.0.insert(*number, wanted);
            }
        }
    }

    async fn ask_all(&self, filter: &dyn TopicFilter, asked: &mut Asked) -> Vec<u64> {
        let mut wanted = Vec::new();
        let mut last = None;
        loop {
            let topics = self.names.after(last, TOPICS_AT_ONCE);
            for (number, topic) in &topics {
                if *asked.0.entry(*number).or_insert_with(|| filter.wants(topic.as_str())) {
                    wanted.push(*number);
                }
            }
            last = topics.last().map(|(number, _)| *number);
            if topics.len() < TOPICS_AT_ONCE {
                return wanted;
            }
            tokio::task::yield_now().await;
        }
    }
}
