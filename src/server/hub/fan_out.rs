//! The fan-out: takes entries from the log's tail and offers each to the sessions that want it and may have it.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use tokio::sync::{mpsc, watch};
use tokio::task::yield_now;
use tracing::debug;

use super::HubShared;
use super::batch::{Batch, Offer, Selection};
use super::match_cache::MatchCache;
use super::pattern::Candidate;
use super::rights::Rights;
use super::sessions::{Scratch, Selected, Shard};
use crate::server::log::{Cursor, Tail};

/// Number of topics of which the matching patterns are remembered; up to twice as many at times.
const MATCHED_TOPICS: usize = 50_000;

/// Number of sessions that are offered a batch before other tasks have their turn: each may be written to.
const OFFERS: usize = 128;

/// Batches that may wait for a shard before the others wait with it.
const WAITING_BATCHES: usize = 4;

/// Starts the fan-out, with a task for each shard, which tells how far it is. It runs until the hub and its sessions are
/// gone, or the log is closed.
pub(super) fn start(shared: &Arc<HubShared>, tail: Tail, positions: Vec<watch::Sender<Cursor>>) {
    let mut shards = Vec::new();
    for (shard, position) in shared.sessions.shards().iter().zip(positions) {
        let (batches, received) = mpsc::channel(WAITING_BATCHES);
        tokio::spawn(serve(Arc::downgrade(shared), shard.clone(), received, position));
        shards.push(batches);
    }
    tokio::spawn(distribute(Arc::downgrade(shared), tail, shards));
}

/// Makes batches of the tail's entries, for all shards.
async fn distribute(shared: Weak<HubShared>, mut tail: Tail, shards: Vec<mpsc::Sender<Arc<Batch>>>) {
    let mut received = Vec::new();
    while tail.recv_many(&mut received, Batch::MAX).await > 0 {
        let Some(shared) = shared.upgrade() else { break };
        let batch = Arc::new(Batch::new(received.drain(..).collect()));
        // Before it is offered: a session that has fallen behind looks there at once.
        shared.tail_cache.push(batch.entries());
        for shard in &shards {
            _ = shard.send(batch.clone()).await;
        }
    }
    debug!("the fan-out has ended");
}

/// Offers batches to the sessions of a shard. Tells how far it is.
async fn serve(
    shared: Weak<HubShared>,
    shard: Arc<Shard>,
    mut batches: mpsc::Receiver<Arc<Batch>>,
    position: watch::Sender<Cursor>,
) {
    let mut fan_out = FanOut { shard, cache: MatchCache::new(MATCHED_TOPICS), scratch: Scratch::default() };
    while let Some(batch) = batches.recv().await {
        let Some(elapsed) = shared.upgrade().map(|shared| shared.elapsed()) else { break };
        fan_out.select(&batch);
        let last = batch.entries().last().map(|entry| entry.cursor);
        let mut offer = Offer::new(batch, elapsed);
        for (n, Selected { mailbox, selection, .. }) in fan_out.scratch.selected.drain(..).enumerate() {
            mailbox.offer(&mut offer, selection);
            if (n + 1).is_multiple_of(OFFERS) {
                yield_now().await;
            }
        }
        if let Some(last) = last {
            position.send_replace(last);
        }
    }
}

struct FanOut {
    shard: Arc<Shard>,
    cache: MatchCache,
    scratch: Scratch,
}

impl FanOut {
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
