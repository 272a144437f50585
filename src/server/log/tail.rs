//! The log's tail: new entries, in order, for the one who follows the log.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::Entry;

/// How many appends may wait for the reader of the tail before further ones wait for it.
const CAPACITY: usize = 1024;

/// Entries that were appended together.
type Batch = Arc<[Arc<Entry>]>;

/// New entries in order, each after it is durable, whichever node published them. A log gives it when it is opened, to
/// its one reader, the hub. A reader that doesn't keep up holds appends back.
pub struct Tail {
    batches: mpsc::Receiver<Batch>,
    /// What has been taken from the channel and not been asked for yet.
    rest: VecDeque<Arc<Entry>>,
}

/// The other end of a [`Tail`].
#[derive(Clone)]
pub(super) struct TailSender(mpsc::Sender<Batch>);

/// The right to send one batch without waiting.
pub(super) struct TailPermit<'a>(mpsc::Permit<'a, Batch>);

/// A tail and its sender.
pub(super) fn tail() -> (TailSender, Tail) {
    let (sender, batches) = mpsc::channel(CAPACITY);
    (TailSender(sender), Tail { batches, rest: VecDeque::new() })
}

impl Tail {
    /// The next entry; `None` once the log is closed and everything has been taken.
    pub async fn recv(&mut self) -> Option<Arc<Entry>> {
        while self.rest.is_empty() {
            self.rest.extend(self.batches.recv().await?.iter().cloned());
        }
        self.rest.pop_front()
    }

    /// Waits for entries and adds those that are there to `entries`, at most `limit`. Answers how many: 0 once the log
    /// is closed and everything has been taken.
    pub async fn recv_many(&mut self, entries: &mut Vec<Arc<Entry>>, limit: usize) -> usize {
        while self.rest.is_empty() {
            let Some(batch) = self.batches.recv().await else { return 0 };
            self.rest.extend(batch.iter().cloned());
        }
        while self.rest.len() < limit
            && let Ok(batch) = self.batches.try_recv()
        {
            self.rest.extend(batch.iter().cloned());
        }
        let count = self.rest.len().min(limit);
        entries.extend(self.rest.drain(..count));
        count
    }
}

impl TailSender {
    /// Waits until a batch can be sent; `None` if nobody reads the tail.
    pub(super) async fn reserve(&self) -> Option<TailPermit<'_>> {
        self.0.reserve().await.ok().map(TailPermit)
    }
}

impl TailPermit<'_> {
    pub(super) fn send(self, entries: &[Arc<Entry>]) {
        self.0.send(entries.into());
    }
}
