//! Reads for filters that can't enumerate their topics (URL patterns). Each topic is evaluated once, and the verdict is
//! cached by the topic's number.
//!
//! The next entries are scanned first: most filters want enough of them. A filter that doesn't is evaluated on all topics
//! there are. If it wants few, the reader remembers which, and from then on its pages come by index where that is cheaper.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::yield_now;

use super::Shared;
use super::failure::Failure;
use super::read::Wanted;
use super::read_state::{ReadState, SCAN_LIMIT, SLICE, WantedTopics};
use super::snapshot::{Look, Seen, Snapshot, Window};
use super::topic_directory::{EvictionPlace, TopicDirectory};
use crate::server::log::page::PageBudget;
use crate::server::log::verdicts::Verdicts;
use crate::server::log::{Cursor, Entry, Page, Topic, TopicFilter};

/// How many entries of the archive are looked at in one go, and how many bytes of them: as many as are wanted at
/// first, then more. They are read from the file whole.
const WINDOW: usize = 1024;
const FIRST_WINDOW_BYTES: usize = 64 << 10;
const WINDOW_BYTES: usize = 1 << 20;
/// How many bytes a read looks at before it answers, wanted or not.
const SCAN_BYTES: usize = 16 << 20;
/// How many topics a filter is asked about in one go.
const TOPICS_AT_ONCE: usize = 32;
/// How many topics a reader remembers. Finding more of them by the index is hardly ever less work than looking at
/// all entries.
const MOST_WANTED: usize = 4096;
/// Seeking a topic in the index costs about as much as scanning this many entries.
const SEEK_COST: u64 = 8;

/// A part of the archive, and the topics of its entries by their numbers.
struct NamedWindow {
    window: Window,
    topics: HashMap<u64, Topic>,
}

impl NamedWindow {
    fn wants(&self, seen: &Seen, filter: &dyn TopicFilter, verdicts: &mut Verdicts<u64>) -> bool {
        let by_number = |number: &u64| {
            let Some(topic) = self.topics.get(number) else { return false };
            verdicts.get_or_ask(*number, |_| filter.wants(topic.as_str()))
        };
        seen.topics.names().iter().any(|topic| filter.wants(topic.as_str()))
            || seen.topics.numbers().iter().any(by_number)
    }
}

/// How far a read has looked at one entry after the other.
struct Scan {
    /// The wanted entries so far.
    wanted: Vec<Cursor>,
    /// What the page has room for beside them.
    budget: PageBudget,
    /// Everything up to here has been scanned.
    next: Cursor,
    /// How many entries have been scanned.
    seen: usize,
    /// How many bytes have been scanned.
    bytes: usize,
    /// Whether the end of the archive has been reached.
    ended: bool,
    /// Whether the page has no room for the next wanted entry.
    full: bool,
}

impl Scan {
    fn from(cursor: Cursor, budget: PageBudget) -> Self {
        Self { wanted: Vec::new(), budget, next: cursor, seen: 0, bytes: 0, ended: false, full: false }
    }

    async fn go_on(
        &mut self,
        named: &NamedWindow,
        filter: &dyn TopicFilter,
        verdicts: &mut Verdicts<u64>,
        newest: Cursor,
        asking: &Semaphore,
    ) {
        self.seen += named.window.count;
        self.bytes += named.window.bytes;
        for slice in named.window.places.chunks(SLICE) {
            let turn = asking.acquire().await;
            for seen in slice {
                let wanted = named.wants(seen, filter, verdicts);
                self.full = self.budget.is_full() || (wanted && !self.budget.take_bytes(seen.size));
                if self.full {
                    return;
                }
                if wanted {
                    self.wanted.push(seen.cursor);
                }
                self.next = seen.cursor;
            }
            drop(turn);
            yield_now().await;
        }
        self.next = named.window.last.unwrap_or(self.next);
        if named.window.is_last {
            self.ended = true;
            self.next = self.next.max(newest);
        }
    }

    /// Whether it makes a page, or would have to look at too much for one.
    fn is_done(&self) -> bool {
        self.ended || self.full || self.seen >= SCAN_LIMIT || self.bytes >= SCAN_BYTES
    }
}

