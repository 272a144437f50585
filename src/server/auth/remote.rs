//! Keys that are fetched: when they are fetched first, refreshed and given up.
//!
//! Nobody waits as long as the keys are fresh: they are refreshed in the background when four fifths of that time are
//! over. Once it is over, whoever needs them waits for one fetch that all share. If it fails the old ones serve on, for
//! a day at most.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::fetch::{Fetch, Fetched};
use super::key_set::KeySet;
use crate::server::log::Clock;

/// How long keys serve after they were fetched, if no newer ones can be.
const MOST_STALE: Duration = Duration::from_secs(24 * 3600);
/// How long after a failure nothing is tried.
pub const KEYS_RETRY_AFTER: Duration = Duration::from_secs(10);
/// How often a token that names an unknown key may cause a fetch.
const UNKNOWN_KEY_EVERY: Duration = Duration::from_secs(60);

/// The keys at one address.
pub(super) struct Remote {
    /// How the log names it.
    name: String,
    source: Box<dyn Fetch>,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    failed: Option<Instant>,
    unknown_key: Option<Instant>,
    /// Closed when the fetch that is under way has ended.
    under_way: Option<watch::Receiver<()>>,
}

struct Held {
    keys: Arc<KeySet>,
    fetched: Instant,
    fetched_at: DateTime<Utc>,
    fresh: Duration,
}

impl Held {
    /// The age of the keys. While the machine sleeps only the wall clock goes on; when the wall clock is set back only
    /// the other does.
    fn age(&self, now: DateTime<Utc>) -> Duration {
        let by_wall_clock = (now - self.fetched_at).to_std().unwrap_or_default();
        self.fetched.elapsed().max(by_wall_clock)
    }
}

impl Remote {
    pub(super) fn new(name: String, source: Box<dyn Fetch>, clock: Clock) -> Arc<Self> {
        Arc::new(Self { name, source, clock, state: Mutex::default() })
    }

    /// The keys; `None` if there are none and none can be fetched.
    pub(super) async fn keys(self: &Arc<Self>) -> Option<Arc<KeySet>> {
        let now = (self.clock)();
        let fetch = {
            let mut state = self.state();
            let may_try = state.failed.is_none_or(|failed| failed.elapsed() >= KEYS_RETRY_AFTER);
            match &state.held {
                Some(held) if held.age(now) < held.fresh => {
                    let keys = held.keys.clone();
                    if may_try && held.age(now) >= held.fresh * 4 / 5 {
                        self.fetch(&mut state);
                    }
                    return Some(keys);
                }
                _ if may_try => Some(self.fetch(&mut state)),
                _ => None,
            }
        };
        if let Some(fetch) = fetch {
            ended(fetch).await;
        }
        let now = (self.clock)();
        self.state().held.as_ref().filter(|held| held.age(now) < MOST_STALE).map(|held| held.keys.clone())
    }

    /// The keys after another fetch, for a token that names one which is unknown; `None` if it is too soon for that,
    /// or it failed.
    pub(super) async fn refetched(self: &Arc<Self>) -> Option<Arc<KeySet>> {
        let fetch = {
            let mut state = self.state();
            if state.unknown_key.is_some_and(|last| last.elapsed() < UNKNOWN_KEY_EVERY) {
                return None;
            }
            state.unknown_key = Some(Instant::now());
            self.fetch(&mut state)
        };
        ended(fetch).await;
        let state = self.state();
        state.held.as_ref().filter(|_| state.failed.is_none()).map(|held| held.keys.clone())
    }

    /// Whether the last fetch failed.
    pub(super) fn is_failing(&self) -> bool {
        self.state().failed.is_some()
    }

