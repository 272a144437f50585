//! A subscription: what a session hears, read on from its cursor. History and live are the same thing.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::vec;

use futures_util::Stream;
use futures_util::future::BoxFuture;
use tracing::error;

use super::batch::{Batch, Selection, has_expired};
use super::mailbox::{Mailbox, Offered};
use super::matcher::Matchers;
use super::{HubShared, Session};
use crate::server::log::{Cursor, Entry, Page, PageSize, ReadError, Reader};

/// Maximum number of entries that a session which is behind holds in memory, however small they are.
const PAGE_ENTRIES: usize = 512;

/// Where a subscription begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With what is acknowledged from now on.
    Now,
    /// With what follows this place.
    After(Cursor),
    /// With a gap and then all that is kept: the last event that the client has seen is unknown.
    Lost,
}

/// What a subscription hears.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// An update.
    Update(Arc<Entry>),
    /// Updates were lost: retention had removed them before they could be read.
    Gap {
        /// The id of the oldest update that is kept, wanted and readable, if there is one: it comes next.
        oldest: Option<Box<str>>,
    },
}

/// A session's cursor and what it hears: a stream of deliveries in the log's order, each once. It ends only when the
/// log can't be read.
pub struct Subscription {
    hub: Arc<HubShared>,
    matchers: Arc<Matchers>,
    mailbox: Arc<Mailbox>,
    cursor: Cursor,
    /// Whether the session is to be told that updates were lost.
    lost: bool,
    /// Only while it reads from the log.
    reader: Option<Box<dyn Reader>>,
    state: ReadState,
    _session: Option<Session>,
}

/// A page that is being read, and the reader to read the next one with.
type PageRead = BoxFuture<'static, Result<(Page, Box<dyn Reader>), ReadError>>;

enum ReadState {
    /// Everything up to the cursor was read. What comes next is offered.
    Live,
    /// Passes on the entries that the fan-out selected.
    Offer(Arc<Batch>, Selection),
    /// Is about to read on from the cursor.
    Behind,
    /// Passes on what it wants of these entries, which follow the cursor.
    Slice(vec::IntoIter<Arc<Entry>>),
    /// Waits for a page of the log.
    Reading(PageRead),
    /// Passes on the entries of a page.
    Page {
        entries: vec::IntoIter<Arc<Entry>>,
        next: Cursor,
    },
    Failed,
}

impl Subscription {
    /// Reads on as `start` says, for a session whose entries after `position` are offered to the mailbox.
    pub(super) fn new(
        hub: Arc<HubShared>,
        matchers: Arc<Matchers>,
        mailbox: Arc<Mailbox>,
        start: Start,
        position: Cursor,
    ) -> Self {
        let (cursor, state) = match start {
            Start::Now => (position, ReadState::Live),
            Start::After(cursor) => (cursor, ReadState::Behind),
            Start::Lost => (hub.log.bounds().oldest.previous(), ReadState::Behind),
        };
        if matches!(state, ReadState::Behind) {
            mailbox.is_behind(cursor);
        }
        Self { hub, matchers, mailbox, cursor, lost: start == Start::Lost, reader: None, state, _session: None }
    }

    /// Keeps the session open for as long as the subscription lives.
    pub(super) fn keeping(self, session: Session) -> Self {
        Self { _session: Some(session), ..self }
    }

    /// Whether everything up to the cursor was read: what comes next is offered.
    pub fn is_live(&self) -> bool {
        matches!(self.state, ReadState::Live)
    }

    /// Everything up to here was read.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Moves the cursor to an entry that was written to the client at once.
    pub fn skip_to(&mut self, cursor: Cursor) {
        self.cursor = self.cursor.max(cursor);
    }

    fn read(&mut self) -> PageRead {
        let size = PageSize { entries: PAGE_ENTRIES, bytes: self.hub.options.reader_buffer };
        let reader = self.reader.take();
        let mut reader = reader.unwrap_or_else(|| self.hub.log.reader(self.cursor, self.matchers.clone()));
        Box::pin(async move { Ok((reader.next(size).await?, reader)) })
    }

    /// Reads on from the tail cache, or from the log where the cache does not reach back.
    fn catch_up(&mut self) -> ReadState {
        // A gap is the log's to tell.
        let slice = if self.lost { None } else { self.hub.tail_cache.slice(self.cursor) };
        match slice {
            Some(entries) => {
                self.reader = None;
                if !entries.is_empty() {
                    return ReadState::Slice(entries.into_iter());
                }
                self.mailbox.is_live();
                ReadState::Live
            }
            None => ReadState::Reading(self.read()),
        }
    }

    /// Moves the cursor to the entry, and answers whether the session gets it. A session that was behind may have read
    /// further than what it was offered meanwhile.
    fn advance(&mut self, entry: &Entry) -> bool {
        let is_next = entry.cursor > self.cursor;
        self.cursor = self.cursor.max(entry.cursor);
        is_next && !has_expired(entry)
    }
}