impl WantedTopics {
    /// Asks a filter about all topics that it has not been asked about. Afterwards they aren't `Unknown`.
    async fn ask(&mut self, filter: &dyn TopicFilter, directory: &TopicDirectory, asking: &Semaphore) {
        if matches!(self, Self::Unknown) {
            *self = Self::Few { numbers: Arc::default(), last: None };
        }
        while let Self::Few { numbers, last } = self {
            let topics = directory.after(*last, TOPICS_AT_ONCE);
            let wanted = wanted_of(&topics, filter, asking).await;
            if numbers.len() + wanted.len() > MOST_WANTED {
                *self = Self::Many;
                return;
            }
            if !wanted.is_empty() {
                Arc::make_mut(numbers).extend(wanted);
            }
            *last = topics.last().map(|(number, _)| *number).or(*last);
            if topics.len() < TOPICS_AT_ONCE {
                return;
            }
            yield_now().await;
        }
    }
}

impl Shared {
    /// The next entries that a filter wants which can't list its topics.
    pub(super) async fn archived_by_filter(
        self: &Arc<Self>,
        cursor: Cursor,
        filter: &dyn TopicFilter,
        budget: PageBudget,
        state: &mut ReadState,
    ) -> Result<Page, Failure> {
        let is_known = !matches!(state.wanted, WantedTopics::Unknown);
        if is_known && let Some(page) = self.page_by_index(cursor, filter, budget, state).await? {
            return Ok(page);
        }
        let evictions = self.topics.evictions();
        let mut scan = Scan::from(cursor, budget);
        let mut bytes = budget.bytes_left().clamp(FIRST_WINDOW_BYTES, WINDOW_BYTES);
        let mut snapshot = None;
        let snapshot = loop {
            let (now, named) = self.window_from(snapshot, scan.next, Look::of(filter, WINDOW, bytes)).await?;
            scan.go_on(&named, filter, &mut state.archived_verdicts, now.totals.newest, &self.asking).await;
            if scan.is_done() {
                break now;
            }
            snapshot = Some(now);
            bytes = (bytes * 2).min(WINDOW_BYTES);
        };
        if !is_known && !scan.ended && !scan.full {
            state.wanted.ask(filter, &self.topics, &self.asking).await;
            if let Some(page) = self.page_by_index(cursor, filter, budget, state).await? {
                return Ok(page);
            }
        }
        let (snapshot, gap) = self.has_missed_wanted(snapshot, filter, cursor, state.evictions).await?;
        state.evictions = evictions;
        let mut page = Page { entries: Vec::new(), next: cursor, more: !scan.ended, gap };
        if !scan.wanted.is_empty() {
            let shared = self.clone();
            page = self
                .blocking(move || {
                    let (now, mut budget) = (shared.clock.now(), budget);
                    snapshot.fetch(&scan.wanted, &shared.topics, now, &mut budget, &mut page)?;
                    Ok(page)
                })
                .await?;
        }
        page.next = scan.next;
        Ok(page)
    }

    /// The same by index, if it is known which topics are wanted and if that is cheaper than a scan.
    async fn page_by_index(
        self: &Arc<Self>,
        cursor: Cursor,
        filter: &dyn TopicFilter,
        budget: PageBudget,
        state: &mut ReadState,
    ) -> Result<Option<Page>, Failure> {
        // Before the filter is asked about the topics of what is archived now, and before the snapshot, which has all
        // of these evictions at least.
        let (to, evictions) = (self.unarchived().archived, self.topics.evictions());
        state.wanted.ask(filter, &self.topics, &self.asking).await;
        let WantedTopics::Few { numbers, .. } = &state.wanted else { return Ok(None) };
        let (numbers, known) = (numbers.clone(), state.evictions);
        let wants_system = filter.wants_system();
        let (system, up_to) = match wants_system {
            true => self.wanted_system(cursor, to, filter, &mut state.system).await?,
            false => (Vec::new(), to),
        };
        let page = self
            .read(move |shared, snapshot| {
                if !prefers_index(snapshot, &numbers, cursor, up_to, &budget)? {
                    return Ok(None);
                }
                let lost = shared.have_evicted(snapshot, &numbers, cursor, known)?;
                let gap = lost || shared.topics.have_evicted_unknown(cursor, known, wants_system);
                let wanted = Wanted { numbers: &numbers, system: &system };
                let mut page = shared.page_of(snapshot, wanted, cursor, up_to, budget, gap)?;
                page.more |= up_to < to;
                Ok(Some(page))
            })
            .await?;
        if page.is_some() {
            state.evictions = evictions;
        }
        Ok(page)
    }