    /// Fetches in a task of its own, which goes on if nobody waits any more; or joins the one that is under way.
    fn fetch(self: &Arc<Self>, state: &mut State) -> watch::Receiver<()> {
        if let Some(under_way) = state.under_way.as_ref().filter(|fetch| fetch.has_changed().is_ok()) {
            return under_way.clone();
        }
        let (end, under_way) = watch::channel(());
        state.under_way = Some(under_way.clone());
        let this = self.clone();
        tokio::spawn(async move {
            let fetched = this.source.fetch().await;
            let now = (this.clock)();
            let mut state = this.state();
            match fetched {
                Ok(Fetched { keys, fresh }) => {
                    debug!(url = this.name, keys = keys.len(), "fetched keys");
                    let keys = KeySet::new(keys);
                    state.held = Some(Held { keys, fetched: Instant::now(), fetched_at: now, fresh });
                    state.failed = None;
                }
                Err(error) => {
                    let has_keys = state.held.as_ref().is_some_and(|held| held.age(now) < MOST_STALE);
                    let consequence = if has_keys { "the old ones serve on" } else { "its tokens are refused" };
                    warn!(url = this.name, %error, "an issuer's keys could not be fetched: {consequence}");
                    state.failed = Some(Instant::now());
                }
            }
            // Who waits looks into the state next.
            drop(state);
            drop(end);
        });
        under_way
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn ended(mut fetch: watch::Receiver<()>) {
    // Nothing is ever sent: this is ready when the sender is gone.
    let _ = fetch.changed().await;
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

    use async_trait::async_trait;
    use chrono::TimeDelta;
    use tokio::sync::Semaphore;
    use tokio::task::yield_now;
    use tokio::time::advance;

    use super::super::fetch::FetchError;
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// Answers when it is let, with keys that are fresh for an hour, or fails.
    struct Source {
        clock_ahead: AtomicI64,
        fetches: AtomicUsize,
        fails: std::sync::atomic::AtomicBool,
        gate: Semaphore,
    }

    struct Door(Arc<Source>);

    #[async_trait]
    impl Fetch for Door {
        async fn fetch(&self) -> Result<Fetched, FetchError> {
            self.0.fetches.fetch_add(1, Ordering::Relaxed);
            let _permit = self.0.gate.acquire().await.expect("a gate");
            match self.0.fails.load(Ordering::Relaxed) {
                true => Err(FetchError::TooLarge),
                false => Ok(Fetched { keys: Vec::new(), fresh: HOUR }),
            }
        }
    }

    impl Source {
        fn new() -> (Arc<Self>, Arc<Remote>) {
            let gate = Semaphore::new(1);
            let source = Arc::new(Self {
                clock_ahead: AtomicI64::new(0),
                fetches: AtomicUsize::new(0),
                fails: false.into(),
                gate,
            });
            let clock = {
                let source = source.clone();
                move || Utc::now() + TimeDelta::hours(source.clock_ahead.load(Ordering::Relaxed))
            };
            let remote =
                Remote::new("https://keys.example/jwks".into(), Box::new(Door(source.clone())), Arc::new(clock));
            (source, remote)
        }

        fn fails(&self, fails: bool) {
            self.fails.store(fails, Ordering::Relaxed);
        }

        /// How often it was asked, when all that can run has run.
        async fn fetches(&self) -> usize {
            for _ in 0..10 {
                yield_now().await;
            }
            self.fetches.load(Ordering::Relaxed)
        }
    }

    async fn number(remote: &Arc<Remote>) -> Option<u64> {
        remote.keys().await.map(|keys| keys.number())
    }

    #[tokio::test(start_paused = true)]
    async fn keys_are_fetched_when_they_are_first_needed_once_for_all_who_need_them() {
        let (source, remote) = Source::new();
        assert_eq!(source.fetches().await, 0);
        let gate = source.gate.acquire().await.expect("a gate");
        let waiting: Vec<_> = (0..20)
            .map(|_| {
                let remote = remote.clone();
                tokio::spawn(async move { number(&remote).await })
            })
            .collect();
        assert_eq!(source.fetches().await, 1);
        // Who gives up does not take the others' keys with them.
        waiting[0].abort();
        drop(gate);
        let mut numbers = Vec::new();
        for waits in waiting.into_iter().skip(1) {
            numbers.push(waits.await.expect("no panic").expect("keys"));
        }
        numbers.dedup();
        assert_eq!((numbers.len(), source.fetches().await), (1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn they_are_refreshed_in_the_background_before_they_are_stale() {
        let (source, remote) = Source::new();
        let first = number(&remote).await;
        advance(HOUR * 4 / 5 - Duration::from_millis(1)).await;
        assert_eq!((number(&remote).await, source.fetches().await), (first, 1));
        advance(Duration::from_millis(1)).await;
        let gate = source.gate.acquire().await.expect("a gate");
        for _ in 0..3 {
            assert_eq!(number(&remote).await, first, "nobody waits");
        }
        assert_eq!(source.fetches().await, 2);
        drop(gate);
        source.fetches().await;
        assert_ne!(number(&remote).await, first);
        assert_eq!(source.fetches().await, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_when_they_are_stale_waits_for_new_ones() {
        let (_, remote) = Source::new();
        let first = number(&remote).await;
        advance(HOUR).await;
        assert_ne!(number(&remote).await, first);
    }

    #[tokio::test(start_paused = true)]
    async fn if_they_cant_be_refreshed_the_old_ones_serve_on_for_a_day() {
        let (source, remote) = Source::new();
        let first = number(&remote).await.expect("keys");
        source.fails(true);
        for _ in 0..23 {
            advance(HOUR).await;
            assert_eq!(number(&remote).await, Some(first));
        }
        assert_eq!(source.fetches().await, 24);
        advance(HOUR).await;
        assert_eq!(number(&remote).await, None);
        source.fails(false);
        advance(KEYS_RETRY_AFTER).await;
        assert!(number(&remote).await.is_some_and(|second| second != first));
    }

    #[tokio::test(start_paused = true)]
    async fn keys_grow_old_while_the_machine_sleeps_and_no_younger_when_its_clock_is_set_back() {
        let (source, remote) = Source::new();
        let first = number(&remote).await.expect("keys");
        source.clock_ahead.store(2, Ordering::Relaxed);
        let second = number(&remote).await.expect("keys");
        assert_ne!(second, first);
        source.clock_ahead.store(-48, Ordering::Relaxed);
        assert_eq!(number(&remote).await, Some(second));
        advance(HOUR).await;
        assert_ne!(number(&remote).await, Some(second));
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_failure_it_is_left_in_peace_for_a_moment() {
        let (source, remote) = Source::new();
        source.fails(true);
        for _ in 0..5 {
            assert_eq!(number(&remote).await, None);
        }
        assert_eq!(source.fetches().await, 1);
        advance(KEYS_RETRY_AFTER).await;
        source.fails(false);
        assert!(number(&remote).await.is_some());
        assert_eq!(source.fetches().await, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_key_causes_one_fetch_a_minute() {
        let (source, remote) = Source::new();
        let first = number(&remote).await;
        let second = remote.refetched().await.map(|keys| keys.number());
        assert!(second.is_some() && second != first);
        assert_eq!(number(&remote).await, second);
        assert!(remote.refetched().await.is_none());
        advance(UNKNOWN_KEY_EVERY - Duration::from_millis(1)).await;
        assert!(remote.refetched().await.is_none());
        advance(Duration::from_millis(1)).await;
        source.fails(true);
        assert!(remote.refetched().await.is_none());
        assert_eq!(number(&remote).await, second, "the old ones serve on");
        assert_eq!(source.fetches().await, 3);
    }
}
