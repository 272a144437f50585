//! Who hears what: the hub takes updates into the log and offers them to the sessions whose matchers match.
//!
//! A publish goes into the log. What has become durable comes back through the log's tail. The fan-out puts it into the
//! tail cache, decides for each session once what it wants and may have, and offers that to the session's mailbox. A
//! session without a task of its own is written to at once; one that has not taken its last offer yet falls behind: it
//! reads on from its own cursor, out of the tail cache or, where that no longer reaches back, out of the log. Nothing is
//! queued for a session, however slow it is.

mod batch;
mod fan_out;
#[cfg(test)]
mod hostile;
mod linear_regex;
mod mailbox;
mod match_cache;
mod matcher;
mod outlet;
mod pattern;
pub mod presence;
mod rights;
mod session;
mod sessions;
mod subscription;
mod tail_cache;
#[cfg(test)]
mod tests;
mod traced;
mod uri_template;
mod wanted;
mod watchdog;
mod weak_map;

use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use rand::Rng;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use url::Url;

pub use batch::{Chunk, chunk};
pub use mailbox::{EndReason, Mailbox, Signal};
pub use matcher::{EVERYTHING, MatchType, Matcher, MatcherError, Matchers};
pub use outlet::{Outlet, Written};
pub use pattern::{Candidate, Pattern, PatternError, Patterns};
use presence::{ActiveSubscription, InstanceId, Presence, PresenceMessage, RemotePresence, lease};
pub use rights::{Grant, Rights};
pub use session::{Session, SessionOptions};
pub use sessions::{AtLimit, ClientKey, Holder, RevocationTarget, SubscriptionList};
pub use subscription::{Delivery, Start, Subscription};
pub use tail_cache::TailCacheSize;
pub use wanted::Wanted;

use super::log::{
    AppendError, Appended, Clock, Cursor, Entry, Everything, IdempotencyKey, Log, ReadError, Tail, Update,
};
use super::metrics::{self, UPDATES};
use super::traces::{PublishOutcome, PublishSpan, Traces};
use sessions::{NewSession, Sessions, Shard};
use tail_cache::TailCache;
use traced::TracedUpdates;
use wanted::AllWanted;
use watchdog::Watchdog;

/// Bytes of entries that a session which is behind holds in memory, unless told otherwise.
pub const DEFAULT_READER_BUFFER: usize = 64 * 1024;

/// The hub's URL, unless told otherwise.
const DEFAULT_URL: &str = "http://127.0.0.1:3000/.well-known/mercure";

/// Silence after which a stream sends a comment, unless told otherwise.
const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(15);

/// Longest time between two looks at heartbeats, lifetimes and the wall clock: they are late by this at most.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// A lifetime is shortened by up to this part of it, so that sessions that began together don't end together.
const LIFETIME_SPREAD: f64 = 0.2;

/// What a hub is opened with.
#[derive(Clone)]
pub struct HubOptions {
    /// The hub's public URL: relative topics and patterns are resolved against it.
    pub url: Url,
    /// Bytes of entries that a session which is behind holds in memory; one entry always fits.
    pub reader_buffer: usize,
    /// How much of the log's tail is held in memory for all sessions.
    pub tail_cache: TailCacheSize,
    /// Silence after which a stream sends a comment.
    pub heartbeat: Duration,
    /// Over how many tasks the fan-out is spread, and with it the sessions.
    pub shards: usize,
    /// Whether subscriptions are listed, and told of when they begin and end.
    pub presence: bool,
    /// The wall clock, which tokens expire by.
    pub clock: Clock,
    /// Where deliveries of traced updates are exported to.
    pub traces: Traces,
}

impl Default for HubOptions {
    fn default() -> Self {
        Self {
            url: Url::parse(DEFAULT_URL).expect("a URL"),
            reader_buffer: DEFAULT_READER_BUFFER,
            tail_cache: TailCacheSize::default(),
            heartbeat: DEFAULT_HEARTBEAT,
            shards: default_shards(),
            presence: true,
            clock: Arc::new(chrono::Utc::now),
            traces: Traces::default(),
        }
    }
}

/// As many shards as there are cores.
pub fn default_shards() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// Decides who hears what. Cheap to clone.
#[derive(Clone)]
pub struct Hub {
    shared: Arc<HubShared>,
}

/// A weak reference to a hub.
#[derive(Clone)]
pub struct WeakHub(Weak<HubShared>);