    /// Whether the filter would have wanted entries after `cursor` that were evicted by other evictions than the first
    /// `known`.
    pub(super) async fn has_missed_wanted(
        self: &Arc<Self>,
        mut snapshot: Snapshot,
        filter: &dyn TopicFilter,
        cursor: Cursor,
        known: u64,
    ) -> Result<(Snapshot, bool), Failure> {
        if snapshot.totals.last_evicted <= cursor {
            return Ok((snapshot, false));
        }
        let mut place = EvictionPlace::after(known);
        while let Some(topics) = self.topics.evicted_after(&mut place, cursor, TOPICS_AT_ONCE) {
            let wanted = wanted_of(&topics, filter, &self.asking).await;
            if wanted.is_empty() {
                yield_now().await;
                continue;
            }
            let lost;
            (snapshot, lost) = self
                .blocking(move || {
                    let lost = snapshot.have_evicted(&wanted, cursor)?;
                    Ok((snapshot, lost))
                })
                .await?;
            if lost {
                return Ok((snapshot, true));
            }
        }
        Ok((snapshot, self.topics.have_evicted_unknown(cursor, known, filter.wants_system())))
    }

    /// A part of the log from a place on, with its topics.
    async fn window_from(
        self: &Arc<Self>,
        snapshot: Option<Snapshot>,
        after: Cursor,
        look: Look,
    ) -> Result<(Snapshot, NamedWindow), Failure> {
        let shared = self.clone();
        self.blocking(move || {
            let snapshot = snapshot.map_or_else(|| shared.with_snapshot(Ok), Ok)?;
            let window = snapshot.window_from(after.next(), look)?;
            let topics = snapshot.topics_of(&window, &shared.topics)?;
            Ok((snapshot, NamedWindow { window, topics }))
        })
        .await
    }

    /// The wanted ones of the last entries up to `to`, newest first, and the oldest place looked at
    /// unless it was the log's beginning.
    pub(super) async fn window_until(
        self: &Arc<Self>,
        to: Cursor,
        filter: &dyn TopicFilter,
        verdicts: &mut Verdicts<u64>,
        limit: usize,
    ) -> Result<(Vec<Arc<Entry>>, Option<Cursor>), Failure> {
        let shared = self.clone();
        let look = Look::of(filter, WINDOW, WINDOW_BYTES);
        let (snapshot, named) = self
            .blocking(move || {
                shared.with_snapshot(|snapshot| {
                    let window = snapshot.window_until(to, look)?;
                    let topics = snapshot.topics_of(&window, &shared.topics)?;
                    Ok((snapshot, NamedWindow { window, topics }))
                })
            })
            .await?;
        let mut rest = named.window.last.filter(|_| !named.window.is_last);
        let mut wanted = Vec::new();
        'window: for slice in named.window.places.chunks(SLICE) {
            let turn = self.asking.acquire().await;
            for seen in slice.iter().filter(|seen| named.wants(seen, filter, verdicts)) {
                wanted.push(seen.cursor);
                if wanted.len() == limit {
                    rest = Some(seen.cursor);
                    break 'window;
                }
            }
            drop(turn);
            yield_now().await;
        }
        if wanted.is_empty() {
            return Ok((Vec::new(), rest));
        }
        let shared = self.clone();
        let entries = self.blocking(move || snapshot.all_at(&wanted, &shared.topics)).await?;
        Ok((entries, rest))
    }
}

/// The numbers of the topics that a filter wants.
async fn wanted_of(topics: &[(u64, Topic)], filter: &dyn TopicFilter, asking: &Semaphore) -> Vec<u64> {
    let _turn = asking.acquire().await;
    topics.iter().filter(|(_, topic)| filter.wants(topic.as_str())).map(|(number, _)| *number).collect()
}

/// Whether a page of these topics' entries within `cursor..=to` is found by the index with less work than by
/// looking at one entry after the other.
fn prefers_index(
    snapshot: &Snapshot,
    numbers: &[u64],
    cursor: Cursor,
    to: Cursor,
    budget: &PageBudget,
) -> Result<bool, Failure> {
    let page = snapshot.totals.hold(budget) as u64;
    let by_index = SEEK_COST * numbers.len() as u64 + page;
    let by_scan = |hits: u64| {
        let rest = to.0.saturating_sub(cursor.0);
        rest.min(page.saturating_mul(snapshot.totals.size().count) / hits.max(1))
    };
    // Each has one entry at least, as a rule: it need not be known how many there are to see that it is too many.
    if by_index >= by_scan(numbers.len() as u64) {
        return Ok(false);
    }
    let mut hits = 0;
    for &number in numbers {
        hits += snapshot.row(number)?.map_or(0, |row| row.count);
    }
    Ok(by_index < by_scan(hits))
}
