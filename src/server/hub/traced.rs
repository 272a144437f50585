//! Traced updates: how the fan-out finds the trace of a publish, and what it notes of the deliveries.

use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::batch::{Batch, Selection, TracedEntry};
use super::mailbox::{Mailbox, Taken};
use crate::server::log::{Entry, Topic};
use crate::server::traces::{DeliverSpan, DeliveryKind, TraceContext, Traces};

/// Maximum number of updates that are between their publish and the fan-out and whose deliveries are traced.
const MAX_UPDATES: usize = 1024;
/// Maximum number of updates of one publish whose deliveries are traced.
const MAX_OF_PUBLISH: usize = 100;
/// How long an update's trace waits for the fan-out: it never comes if its publisher has gone away and the log has refused
/// the update.
const PATIENCE: Duration = Duration::from_secs(10);

/// The traces of updates between their publish and the fan-out.
///
/// An update has no place yet when it is published, and maybe no id. What it has, and keeps, is its first topic: the place
/// of that text in memory stands for the update.
#[derive(Default)]
pub(super) struct TracedUpdates {
    /// How many there are: without any, the fan-out takes no lock.
    count: AtomicUsize,
    updates: Mutex<HashMap<usize, TracedUpdate>>,
}

struct TracedUpdate {
    /// Held, so that no other topic gets the same address.
    _topic: Topic,
    publish: TraceContext,
    since: Instant,
}

impl TracedUpdates {
    /// Notes the trace of updates with these first topics. Call it before they are appended: the fan-out may have them at
    /// once.
    pub(super) fn expect(&self, topics: &[Topic], publish: &TraceContext) {
        let mut traced = self.updates();
        for topic in topics.iter().take(MAX_OF_PUBLISH) {
            if traced.len() >= MAX_UPDATES {
                break;
            }
            // Taken if somebody shares one topic among updates: then only the first is traced.
            if let MapEntry::Vacant(place) = traced.entry(topic.address()) {
                place.insert(TracedUpdate { _topic: topic.clone(), publish: publish.clone(), since: Instant::now() });
            }
        }
        self.count.store(traced.len(), Ordering::Relaxed);
    }

    /// Takes the traces of the entries that have one.
    pub(super) fn take(&self, entries: &[Arc<Entry>]) -> Option<Box<[TracedEntry]>> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut traced = self.updates();
        let of_entry = |(n, entry): (usize, &Arc<Entry>)| {
            let TracedUpdate { publish, .. } = traced.remove(&entry.topics.first()?.address())?;
            Some(TracedEntry { n, cursor: entry.cursor, publish })
        };
        let taken: Box<[_]> = entries.iter().enumerate().filter_map(of_entry).collect();
        self.count.store(traced.len(), Ordering::Relaxed);
        (!taken.is_empty()).then_some(taken)
    }

    /// Drops the traces of updates that were not appended.
    pub(super) fn forget(&self, topics: &[Topic]) {
        let mut traced = self.updates();
        for topic in topics {
            traced.remove(&topic.address());
        }
        self.count.store(traced.len(), Ordering::Relaxed);
    }

    /// Drops the traces that have waited for too long.
    pub(super) fn expire(&self) {
        if self.count.load(Ordering::Relaxed) > 0 {
            let mut traced = self.updates();
            traced.retain(|_, update| update.since.elapsed() < PATIENCE);
            self.count.store(traced.len(), Ordering::Relaxed);
        }
    }

    fn updates(&self) -> MutexGuard<'_, HashMap<usize, TracedUpdate>> {
        self.updates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The deliveries of a batch's traced entries to the sessions of one shard.
pub(super) struct TracedDeliveries(Vec<(TracedEntry, DeliverSpan)>);

impl TracedDeliveries {
    /// Deliveries that begin now; `None` where no publish of the batch is traced.
    pub(super) fn begin(batch: &Batch, shard: usize) -> Option<Self> {
        Some(Self(batch.traced()?.iter().map(|entry| (entry.clone(), DeliverSpan::begin(shard))).collect()))
    }

