//! Who hears what: the hub takes updates into the log and tells the subscribers whose matchers hit.
//!
//! A publish goes into the log. What has become durable comes back through the log's tail: the hub puts
//! it into the recent part it keeps in memory and wakes exactly the subscriptions that want it. A
//! subscription then reads on from its own cursor, from the recent part or, where it has fallen out of
//! it, from the log. Nothing is queued for a subscriber, however slow it is.

#[cfg(test)]
mod hostile;
mod linear_regex;
mod matcher;
mod pattern;
pub mod presence;
mod recent;
mod registry;
mod rights;
mod subscription;
#[cfg(test)]
mod tests;
mod uri_template;

use std::sync::{Arc, Weak};

use tracing::debug;
use url::Url;

pub use matcher::{EVERYTHING, MatchType, Matcher, MatcherError, Matchers};
pub use pattern::{Candidate, Pattern, PatternError, Patterns};
use presence::Presence;
pub use rights::{Grant, Rights};
pub use subscription::{Delivery, Start, Subscription};

use super::log::{AppendError, Appended, Entry, IdempotencyKey, Log, ReadError, Tail, Topic, TopicFilter, Update};
use recent::Recent;
use registry::Registry;

/// How many bytes of frames a subscriber that is behind holds in memory, unless told otherwise.
pub const DEFAULT_READER_BUFFER: usize = 64 * 1024;

/// The hub's URL, unless told otherwise.
const DEFAULT_URL: &str = "http://127.0.0.1:3000/.well-known/mercure";

/// How many entries the fan-out takes from the tail at once.
const FAN_OUT_BATCH: usize = 256;

/// What a hub is told when it is opened.
#[derive(Clone, Debug)]
pub struct HubOptions {
    /// How many bytes of frames a subscriber that is behind holds in memory; one frame at least.
    pub reader_buffer: usize,
    /// The hub's public URL: relative topics and patterns are seen from it.
    pub url: Url,
}

impl Default for HubOptions {
    fn default() -> Self {
        let url = Url::parse(DEFAULT_URL).expect("a URL");
        Self { reader_buffer: DEFAULT_READER_BUFFER, url }
    }
}

/// Decides who hears what. Cheap to clone.
#[derive(Clone)]
pub struct Hub {
    shared: Arc<Shared>,
}

struct Shared {
    log: Arc<dyn Log>,
    recent: Recent,
    registry: Registry,
    patterns: Arc<Patterns>,
    presence: Presence,
    options: HubOptions,
}

impl Hub {
    /// Opens a hub on a log and starts its fan-out, which ends when the hub and its subscriptions are gone.
    ///
    /// Call it within a tokio runtime.
    pub fn open(log: Arc<dyn Log>, tail: Tail, options: HubOptions) -> Self {
        let recent = Recent::after(log.bounds().newest);
        let patterns = Arc::new(Patterns::new(options.url.clone()));
        let presence = Presence::new(&log, options.url.path());
        let shared = Arc::new(Shared { log, recent, registry: Registry::default(), patterns, presence, options });
        tokio::spawn(fan_out(Arc::downgrade(&shared), tail));
        Self { shared }
    }

    /// The URL patterns in use: matchers are read with them.
    pub fn patterns(&self) -> &Arc<Patterns> {
        &self.shared.patterns
    }

    /// Which subscriptions are open, of those that are told of.
    pub fn presence(&self) -> &Presence {
        &self.shared.presence
    }

    /// Publishes updates one after the other, all or none, and once with one key: answers when they are durable.
    pub async fn publish_all(
        &self,
        updates: Vec<Update>,
        key: Option<IdempotencyKey>,
    ) -> Result<Appended, AppendError> {
        self.shared.log.append(updates, key).await
    }

    /// The hub's public URL.
    pub fn url(&self) -> &Url {
        &self.shared.options.url
    }

    /// Publishes an update: answers when it is durable. Its subscribers hear it then, not before.
    pub async fn publish(&self, update: Update) -> Result<Arc<Entry>, AppendError> {
        let mut entries = self.shared.log.append(vec![update], None).await?.into_entries();
        entries.pop().ok_or_else(|| AppendError::Failed("it lost an update".into()))
    }

    /// Subscribes to what the matchers want.
    ///
    /// Everything that is acknowledged after this call is delivered; what was acknowledged before it is
    /// delivered as `start` says.
    pub fn subscribe(&self, matchers: impl Into<Arc<Matchers>>, start: Start) -> Subscription {
        Subscription::open(self.shared.clone(), matchers.into(), start)
    }

    /// The newest update that is kept, whoever may read it.
    pub async fn newest(&self) -> Result<Option<Arc<Entry>>, ReadError> {
        Ok(self.log().read_before(None, &Everything, 1).await?.pop())
    }

    /// The log, to read from.
    pub fn log(&self) -> &dyn Log {
        &*self.shared.log
    }
}

/// Wants every topic.
struct Everything;

impl TopicFilter for Everything {
    fn wants(&self, _: &str) -> bool {
        true
    }

    fn exact(&self) -> Option<&[Topic]> {
        None
    }
}

async fn fan_out(shared: Weak<Shared>, mut tail: Tail) {
    let mut batch = Vec::new();
    while tail.recv_many(&mut batch, FAN_OUT_BATCH).await > 0 {
        let Some(shared) = shared.upgrade() else { break };
        for entry in batch.drain(..) {
            // A woken subscription looks into the recent part at once, so the entry must be there first.
            shared.recent.push(entry.clone());
            shared.registry.wake(&entry, &shared.patterns);
        }
    }
    debug!("the fan-out has ended");
}
