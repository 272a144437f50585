//! The fan-out: takes entries from the log's tail and offers each to the sessions that want it and may have it.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use chrono::Utc;
use tokio::sync::{mpsc, watch};
use tokio::task::yield_now;
use tracing::debug;

use super::HubShared;
use super::batch::{Batch, Offer, Selection};
use super::mailbox::{Mailbox, Taken};
use super::match_cache::MatchCache;
use super::pattern::Candidate;
use super::rights::Rights;
use super::sessions::{Scratch, Selected, Shard};
use super::traced::TracedDeliveries;
use crate::server::log::{Cursor, Tail};
use crate::server::metrics::STREAMS;
use crate::server::traces::Traces;

/// Number of topics of which the matching patterns are remembered; up to twice as many at times.
const MATCHED_TOPICS: usize = 50_000;

/// Number of sessions that are offered a batch before other tasks have their turn: each may be written to.
const OFFERS: usize = 128;

/// Offers that another task makes only if there are more of them: waking it takes as long as some of them.
const FEW_OFFERS: usize = 64;

/// Batches that may wait for a shard's task before the others wait with it.
const WAITING_BATCHES: usize = 4;

/// Starts the fan-out, which tells how far each shard is. It runs until the hub and its sessions are gone, or the log is
/// closed.
pub(super) fn start(shared: &Arc<HubShared>, tail: Tail, positions: Vec<watch::Sender<Cursor>>) {
    let shards = shared.sessions.shards().iter().zip(positions).enumerate().map(|(number, (shard, position))| {
        let position = Arc::new(position);
        // The first shard's offers are made where the batches are.
        let task = (number > 0).then(|| {
            let (shares, received) = mpsc::channel(WAITING_BATCHES);
            tokio::spawn(make_offers(number, received, position.clone(), shared.options.traces.clone()));
            shares
        });
        ShardFanOut {
            number,
            shard: shard.clone(),
            cache: MatchCache::new(MATCHED_TOPICS),
            scratch: Scratch::default(),
            position,
            task,
            handed_over: Cursor::START,
        }
    });
    tokio::spawn(fan_out(Arc::downgrade(shared), tail, shards.collect()));
}

/// Makes batches of the tail's entries, and offers them to the sessions of all shards.
async fn fan_out(shared: Weak<HubShared>, mut tail: Tail, mut shards: Vec<ShardFanOut>) {
    let mut received = Vec::new();
    while tail.recv_many(&mut received, Batch::MAX).await > 0 {
        let Some(shared) = shared.upgrade() else { break };
        let batch = Batch::new(received.drain(..).collect());
        let traced = shared.traced.take(batch.entries());
        let batch = Arc::new(batch.with_traced(traced));
        // Before it is offered: a session that has fallen behind looks there at once.
        shared.tail_cache.push(batch.entries());
        if let Some(remote) = &shared.remote_presence {
            batch.entries().iter().for_each(|entry| remote.apply(entry, shared.presence.root()));
        }
        let at = shared.elapsed();
        for shard in &mut shards {
            shard.select(&batch);
            shard.hand_over(&batch, at).await;
        }
        let mut offer = Offer::new(batch, at);
        for shard in &mut shards {
            shard.make_offers(&mut offer, &shared.options.traces).await;
        }
    }
    debug!("the fan-out has ended");
}

/// What a shard's task has to do for a batch.
struct Share {
    batch: Arc<Batch>,
    at: u64,
    selected: Vec<Selected>,
}

/// Makes the offers of one shard, where there are many.
async fn make_offers(
    number: usize,
    mut shares: mpsc::Receiver<Share>,
    position: Arc<watch::Sender<Cursor>>,
    traces: Traces,
) {
    while let Some(Share { batch, at, mut selected }) = shares.recv().await {
        let mut offer = Offer::new(batch, at);
        offer_and_trace(&mut selected, &mut offer, number, &traces).await;
        note_delay(offer.batch());
        position.send_replace(offer.batch().last());
    }
}

/// Notes how long ago the oldest update of a batch was published, now that it was written to all who took it at once.
fn note_delay(batch: &Batch) {
    if let Some(entry) = batch.entries().first() {
        // It may be below zero when the clock was set.
        STREAMS.publish_to_write.record((Utc::now() - entry.at).to_std().unwrap_or_default());
    }
}

/// Makes offers to sessions of a shard, and traces the deliveries of updates whose publish is traced.
async fn offer_and_trace(selected: &mut Vec<Selected>, offer: &mut Offer, shard: usize, traces: &Traces) {
    // Two loops: without traces, a delivery must not pay for the question whether it is traced.
    let Some(mut deliveries) = TracedDeliveries::begin(offer.batch(), shard) else {
        return offer_to(selected, offer, |_, _, _| {}).await;
    };
    offer_to(selected, offer, |mailbox, selection, taken| deliveries.note(mailbox, selection, taken)).await;
    deliveries.end(traces);
}

