//! Who hears what: the hub takes updates into the log and tells the subscribers whose matchers hit.
//!
//! A publish goes into the log. What has become durable comes back through the log's tail: the hub puts
//! it into the recent part it keeps in memory and wakes exactly the subscriptions that want it. A
//! subscription then reads on from its own cursor, from the recent part or, where it has fallen out of
//! it, from the log. Nothing is queued for a subscriber, however slow it is.

mod matcher;
mod recent;
mod registry;
mod subscription;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Weak};

use tracing::debug;

pub use matcher::Matchers;
pub use subscription::{Delivery, Start, Subscription};

use super::log::{AppendError, Entry, Log, Tail, Update};
use recent::Recent;
use registry::Registry;

/// How many bytes of frames a subscriber that is behind holds in memory, unless told otherwise.
pub const DEFAULT_READER_BUFFER: usize = 64 * 1024;

/// How many entries the fan-out takes from the tail at once.
const FAN_OUT_BATCH: usize = 256;

/// Decides who hears what. Cheap to clone.
#[derive(Clone)]
pub struct Hub {
    shared: Arc<Shared>,
}

struct Shared {
    log: Arc<dyn Log>,
    recent: Recent,
    registry: Registry,
    reader_buffer: usize,
}

impl Hub {
    /// Opens a hub on a log and starts its fan-out, which ends when the hub and its subscriptions are gone.
    /// A subscriber that is behind holds up to `reader_buffer` bytes of frames in memory, or one frame.
    ///
    /// Call it within a tokio runtime.
    pub fn open(log: Arc<dyn Log>, tail: Tail, reader_buffer: usize) -> Self {
        let recent = Recent::after(log.bounds().newest);
        let shared = Arc::new(Shared { log, recent, registry: Registry::default(), reader_buffer });
        tokio::spawn(fan_out(Arc::downgrade(&shared), tail));
        Self { shared }
    }

    /// Publishes an update: answers when it is durable. Its subscribers hear it then, not before.
    pub async fn publish(&self, update: Update) -> Result<Arc<Entry>, AppendError> {
        self.shared.log.append(update).await
    }

    /// Subscribes to what the matchers want.
    ///
    /// Everything that is acknowledged after this call is delivered; what was acknowledged before it is
    /// delivered as `start` says.
    pub fn subscribe(&self, matchers: impl Into<Arc<Matchers>>, start: Start) -> Subscription {
        Subscription::open(self.shared.clone(), matchers.into(), start)
    }

    /// The log, to read from.
    pub fn log(&self) -> &dyn Log {
        &*self.shared.log
    }
}

async fn fan_out(shared: Weak<Shared>, mut tail: Tail) {
    let mut batch = Vec::new();
    while tail.recv_many(&mut batch, FAN_OUT_BATCH).await > 0 {
        let Some(shared) = shared.upgrade() else { break };
        for entry in batch.drain(..) {
            // A woken subscription looks into the recent part at once, so the entry must be there first.
            shared.recent.push(entry.clone());
            shared.registry.wake(&entry);
        }
    }
    debug!("the fan-out has ended");
}