impl WeakHub {
    /// The hub, unless it is gone.
    pub fn upgrade(&self) -> Option<Hub> {
        self.0.upgrade().map(|shared| Hub { shared })
    }
}

struct HubShared {
    log: Arc<dyn Log>,
    tail_cache: TailCache,
    sessions: Sessions,
    patterns: Arc<Patterns>,
    presence: Presence,
    /// Identifies this process among the nodes of a cluster.
    instance: InstanceId,
    /// Presence at the other nodes; `None` outside a cluster.
    remote_presence: Option<RemotePresence>,
    wanted: AllWanted,
    traced: TracedUpdates,
    /// The newest update that a publisher was told of.
    acknowledged: AtomicU64,
    /// The newest entry that each shard has offered to all its sessions that want it.
    fanned_out: Vec<watch::Receiver<Cursor>>,
    /// As the last sweep has found it.
    behind: Mutex<Behind>,
    options: HubOptions,
    opened: Instant,
}

/// The sessions that have not been sent everything that is there for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Behind {
    /// How many there are.
    pub sessions: usize,
    /// How many updates the one that is furthest behind has not looked at.
    pub updates: u64,
}

impl Hub {
    /// Opens a hub on a log and starts its fan-out, which ends when the hub and its sessions are gone.
    ///
    /// Call it within a tokio runtime.
    pub fn open(log: Arc<dyn Log>, tail: Tail, options: HubOptions) -> Self {
        let newest = log.bounds().newest;
        let presence = Presence::new(&log, options.url.path());
        let instance = InstanceId::random();
        let remote_presence = log.stream().filter(|_| options.presence).map(|_| RemotePresence::new(instance));
        let sessions = Sessions::new(options.shards, presence.root(), newest);
        let (positions, fanned_out) = sessions.shards().iter().map(|_| watch::channel(newest)).unzip();
        let shared = Arc::new(HubShared {
            tail_cache: TailCache::new(newest, options.tail_cache),
            sessions,
            patterns: Arc::new(Patterns::new(options.url.clone())),
            presence,
            instance,
            remote_presence,
            wanted: AllWanted::default(),
            traced: TracedUpdates::default(),
            acknowledged: AtomicU64::new(newest.0),
            fanned_out,
            behind: Mutex::default(),
            log,
            options,
            opened: Instant::now(),
        });
        fan_out::start(&shared, tail, positions);
        if shared.remote_presence.is_some() {
            tokio::spawn(lease::run(Arc::downgrade(&shared)));
        }
        tokio::spawn(sweep(Arc::downgrade(&shared), shared.options.heartbeat));
        for shard in shared.sessions.shards() {
            tokio::spawn(expire(Arc::downgrade(&shared), Arc::downgrade(shard), shared.options.clock.clone()));
        }
        Self { shared }
    }

    /// A weak reference to the hub, which does not keep the log open.
    pub fn downgrade(&self) -> WeakHub {
        WeakHub(Arc::downgrade(&self.shared))
    }

    /// Compiles the patterns of matchers and of tokens.
    pub fn patterns(&self) -> &Arc<Patterns> {
        &self.shared.patterns
    }

    /// How open subscriptions are told of.
    pub fn presence(&self) -> &Presence {
        &self.shared.presence
    }

    /// Publishes updates one after the other, all or none, and once with one key: answers when they are durable.
    pub async fn publish_all(
        &self,
        updates: Vec<Update>,
        key: Option<IdempotencyKey>,
    ) -> Result<Appended, AppendError> {
        let count = updates.len() as u64;
        let appended = self.shared.log.append(updates, key).await.inspect_err(|_| UPDATES.failed.increment(count))?;
        match &appended {
            Appended::New(_) => UPDATES.published.increment(count),
            Appended::Repeated(_) => UPDATES.repeated.increment(count),
        }
        if let Appended::New(entries) = &appended
            && let Some(last) = entries.last()
        {
            self.shared.acknowledged.fetch_max(last.cursor.0, Ordering::Relaxed);
        }
        Ok(appended)
    }

    /// The same, within the span of a request. If it is traced, so is what its updates' deliveries are.
    pub async fn publish_traced(
        &self,
        updates: Vec<Update>,
        key: Option<IdempotencyKey>,
        span: &mut PublishSpan,
    ) -> Result<Appended, AppendError> {
        let Some(context) = span.context() else { return self.publish_all(updates, key).await };
        span.updates(updates.iter().map(|update| (&*update.topics, update.data.len())));
        let topics: Vec<_> = updates.iter().filter_map(|update| update.topics.first().cloned()).collect();
        self.shared.traced.expect(&topics, &context);
        let append = span.child("append");
        let appended = self.publish_all(updates, key).await;
        drop(append);
        match &appended {
            Ok(Appended::New(_)) => span.outcome(PublishOutcome::Published),
            Ok(Appended::Repeated(_)) => span.outcome(PublishOutcome::Repeated),
            Err(_) => {}
        }
        if !matches!(appended, Ok(Appended::New(_))) {
            self.shared.traced.forget(&topics);
        }
        appended
    }

