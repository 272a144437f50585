//! A subscription: matchers and a cursor, read on from there. History and live are the same thing.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::vec;

use futures_util::Stream;
use futures_util::future::BoxFuture;
use tracing::error;

use super::Shared;
use super::matcher::Matchers;
use super::recent::Next;
use super::registry::{Keys, Slot, Span};
use crate::server::log::{Cursor, Entry, Page, PageSize, ReadError, Reader};

/// How many entries a subscriber that is behind holds in memory at most, however small they are.
const PAGE_ENTRIES: usize = 512;

/// Where a subscription begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With what is acknowledged from now on.
    Now,
    /// With what follows this place.
    After(Cursor),
    /// With a gap and then all that is kept: nobody knows where the subscriber had come to.
    Lost,
}

/// What a subscription hears.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// An update.
    Update(Arc<Entry>),
    /// Updates were lost: retention had removed them before they could be read.
    Gap {
        /// The id of the oldest update that is kept and wanted, if there is one: it comes next.
        oldest: Option<Box<str>>,
    },
}

/// One subscriber's place in the log and what it wants: a stream of deliveries in the log's order, each
/// once. It ends only when the log can't be read.
pub struct Subscription {
    shared: Arc<Shared>,
    matchers: Arc<Matchers>,
    slot: Arc<Slot>,
    keys: Keys,
    cursor: Cursor,
    /// Whether it is to be told that updates were lost.
    lost: bool,
    /// Only while it is behind.
    reader: Option<Box<dyn Reader>>,
    state: State,
}

enum State {
    /// Reads, or is about to read, what lies behind the recent part.
    Behind,
    Reading(BoxFuture<'static, Result<(Page, Box<dyn Reader>), ReadError>>),
    Page {
        entries: vec::IntoIter<Arc<Entry>>,
        next: Cursor,
    },
    /// Everything up to the cursor is read. What is pending lies in the recent part; the rest is announced.
    Live {
        pending: Option<Span>,
    },
    Failed,
}

impl Subscription {
    pub(super) fn open(shared: Arc<Shared>, matchers: Arc<Matchers>, start: Start) -> Self {
        let slot = Arc::default();
        let keys = shared.registry.insert(&matchers, &slot);
        // The cursor is taken after the registration: an update between the two is announced and
        // recognized as old; the other way round it would be missed.
        let (cursor, state) = match start {
            Start::Now => (shared.log.bounds().newest, State::Live { pending: None }),
            Start::After(cursor) => (cursor, State::Behind),
            Start::Lost => (shared.log.bounds().oldest.previous(), State::Behind),
        };
        let lost = start == Start::Lost;
        Self { matchers, slot, keys, cursor, lost, reader: None, state, shared }
    }

    fn read(&mut self) -> BoxFuture<'static, Result<(Page, Box<dyn Reader>), ReadError>> {
        let size = PageSize { entries: PAGE_ENTRIES, bytes: self.shared.options.reader_buffer };
        let reader = self.reader.take();
        let mut reader = reader.unwrap_or_else(|| self.shared.log.reader(self.cursor, self.matchers.clone()));
        Box::pin(async move { Ok((reader.next(size).await?, reader)) })
    }

    fn poll_live(&mut self, pending: Option<Span>, cx: &mut Context<'_>) -> Poll<Option<Arc<Entry>>> {
        let span = match pending {
            Some(span) => span,
            None => {
                self.state = State::Live { pending: None };
                ready!(self.slot.poll(cx))
            }
        };
        let after = self.cursor.max(span.first.previous());
        self.state = State::Live { pending: None };
        if after >= span.last {
            return Poll::Ready(None);
        }
        Poll::Ready(match self.shared.recent.next(after, span.last, &self.matchers, &self.shared.patterns) {
            Next::Entry(entry) => {
                self.cursor = entry.cursor;
                if entry.cursor < span.last {
                    self.state = State::Live { pending: Some(span) };
                }
                Some(entry)
            }
            Next::Nothing => {
                self.cursor = span.last;
                None
            }
            Next::Left => {
                self.cursor = after;
                self.state = State::Behind;
                None
            }
        })
    }
}

impl Stream for Subscription {
    type Item = Delivery;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        let this = &mut *self;
        loop {
            match &mut this.state {
                State::Live { pending } => {
                    let pending = *pending;
                    if let Some(entry) = ready!(this.poll_live(pending, cx)) {
                        return Poll::Ready(Some(Delivery::Update(entry)));
                    }
                }
                State::Behind => {
                    this.state = match this.shared.recent.newest_if_covers(this.cursor) {
                        Some(newest) if !this.lost => {
                            this.reader = None;
                            let span = Span { first: this.cursor.next(), last: newest };
                            State::Live { pending: (span.first <= span.last).then_some(span) }
                        }
                        _ => State::Reading(this.read()),
                    }
                }
                State::Reading(reading) => match ready!(reading.as_mut().poll(cx)) {
                    Ok((page, reader)) => {
                        this.reader = Some(reader);
                        this.lost |= page.gap;
                        let mut readable = page.entries.iter().filter(|entry| this.matchers.may_read(entry));
                        let oldest = readable.next().map(|entry| entry.id.clone());
                        // The page may have nothing for this reader although a later one has.
                        let tell = this.lost && (oldest.is_some() || !page.more);
                        this.state = State::Page { entries: page.entries.into_iter(), next: page.next };
                        if tell {
                            this.lost = false;
                            return Poll::Ready(Some(Delivery::Gap { oldest }));
                        }
                    }
                    Err(error) => {
                        error!(%error, cursor = %this.cursor, "a subscription ends: the log could not be read");
                        this.state = State::Failed;
                    }
                },
                State::Page { entries, next } => match entries.next() {
                    Some(entry) => {
                        this.cursor = entry.cursor;
                        if this.matchers.may_read(&entry) {
                            return Poll::Ready(Some(Delivery::Update(entry)));
                        }
                    }
                    None => {
                        this.cursor = this.cursor.max(*next);
                        this.state = State::Behind;
                    }
                },
                State::Failed => return Poll::Ready(None),
            }
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.shared.registry.remove(&self.matchers, &self.keys);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::super::{Hub, HubOptions, MatchType, Matcher};
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
        let hub = Hub::open(log, tail, HubOptions { reader_buffer: BUFFER, ..HubOptions::default() });
        let sizes = [[1; 50], [100; 50], [10_000; 50], [1; 50]].concat();
        for &size in &sizes {
            publish(&hub, "a", size, false).await;
        }
        let mut reader = hub.subscribe(Matchers::exact([topic("a")]), Start::After(Cursor::START));
        let mut most = 0;
        for size in sizes {
            let Some(Delivery::Update(entry)) = reader.next().await else { panic!("no update") };
            assert_eq!(entry.data().len(), size);
            let State::Page { entries, .. } = &reader.state else { continue };
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
