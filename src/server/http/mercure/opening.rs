//! How fast subscriptions may be opened, and patterns compiled.
//!
//! A subscription costs an event of presence, and a URL pattern that nobody has used yet costs its compilation and,
//! for each new topic, a comparison. Without limits a few clients that come and go would keep the server busy.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, NotUntil, Quota, RateLimiter};

use crate::server::http::error::ApiError;
use crate::server::hub::ClientKey;

/// Subscriptions, one for each matcher, that one client may open in a second.
const SUBSCRIPTIONS: NonZeroU32 = NonZeroU32::new(1000).expect("not zero");
/// How many of them it may open at once: after a restart all clients of one address come back together.
const SUBSCRIPTIONS_BURST: NonZeroU32 = NonZeroU32::new(20_000).expect("not zero");

/// URL patterns that are compiled for one client in a second.
const CLIENT_PATTERNS: NonZeroU32 = NonZeroU32::new(200).expect("not zero");
const CLIENT_PATTERNS_BURST: NonZeroU32 = NonZeroU32::new(4000).expect("not zero");

/// URL patterns that are compiled for all clients in a second. Each takes some 0.2 ms.
const ALL_PATTERNS: NonZeroU32 = NonZeroU32::new(1000).expect("not zero");
const ALL_PATTERNS_BURST: NonZeroU32 = NonZeroU32::new(10_000).expect("not zero");

/// Clients that have been quiet for long enough are removed each time this many are known.
const CLEAN_UP_ABOVE: usize = 10_000;

/// Limits how fast subscriptions are opened.
pub(super) struct OpeningLimits {
    subscriptions: DefaultKeyedRateLimiter<ClientKey>,
    client_patterns: DefaultKeyedRateLimiter<ClientKey>,
    all_patterns: DefaultDirectRateLimiter,
    clock: DefaultClock,
}

impl OpeningLimits {
    pub(super) fn new() -> Self {
        let quota = |rate, burst| Quota::per_second(rate).allow_burst(burst);
        Self {
            subscriptions: RateLimiter::keyed(quota(SUBSCRIPTIONS, SUBSCRIPTIONS_BURST)),
            client_patterns: RateLimiter::keyed(quota(CLIENT_PATTERNS, CLIENT_PATTERNS_BURST)),
            all_patterns: RateLimiter::direct(quota(ALL_PATTERNS, ALL_PATTERNS_BURST)),
            clock: DefaultClock::default(),
        }
    }

    /// Counts subscriptions that a client is about to open.
    pub(super) fn check_subscriptions(&self, client: &ClientKey, count: usize) -> Result<(), ApiError> {
        self.check(&self.subscriptions, client, count).map_err(ApiError::TooManySubscriptions)
    }

    /// Counts patterns that are about to be compiled for a client.
    pub(super) fn check_patterns(&self, client: &ClientKey, count: usize) -> Result<(), ApiError> {
        let Some(cells) = cells(count) else { return Ok(()) };
        self.check(&self.client_patterns, client, count).map_err(ApiError::TooManySubscriptions)?;
        match self.all_patterns.check_n(cells) {
            Ok(Err(until)) => Err(ApiError::TooManyPatterns(self.wait(&until))),
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }

    fn check(
        &self,
        limiter: &DefaultKeyedRateLimiter<ClientKey>,
        client: &ClientKey,
        count: usize,
    ) -> Result<(), Duration> {
        let Some(cells) = cells(count) else { return Ok(()) };
        if limiter.len() > CLEAN_UP_ABOVE {
            limiter.retain_recent();
        }
        match limiter.check_key_n(client, cells) {
            Ok(Err(until)) => Err(self.wait(&until)),
            // More at once than can ever be allowed is refused before, as a request with too many matchers.
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }

    fn wait(&self, until: &NotUntil<<DefaultClock as Clock>::Instant>) -> Duration {
        until.wait_time_from(self.clock.now()).max(Duration::from_secs(1))
    }
}

fn cells(count: usize) -> Option<NonZeroU32> {
    NonZeroU32::new(u32::try_from(count).unwrap_or(u32::MAX))
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
        let refused = (0..10_000).map(|_| limits.check_patterns(&client(1), 100)).find(Result::is_err);
        assert!((1..=10).contains(&seconds_to_wait(refused.expect("a refusal"))));
        limits.check_patterns(&client(2), 100).expect("another client's");
        limits.check_patterns(&client(1), 0).expect("patterns that are in use cost nothing");
        let refused = (3..=u8::MAX).flat_map(|n| [n; 40]).map(|n| limits.check_patterns(&client(n), 100));
        let refused = refused.into_iter().find(Result::is_err).expect("a refusal");
        assert!(matches!(refused, Err(ApiError::TooManyPatterns(_))), "{refused:?}");
    }
}