impl Stream for Subscription {
    type Item = Delivery;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        let this = &mut *self;
        loop {
            match &mut this.state {
                ReadState::Live => match ready!(this.mailbox.poll_offered(cx)) {
                    Offered::Entries(batch, selection) => this.state = ReadState::Offer(batch, selection),
                    Offered::Behind => this.state = ReadState::Behind,
                    Offered::Nothing => {}
                },
                ReadState::Offer(batch, selection) => match selection.pop().map(|n| batch.entries()[n].clone()) {
                    Some(entry) => {
                        if this.advance(&entry) {
                            return Poll::Ready(Some(Delivery::Update(entry)));
                        }
                    }
                    None => this.state = ReadState::Live,
                },
                ReadState::Behind => {
                    this.mailbox.is_behind(this.cursor);
                    this.state = this.catch_up();
                }
                ReadState::Slice(entries) => match entries.next() {
                    Some(entry) => {
                        if this.advance(&entry) && this.matchers.want(&entry) {
                            return Poll::Ready(Some(Delivery::Update(entry)));
                        }
                    }
                    None => {
                        this.state = ReadState::Behind;
                        // Comparing thousands of entries with patterns takes long: others must have their turn.
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                },
                ReadState::Reading(reading) => match ready!(reading.as_mut().poll(cx)) {
                    Ok((page, reader)) => {
                        this.reader = Some(reader);
                        this.lost |= page.gap;
                        let mut readable = page.entries.iter().filter(|entry| this.matchers.may_read(entry));
                        let oldest = readable.next().map(|entry| entry.id.clone());
                        // The page may have nothing for this reader although a later one has.
                        let tell = this.lost && (oldest.is_some() || !page.more);
                        this.state = ReadState::Page { entries: page.entries.into_iter(), next: page.next };
                        if tell {
                            this.lost = false;
                            return Poll::Ready(Some(Delivery::Gap { oldest }));
                        }
                    }
                    Err(error) => {
                        error!(%error, cursor = %this.cursor, "a subscription ends: the log could not be read");
                        this.state = ReadState::Failed;
                    }
                },
                ReadState::Page { entries, next } => match entries.next() {
                    Some(entry) => {
                        this.cursor = entry.cursor;
                        if this.matchers.may_read(&entry) {
                            return Poll::Ready(Some(Delivery::Update(entry)));
                        }
                    }
                    None => {
                        this.cursor = this.cursor.max(*next);
                        this.state = ReadState::Behind;
                    }
                },
                ReadState::Failed => return Poll::Ready(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::super::{Hub, HubOptions, MatchType, Matcher, TailCacheSize};
    use super::*;
    use crate::server::log::{MemoryLog, Topic, Update};

    fn topic(name: &str) -> Topic {
        Topic::parse(name).expect("a topic")
    }

    async fn publish(hub: &Hub, name: &str, bytes: usize, private: bool) -> Arc<Entry> {
        let (topics, data) = (vec![topic(name)], "x".repeat(bytes));
        let update = Update { topics, data, id: None, event: None, retry: None, private, ttl: None };
        hub.publish(update).await.expect("room")
    }

    #[tokio::test]
    async fn a_reader_that_is_behind_holds_what_its_buffer_holds_or_one_update() {
        const BUFFER: usize = 4 * 1024;
        let (log, tail) = MemoryLog::open(1000);
        let tail_cache = TailCacheSize { entries: 1, ..TailCacheSize::default() };
        let hub = Hub::open(log, tail, HubOptions { reader_buffer: BUFFER, tail_cache, ..HubOptions::default() });
        let sizes = [[1; 50], [100; 50], [10_000; 50], [1; 50]].concat();
        for &size in &sizes {
            publish(&hub, "a", size, false).await;
        }
        let mut reader = hub.subscribe(Matchers::exact([topic("a")]), Start::After(Cursor::START));
        let mut most = 0;
        for size in sizes {
            let Some(Delivery::Update(entry)) = reader.next().await else { panic!("no update") };
            assert_eq!(entry.data().len(), size);
            let ReadState::Page { entries, .. } = &reader.state else { continue };
            let rest: usize = entries.as_slice().iter().map(|entry| entry.frame.len()).sum();
            assert!(rest == 0 || rest + entry.frame.len() <= BUFFER, "{rest} bytes beside {}", entry.frame.len());
            most = most.max(entries.len());
        }
        assert!(most > 20, "as many as the buffer holds, and not {most}");
    }

    #[tokio::test]
    async fn a_gap_names_the_update_that_comes_next_and_no_other_one() {
        let (log, tail) = MemoryLog::open(6000);
        let hub = Hub::open(log, tail, HubOptions::default());
        publish(&hub, "https://example.com/a/1", 1, false).await;
        // More than one page's reading looks at.
        for _ in 0..5000 {
            publish(&hub, "other", 1, false).await;
        }
        publish(&hub, "https://example.com/a/2", 1, true).await;
        let readable = publish(&hub, "https://example.com/a/3", 1, false).await;
        for _ in 0..998 {
            publish(&hub, "other", 1, false).await;
        }
        let matcher = Matcher::parse(MatchType::UrlPattern, "https://example.com/a/:number", hub.patterns());
        let matchers = Matchers::new(&[matcher.expect("a matcher")], Arc::default());
        let mut reader = hub.subscribe(matchers, Start::After(Cursor::START));
        let Some(Delivery::Gap { oldest }) = reader.next().await else { panic!("no gap") };
        assert_eq!(oldest.as_ref(), Some(&readable.id));
        let Some(Delivery::Update(entry)) = reader.next().await else { panic!("no update") };
        assert_eq!(entry.cursor, readable.cursor);
    }
}