    /// Notes how a session has got what of the batch was selected for it.
    pub(super) fn note(&mut self, mailbox: &Mailbox, selection: Selection, taken: Taken) {
        for (entry, span) in self.0.iter_mut().filter(|(entry, _)| selection.contains(entry.n)) {
            let kind = match taken {
                Taken::Written => DeliveryKind::Written,
                Taken::WrittenUpTo(cursor) if entry.cursor <= cursor => DeliveryKind::Written,
                Taken::ByTask => DeliveryKind::HandedOver,
                Taken::WrittenUpTo(_) | Taken::Later => DeliveryKind::Behind,
            };
            span.deliver(mailbox.subscriber().urn(), kind);
        }
    }

    /// Ends the spans of the entries that had a delivery.
    pub(super) fn end(self, traces: &Traces) {
        for (entry, span) in self.0.into_iter().filter(|(_, span)| !span.is_empty()) {
            traces.delivered(&entry.publish, span);
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::Utc;

    use super::*;
    use crate::server::log::{Cursor, Field, Update};

    fn topics(count: usize) -> Vec<Topic> {
        (0..count).map(|_| Topic::parse("a").expect("a topic")).collect()
    }

    fn entry(cursor: u64, topic: &Topic) -> Arc<Entry> {
        let (topics, id) = (vec![topic.clone()], Field::parse(&cursor.to_string()).ok());
        let update = Update { topics, data: "x".into(), id, event: None, retry: None, private: false, ttl: None };
        Arc::new(Entry::new(Cursor(cursor), Utc::now(), update))
    }

    #[test]
    fn the_fan_out_finds_a_trace_once_and_only_for_the_very_update() {
        let (traced, topics, context) = (TracedUpdates::default(), topics(3), TraceContext::example());
        traced.expect(&topics[..2], &context);
        let entries = [entry(7, &topics[2]), entry(8, &topics[1])];
        let taken = traced.take(&entries).expect("a trace");
        assert_eq!(taken.iter().map(|entry| (entry.n, entry.cursor)).collect::<Vec<_>>(), [(1, Cursor(8))]);
        assert!(traced.take(&entries).is_none());
        traced.forget(&topics);
        assert_eq!(traced.count.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn traces_that_wait_are_bounded_and_expire() {
        let (traced, context) = (TracedUpdates::default(), TraceContext::example());
        let one = topics(MAX_OF_PUBLISH + 1);
        traced.expect(&one, &context);
        assert_eq!(traced.updates().len(), MAX_OF_PUBLISH);
        let more: Vec<_> = (0..MAX_UPDATES / MAX_OF_PUBLISH + 1).map(|_| topics(MAX_OF_PUBLISH)).collect();
        more.iter().for_each(|topics| traced.expect(topics, &context));
        assert_eq!(traced.updates().len(), MAX_UPDATES);
        tokio::time::advance(PATIENCE - Duration::from_millis(1)).await;
        traced.expire();
        assert_eq!(traced.updates().len(), MAX_UPDATES);
        tokio::time::advance(Duration::from_millis(2)).await;
        traced.expire();
        assert_eq!(traced.updates().len(), 0);
    }

    #[test]
    fn deliveries_are_noted_for_the_entries_that_a_session_gets() {
        let (traced, topics, context) = (TracedUpdates::default(), topics(3), TraceContext::example());
        traced.expect(&topics, &context);
        let entries: Vec<_> = topics.iter().zip(1..).map(|(topic, cursor)| entry(cursor, topic)).collect();
        let batch = Batch::new(entries.into()).with_traced(None);
        assert!(TracedDeliveries::begin(&batch, 0).is_none());
        let of_batch = traced.take(batch.entries());
        let batch = batch.with_traced(of_batch);
        let mut deliveries = TracedDeliveries::begin(&batch, 0).expect("traces");
        let mut selection = Selection::NONE;
        [0, 1].iter().for_each(|&n| selection.insert(n));
        deliveries.note(&Mailbox::default(), selection, Taken::WrittenUpTo(Cursor(1)));
        let noted: Vec<_> = deliveries.0.iter().map(|(_, span)| span.counts()).collect();
        assert_eq!(noted, [[1, 0, 0], [0, 0, 1], [0, 0, 0]]);
        deliveries.note(&Mailbox::default(), selection, Taken::ByTask);
        assert_eq!(deliveries.0[0].1.counts(), [1, 1, 0]);
    }
}