/// Makes offers, and tells `note` of each.
async fn offer_to(selected: &mut Vec<Selected>, offer: &mut Offer, mut note: impl FnMut(&Mailbox, Selection, Taken)) {
    for (n, Selected { mailbox, selection, .. }) in selected.drain(..).enumerate() {
        let taken = mailbox.offer(offer, selection);
        note(&mailbox, selection, taken);
        if (n + 1).is_multiple_of(OFFERS) {
            yield_now().await;
        }
    }
}

/// The fan-out to one shard's sessions.
struct ShardFanOut {
    number: usize,
    shard: Arc<Shard>,
    cache: MatchCache,
    scratch: Scratch,
    /// The newest entry that was offered to all who want it.
    position: Arc<watch::Sender<Cursor>>,
    task: Option<mpsc::Sender<Share>>,
    /// The newest entry whose offers were left to the task.
    handed_over: Cursor,
}

impl ShardFanOut {
    /// Leaves the offers to the shard's task where that is worth it, or where it still makes those before.
    async fn hand_over(&mut self, batch: &Arc<Batch>, at: u64) {
        let Some(task) = &self.task else { return };
        let is_idle = *self.position.borrow() >= self.handed_over;
        if is_idle && self.scratch.selected.len() <= FEW_OFFERS {
            return;
        }
        let selected = std::mem::take(&mut self.scratch.selected);
        self.handed_over = batch.last();
        _ = task.send(Share { batch: batch.clone(), at, selected }).await;
    }

    /// Makes the offers that were not left to the task.
    async fn make_offers(&mut self, offer: &mut Offer, traces: &Traces) {
        let last = offer.batch().last();
        if self.handed_over < last {
            if !self.scratch.selected.is_empty() {
                offer_and_trace(&mut self.scratch.selected, offer, self.number, traces).await;
                note_delay(offer.batch());
            }
            self.position.send_replace(last);
        }
    }

    /// Collects the sessions that want entries of the batch and may have them.
    fn select(&mut self, batch: &Batch) {
        let shard = &self.shard;
        let (updates, presence) = (shard.subscribed(false), shard.subscribed(true));
        let mut matches = Vec::with_capacity(batch.entries().len());
        for entry in batch.entries() {
            // The topics of presence events are seldom seen twice: they would fill the cache for nothing.
            let is_presence = shard.is_presence(entry);
            let of_entry = entry.topics.iter().map(|topic| match is_presence {
                true => presence.matches(topic),
                false => self.cache.matches(topic, &updates),
            });
            matches.push(of_entry.collect());
        }
        shard.select(batch, &matches, &mut self.scratch);
        let expired = batch.expired();
        let mut rights = ReadRights::new(batch);
        self.scratch.selected.retain_mut(|Selected { selection, matchers, .. }| {
            *selection = selection.without(expired);
            if let Some(matchers) = matchers {
                *selection = rights.readable(*selection, matchers.rights());
            }
            !selection.is_empty()
        });
    }
}

/// Who may read the private entries of a batch: evaluated once for all sessions that share their rights.
struct ReadRights<'a> {
    private: Selection,
    /// The topics of the private entries; none for the others.
    topics: Vec<Vec<Candidate<'a>>>,
    verdicts: HashMap<*const Rights, Verdict>,
}

struct Verdict {
    /// Held, so that no other rights get the same address.
    _rights: Arc<Rights>,
    evaluated: Selection,
    denied: Selection,
}

impl<'a> ReadRights<'a> {
    fn new(batch: &'a Batch) -> Self {
        let entries = batch.entries().iter();
        let topics = entries.map(|entry| {
            let topics = entry.topics.iter().filter(|_| entry.private);
            topics.map(|topic| Candidate::new(topic.as_str())).collect()
        });
        Self { private: batch.private(), topics: topics.collect(), verdicts: HashMap::new() }
    }

    /// What of the selection may be read with these rights.
    fn readable(&mut self, selection: Selection, rights: &Arc<Rights>) -> Selection {
        let verdict = self.verdicts.entry(Arc::as_ptr(rights)).or_insert_with(|| Verdict {
            _rights: rights.clone(),
            evaluated: Selection::NONE,
            denied: Selection::NONE,
        });
        let mut open = selection.and(self.private).without(verdict.evaluated);
        while let Some(n) = open.pop() {
            verdict.evaluated.insert(n);
            if !rights.may_read_any_of(&self.topics[n]) {
                verdict.denied.insert(n);
            }
        }
        selection.without(verdict.denied)
    }
}