    /// Where spans of requests are exported to.
    pub fn traces(&self) -> &Traces {
        &self.shared.options.traces
    }

    /// The hub's public URL.
    pub fn url(&self) -> &Url {
        &self.shared.options.url
    }

    /// Publishes an update: answers when it is durable. Its subscribers hear it then, not before.
    pub async fn publish(&self, update: Update) -> Result<Arc<Entry>, AppendError> {
        let mut entries = self.publish_all(vec![update], None).await?.into_entries();
        entries.pop().ok_or_else(|| AppendError::Failed("it lost an update".into()))
    }

    /// Opens a session for a stream that is not fed by the hub. It counts towards its client's limit, gets heartbeats
    /// and ends at a shutdown like all others.
    pub fn session(&self, options: SessionOptions) -> Result<Session, AtLimit> {
        let (session, _) = self.insert(options, &Arc::default(), None)?;
        Ok(session)
    }

    /// What somebody wants who asked for these matchers and has these rights: shared with all who want the same.
    pub fn wanted(&self, asked: &[Matcher], rights: &Arc<Rights>) -> Arc<Wanted> {
        let HubShared { presence, options, wanted, .. } = &*self.shared;
        wanted.of(asked, rights, presence.root(), Some(presence).filter(|_| options.presence))
    }

    /// Opens a session that hears what is wanted, as far as its rights allow. Presence tells of it while the [`Session`]
    /// lives.
    ///
    /// Every update that the log acknowledges after this call is delivered; what it acknowledged before is delivered as
    /// `start` says.
    pub fn open_session(
        &self,
        options: SessionOptions,
        wanted: Arc<Wanted>,
        start: Start,
    ) -> Result<(Session, Subscription), AtLimit> {
        let subscriber = self.shared.instance.subscriber();
        let mailbox = Arc::new(Mailbox::new(subscriber));
        let (session, position) = self.insert(options, &mailbox, Some(wanted.clone()))?;
        self.shared.presence.begun(wanted.targets(), subscriber);
        let matchers = wanted.matchers().clone();
        Ok((session, Subscription::new(self.shared.clone(), matchers, mailbox, start, position)))
    }

    /// Waits until every update that was acknowledged was fanned out. Without that, a session that begins with
    /// [`Start::Now`] may hear one that was acknowledged just before.
    pub async fn catch_up(&self) {
        self.shared.wait_for_fan_out(Cursor(self.shared.acknowledged.load(Ordering::Relaxed))).await;
    }

    /// Subscribes the server itself: no client's limit counts it, and presence does not tell of it.
    ///
    /// Every update that the log acknowledges after this call is delivered; what it acknowledged before is delivered as
    /// `start` says.
    pub fn subscribe(&self, matchers: impl Into<Arc<Matchers>>, start: Start) -> Subscription {
        let matchers = matchers.into();
        let mailbox = Arc::new(Mailbox::default());
        let wanted = Wanted::unlisted(matchers.clone());
        let inserted = self.insert(SessionOptions::default(), &mailbox, Some(wanted));
        let (session, position) = inserted.expect("a session without a client has no limit");
        Subscription::new(self.shared.clone(), matchers, mailbox, start, position).keeping(session)
    }

    fn insert(
        &self,
        options: SessionOptions,
        mailbox: &Arc<Mailbox>,
        wanted: Option<Arc<Wanted>>,
    ) -> Result<(Session, Cursor), AtLimit> {
        let lifetime = options.lifetime.map(|lifetime| {
            let shortened = rand::rng().random_range(0.0..LIFETIME_SPREAD);
            lifetime.mul_f64(1.0 - shortened)
        });
        let client_limit = options.client_limit;
        let session = NewSession {
            mailbox: mailbox.clone(),
            wanted,
            client: options.client,
            holder: options.holder,
            expires: options.expires,
            deadline: lifetime.and_then(|lifetime| Instant::now().checked_add(lifetime)),
        };
        let (place, position) = self.shared.sessions.insert(session, client_limit)?;
        Ok((Session::new(self.shared.clone(), place, mailbox.clone()), position))
    }

