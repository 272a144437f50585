//! Keys that are fetched: when they are fetched first, refreshed and given up.
//!
//! Nobody waits as long as the keys are fresh: they are refreshed in the background when four fifths of that time are
//! over. Once it is over, whoever needs them waits for one fetch that all share. If it fails the old ones serve on, for
//! a day at most.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::fetch::{Fetch, Fetched};
use super::issuer::KeySet;

/// How long keys serve after they were fetched, if no newer ones can be.
const MOST_STALE: Duration = Duration::from_secs(24 * 3600);
/// How long after a failure nothing is tried.
const RETRY_AFTER: Duration = Duration::from_secs(10);
/// How often a token that names an unknown key may cause a fetch.
const UNKNOWN_KEY_EVERY: Duration = Duration::from_secs(60);

/// The keys at one address.
pub(super) struct Remote {
    /// How the log names it.
    name: String,
    source: Box<dyn Fetch>,
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
    fresh: Duration,
}

impl Held {
    fn age(&self) -> Duration {
        self.fetched.elapsed()
    }
}

impl Remote {
    pub(super) fn new(name: String, source: Box<dyn Fetch>) -> Arc<Self> {
        Arc::new(Self { name, source, state: Mutex::default() })
    }

    /// The keys; `None` if there are none and none can be fetched.
    pub(super) async fn keys(self: &Arc<Self>) -> Option<Arc<KeySet>> {
        let fetch = {
            let mut state = self.state();
            let may_try = state.failed.is_none_or(|failed| failed.elapsed() >= RETRY_AFTER);
            match &state.held {
                Some(held) if held.age() < held.fresh => {
                    let keys = held.keys.clone();
                    if may_try && held.age() >= held.fresh * 4 / 5 {
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
        self.state().held.as_ref().filter(|held| held.age() < MOST_STALE).map(|held| held.keys.clone())
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
            let mut state = this.state();
            match fetched {
                Ok(Fetched { keys, fresh }) => {
                    debug!(url = this.name, keys = keys.len(), "fetched keys");
                    state.held = Some(Held { keys: KeySet::new(keys), fetched: Instant::now(), fresh });
                    state.failed = None;
                }
                Err(error) => {
                    let has_keys = state.held.as_ref().is_some_and(|held| held.age() < MOST_STALE);
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
