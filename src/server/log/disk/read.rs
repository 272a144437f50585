//! Reading: from memory where that is enough, from the archive on a thread that may wait.
//!
//! What a page says must be true of one moment although entries move from memory into the archive, and
//! out of it, meanwhile. So the archive is read through a snapshot, whether something has been lost is
//! asked of the same snapshot, and what comes from memory goes on exactly where the snapshot ended.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::Shared;
use super::archive::Failure;
use super::snapshot::{Snapshot, Window};
use crate::server::log::{Cursor, Entry, Page, ReadError, Topic, TopicFilter};

/// How many entries a read looks at before it answers, wanted or not.
const SCAN_LIMIT: usize = 4096;
/// How many entries of the archive are looked at in one go.
const WINDOW: usize = 1024;
/// How many topics a filter is asked about in one go.
const TOPICS_AT_ONCE: usize = 1024;
/// Finding a topic's place in the index costs about as much as looking at so many entries in order.
const SEEK_COST: u64 = 8;
/// How often a read is tried again while the archive's file is being opened again.
const TRIES: usize = 100;
/// How long it waits in between, on its own thread.
const TRY_EVERY: Duration = Duration::from_millis(10);

/// What a filter has said about topics, by their numbers.
#[derive(Default)]
struct Asked(HashMap<u64, bool>);

impl Asked {
    fn wants(&self, number: u64) -> bool {
        self.0.get(&number) == Some(&true)
    }
}

impl Shared {
    pub(super) async fn page_after(
        self: &Arc<Self>,
        cursor: Cursor,
        filter: &dyn TopicFilter,
        limit: usize,
    ) -> Result<Page, ReadError> {
        let mut page = Page { entries: Vec::new(), next: cursor, more: true, gap: false };
        loop {
            if self.recent().archived <= page.next && self.page_from_recent(filter, limit, &mut page) {
                break;
            }
            let left = limit - page.entries.len();
            let part = match filter.exact() {
                Some(topics) => self.archived_exactly(page.next, topics.to_vec(), left).await?,
                None => self.archived_by_filter(page.next, filter, left).await?,
            };
            page.entries.extend(part.entries);
            page.gap |= part.gap;
            page.next = part.next;
            if part.more || page.entries.len() >= limit {
                break;
            }
        }
        let now = (self.clock)();
        page.entries.retain(|entry| !entry.has_expired(now));
        Ok(page)
    }

    /// Goes on from memory; `false` if that begins too late meanwhile.
    fn page_from_recent(&self, filter: &dyn TopicFilter, limit: usize, page: &mut Page) -> bool {
        let recent = self.recent();
        if recent.archived > page.next {
            return false;
        }
        page.more = false;
        for (seen, entry) in recent.after(page.next).enumerate() {
            if page.entries.len() >= limit || seen == SCAN_LIMIT {
                page.more = true;
                break;
            }
            if wants(filter, entry) {
                page.entries.push(entry.clone());
            }
            page.next = entry.cursor;
        }
        true
    }

    async fn archived_exactly(
        self: &Arc<Self>,
        cursor: Cursor,
        topics: Vec<Topic>,
        limit: usize,
    ) -> Result<Page, ReadError> {
        self.read(move |shared, snapshot| {
            let (numbers, gap) = snapshot.known(&topics, cursor)?;
            shared.page_of(snapshot, &numbers, cursor, snapshot.totals.newest, limit, gap)
        })
        .await
    }

    /// The next entries of these topics, by index.
    fn page_of(
        &self,
        snapshot: &Snapshot,
        numbers: &[u64],
        cursor: Cursor,
        to: Cursor,
        limit: usize,
        gap: bool,
    ) -> Result<Page, Failure> {
        let mut cursors = snapshot.first_of(numbers, cursor.next(), to, limit + 1)?;
        let more = cursors.len() > limit;
        cursors.truncate(limit);
        let next = match cursors.last() {
            Some(last) if more => *last,
            _ if more => cursor,
            _ => to.max(cursor),
        };
        Ok(Page { entries: snapshot.fetch(&cursors, &self.names)?, next, more, gap })
    }