    /// Ends the sessions of a token, of a subject, or of those who hear a topic; answers how many.
    pub fn end_sessions(&self, target: RevocationTarget<'_>) -> usize {
        self.shared.sessions.end(target)
    }

    /// Ends every session, many of them spread over this time. Sessions that are opened from now on end at once.
    pub async fn drain(&self, time: Duration) {
        self.shared.sessions.drain(time).await;
    }

    /// Waits until every change of presence was published, and ends that: what comes after is not told of. Nothing but
    /// the hub and its sessions holds the log then.
    pub async fn close(&self) {
        self.shared.presence.close().await;
    }

    /// The open subscriptions whose topics lie below `topic`, after the topic `after`, at most `limit`.
    pub fn subscriptions(&self, topic: &str, after: Option<&str>, limit: usize) -> SubscriptionList {
        let here = self.shared.sessions.list(topic, after, limit);
        match &self.shared.remote_presence {
            Some(remote) => here.merge(remote.list(topic, after, limit), limit),
            None => here,
        }
    }

    /// The open subscription with this topic.
    pub fn subscription(&self, topic: &str) -> Option<ActiveSubscription> {
        let elsewhere = || self.shared.remote_presence.as_ref()?.subscription(topic);
        self.shared.sessions.subscription(topic).or_else(elsewhere)
    }

    /// Handles a presence message of a node of the cluster.
    pub fn handle_presence(&self, message: &PresenceMessage) {
        lease::handle(&self.shared, message);
    }

    /// The newest update that is kept, whoever may read it.
    pub async fn newest(&self) -> Result<Option<Arc<Entry>>, ReadError> {
        Ok(self.log().read_before(None, &Everything, 1).await?.pop())
    }

    /// The newest entry. The list of subscriptions that is read after this call includes every change up to that entry.
    pub async fn newest_listed(&self) -> Result<Option<Arc<Entry>>, ReadError> {
        let newest = self.newest().await?;
        // A change at this node is listed before its event is published, one at another when its event is fanned out.
        if let (Some(newest), Some(_)) = (&newest, &self.shared.remote_presence) {
            self.shared.wait_for_fan_out(newest.cursor).await;
        }
        Ok(newest)
    }

    /// The log, to read from.
    pub fn log(&self) -> &dyn Log {
        &*self.shared.log
    }

    /// The sessions that were behind some seconds ago at most.
    pub fn behind(&self) -> Behind {
        *self.shared.behind.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HubShared {
    /// Waits until everything up to this place has been fanned out.
    async fn wait_for_fan_out(&self, cursor: Cursor) {
        for fanned_out in &self.fanned_out {
            // It fails when the fan-out has ended: nothing will be heard then.
            _ = fanned_out.clone().wait_for(|position| *position >= cursor).await;
        }
    }

    /// Milliseconds since the hub was opened.
    fn elapsed(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Looks after heartbeats, lifetimes and the fan-out until the hub and its sessions are gone.
async fn sweep(shared: Weak<HubShared>, heartbeat: Duration) {
    let every = SWEEP_EVERY.min(heartbeat / 4).max(Duration::from_millis(1));
    let heartbeat = u64::try_from(heartbeat.as_millis()).unwrap_or(u64::MAX);
    let mut sweeps = interval(every);
    sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watchdog = Watchdog::new();
    loop {
        sweeps.tick().await;
        let Some(shared) = shared.upgrade() else { return };
        let elapsed = shared.elapsed();
        let lag = shared.sessions.sweep(Instant::now(), elapsed, elapsed.checked_sub(heartbeat)).await;
        let newest = shared.log.bounds().newest;
        let updates = lag.furthest.map_or(0, |furthest| shared.log.distance(furthest, newest));
        metrics::record("tidings_streams_behind", lag.sessions as f64);
        metrics::record("tidings_stream_lag_updates", updates as f64);
        *shared.behind.lock().unwrap_or_else(PoisonError::into_inner) = Behind { sessions: lag.sessions, updates };
        watchdog.look(&shared);
        shared.traced.expire();
        metrics::upkeep();
    }
}

/// Ends the sessions of expired tokens until the hub and its sessions are gone.
async fn expire(hub: Weak<HubShared>, shard: Weak<Shard>, clock: Clock) {
    while hub.strong_count() > 0
        && let Some(shard) = shard.upgrade()
    {
        shard.expire_for(SWEEP_EVERY, &clock).await;
    }
}
