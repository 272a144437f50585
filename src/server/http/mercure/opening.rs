//! How fast subscriptions may be opened, and patterns compiled.
//!
//! A subscription costs an event of presence, and a URL pattern that nobody has used yet costs its compilation and,
//! for each new topic, a comparison. Without limits a few clients that come and go would keep the server busy.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::DefaultClock;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::server::http::error::ApiError;
use crate::server::http::limits::{ClientLimit, cells, wait};
use crate::server::hub::{ClientKey, Patterns};

/// Subscriptions, one for each matcher, that one client may open in a second.
const SUBSCRIPTIONS: NonZeroU32 = NonZeroU32::new(1000).expect("not zero");
/// How many of them it may open at once: after a restart all clients of one address come back together.
const SUBSCRIPTIONS_BURST: NonZeroU32 = NonZeroU32::new(20_000).expect("not zero");

/// URL patterns that are compiled for one client in a second.
const CLIENT_PATTERNS: NonZeroU32 = NonZeroU32::new(200).expect("not zero");
const CLIENT_PATTERNS_BURST: NonZeroU32 = NonZeroU32::new(1000).expect("not zero");

/// URL patterns that are compiled for all clients in a second. Each takes some 0.2 ms.
const ALL_PATTERNS: NonZeroU32 = NonZeroU32::new(1000).expect("not zero");
const ALL_PATTERNS_BURST: NonZeroU32 = NonZeroU32::new(4000).expect("not zero");

/// Seconds after which there may be room for new patterns, where too many are in use.
const ROOM_RETRY_AFTER: Duration = Duration::from_secs(10);

/// Limits how fast subscriptions are opened.
pub(super) struct OpeningLimits {
    subscriptions: ClientLimit<ClientKey>,
    client_patterns: ClientLimit<ClientKey>,
    all_patterns: DefaultDirectRateLimiter,
    /// The requests whose patterns are compiled at a time.
    compiling: Semaphore,
    clock: DefaultClock,
}

impl OpeningLimits {
    pub(super) fn new() -> Self {
        Self {
            subscriptions: ClientLimit::new(SUBSCRIPTIONS, SUBSCRIPTIONS_BURST),
            client_patterns: ClientLimit::new(CLIENT_PATTERNS, CLIENT_PATTERNS_BURST),
            all_patterns: RateLimiter::direct(Quota::per_second(ALL_PATTERNS).allow_burst(ALL_PATTERNS_BURST)),
            compiling: Semaphore::new(1),
            clock: DefaultClock::default(),
        }
    }

    /// Counts subscriptions that a client is about to open.
    pub(super) fn check_subscriptions(&self, client: &ClientKey, count: usize) -> Result<(), ApiError> {
        self.subscriptions.check(client, count).map_err(ApiError::TooManySubscriptions)
    }

    /// Waits for one's turn to compile patterns: it must not take more than a core.
    pub(super) async fn compiling(&self) -> Option<SemaphorePermit<'_>> {
        self.compiling.acquire().await.ok()
    }

    /// Counts patterns that are about to be compiled for a client, beside those of others.
    pub(super) fn check_patterns(&self, client: &ClientKey, count: usize, others: &Patterns) -> Result<(), ApiError> {
        let Some(cells) = cells(count) else { return Ok(()) };
        self.client_patterns.check(client, count).map_err(ApiError::TooManySubscriptions)?;
        if let Ok(Err(until)) = self.all_patterns.check_n(cells) {
            return Err(ApiError::TooManyPatterns(wait(&until, &self.clock)));
        }
        if !others.has_room_for(count) {
            return Err(ApiError::TooManyPatterns(ROOM_RETRY_AFTER));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(last: u8) -> ClientKey {
        ClientKey::Network([127, 0, 0, last].into())
    }

    fn seconds_to_wait(refused: Result<(), ApiError>) -> u64 {
        match refused {
            Err(ApiError::TooManySubscriptions(after) | ApiError::TooManyPatterns(after)) => after.as_secs(),
            other => panic!("no refusal: {other:?}"),
        }
    }

    #[test]
    fn all_clients_of_one_address_may_come_back_at_once_but_not_open_a_hundred_subscriptions_each_for_ever() {
        let limits = OpeningLimits::new();
        for _ in 0..2000 {
            limits.check_subscriptions(&client(1), 1).expect("2,000 clients after a restart");
        }
        let refused = (0..10_000).map(|_| limits.check_subscriptions(&client(1), 100)).find(Result::is_err);
        assert!((1..=10).contains(&seconds_to_wait(refused.expect("a refusal"))));
        limits.check_subscriptions(&client(2), 100).expect("another client's");
    }

    #[test]
    fn new_patterns_of_one_client_and_of_all_together_are_bounded() {
        let limits = OpeningLimits::new();
        let patterns = Patterns::new("https://hub.example/".parse().expect("a URL"));
        let refused = (0..10_000).map(|_| limits.check_patterns(&client(1), 100, &patterns)).find(Result::is_err);
        assert!((1..=10).contains(&seconds_to_wait(refused.expect("a refusal"))));
        limits.check_patterns(&client(2), 100, &patterns).expect("another client's");
        limits.check_patterns(&client(1), 0, &patterns).expect("patterns that are in use cost nothing");
        let refused = (3..=u8::MAX).flat_map(|n| [n; 10]).map(|n| limits.check_patterns(&client(n), 100, &patterns));
        let refused = refused.into_iter().find(Result::is_err).expect("a refusal");
        assert!(matches!(refused, Err(ApiError::TooManyPatterns(_))), "{refused:?}");
    }
}