    /// The next entries that a filter wants which can't list its topics. Looks at the next entries first:
    /// most filters want enough of them. Where this one doesn't, the index of all topics that it wants
    /// is used if that is less work.
    async fn archived_by_filter(
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

    pub(super) async fn entries_before(
        self: &Arc<Self>,
        cursor: Option<Cursor>,
        filter: &dyn TopicFilter,
        limit: usize,
    ) -> Result<Vec<Arc<Entry>>, ReadError> {
        let now = (self.clock)();
        let mut entries: Vec<Arc<Entry>> = Vec::new();
        let mut to = {
            let recent = self.recent();
            let before = cursor.unwrap_or(recent.newest().next());
            let wanted = recent.before(before).rev().filter(|entry| wants(filter, entry) && !entry.has_expired(now));
            entries.extend(wanted.take(limit).cloned());
            before.previous().min(recent.archived)
        };
        let mut asked = Asked::default();
        while entries.len() < limit && to > Cursor::START {
            let left = limit - entries.len();
            let (part, rest) = match filter.exact() {
                Some(topics) => {
                    let topics = topics.to_vec();
                    self.read(move |shared, snapshot| {
                        let (numbers, _) = snapshot.known(&topics, to)?;
                        let cursors = snapshot.last_of(&numbers, to, left)?;
                        let rest = if cursors.len() < left { None } else { cursors.last().copied() };
                        Ok((snapshot.fetch(&cursors, &shared.names)?, rest))
                    })
                    .await?
                }
                None => self.window_until(to, filter, &mut asked, left).await?,
            };
            entries.extend(part.into_iter().filter(|entry| !entry.has_expired(now)));
            to = rest.map_or(Cursor::START, Cursor::previous);
        }
        Ok(entries)
    }

    /// The wanted ones of the last entries up to `to`, newest first, and the oldest place looked at
    /// unless it was the log's beginning.
    async fn window_until(
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

    pub(super) async fn find(self: &Arc<Self>, id: &str) -> Result<Option<Arc<Entry>>, ReadError> {
        let sealed = self.seal.open(id);
        if let Some(entry) = sealed.and_then(|cursor| self.recent().get(cursor).cloned())
            && &*entry.id == id
        {
            return Ok(Some(entry).filter(|entry| !entry.has_expired((self.clock)())));
        }
        loop {
            let text: Box<str> = id.into();
            let (archived, newest) = self
                .read(move |shared, snapshot| {
                    let sealed = match sealed {
                        Some(cursor) => snapshot.get(cursor, &shared.names)?.filter(|entry| entry.id == text),
                        None => None,
                    };
                    let entry = match sealed {
                        Some(entry) => Some(entry),
                        None => snapshot.given(&text, &shared.seal, &shared.names)?,
                    };
                    let now = (shared.clock)();
                    Ok((entry.filter(|entry| !entry.has_expired(now)), snapshot.totals.newest))
                })
                .await?;
            if archived.is_some() {
                return Ok(archived);
            }
            let recent = self.recent();
            if recent.archived <= newest {
                let now = (self.clock)();
                let mut kept = recent.after(newest).filter(|entry| !entry.has_expired(now));
                return Ok(kept.find(|entry| &*entry.id == id).cloned());
            }
        }
    }

    /// Reads from the archive on a thread that may wait.
    async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        question: impl Fn(&Self, &Snapshot) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, ReadError> {
        let shared = self.clone();
        blocking(move || shared.with_snapshot(|snapshot| question(&shared, &snapshot))).await
    }

    fn with_snapshot<T>(&self, question: impl Fn(Snapshot) -> Result<T, Failure>) -> Result<T, ReadError> {
        let mut tries = 1;
        loop {
            match self.snapshot().and_then(&question) {
                Err(failure) if failure.passes() && tries < TRIES => {
                    tries += 1;
                    self.bell.wake();
                    std::thread::sleep(TRY_EVERY);
                }
                other => return other.map_err(read_error),
            }
        }
    }

    fn snapshot(&self) -> Result<Snapshot, Failure> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        Snapshot::begin(database.as_ref().ok_or(Failure(redb::Error::DatabaseClosed))?)
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

fn wants(filter: &dyn TopicFilter, entry: &Entry) -> bool {
    entry.topics.iter().any(|topic| filter.wants(topic.as_str()))
}

fn read_error(failure: Failure) -> ReadError {
    ReadError(failure.to_string())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
) -> Result<T, ReadError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| ReadError(error.to_string()))?
}
