//! How fast subscriptions may be opened, and patterns compiled.
//!
//! A subscription costs an event of presence, and a URL pattern that nobody has used yet costs its compilation and,
//! for each new topic, a comparison. Without limits a few clients that come and go would keep the server busy.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::server::http::error::ApiError;
use crate::server::hub::{ClientKey, Patterns};
use crate::server::net::{ClientLimit, OverLimit, TotalLimit};
use crate::server::settings::LimitSettings;

/// How many seconds' worth of subscriptions a client may open at once: after a restart all clients of one address come back
/// together.
const SUBSCRIPTION_BURSTS: NonZeroU32 = NonZeroU32::new(20).expect("not zero");
const PATTERN_BURSTS: NonZeroU32 = NonZeroU32::new(5).expect("not zero");

/// As many patterns as this many clients may bring are compiled for all of them together.
const ALL_CLIENTS: NonZeroU32 = NonZeroU32::new(5).expect("not zero");
const ALL_PATTERNS_BURSTS: NonZeroU32 = NonZeroU32::new(4).expect("not zero");

/// Seconds after which there may be room for new patterns, where too many are in use.
const ROOM_RETRY_AFTER: Duration = Duration::from_secs(10);

/// Limits how fast subscriptions are opened.
pub(super) struct OpeningLimits {
    subscriptions: ClientLimit<ClientKey>,
    client_patterns: ClientLimit<ClientKey>,
    all_patterns: TotalLimit,
    /// The requests whose patterns are compiled at a time.
    compiling: Semaphore,
}

impl OpeningLimits {
    pub(super) fn new(limits: &LimitSettings) -> Self {
        let all_patterns = limits.pattern_rate.map(|rate| rate.saturating_mul(ALL_CLIENTS));
        Self {
            subscriptions: ClientLimit::new(limits.subscription_rate, SUBSCRIPTION_BURSTS),
            client_patterns: ClientLimit::new(limits.pattern_rate, PATTERN_BURSTS),
            all_patterns: TotalLimit::new(all_patterns, ALL_PATTERNS_BURSTS),
            compiling: Semaphore::new(1),
        }
    }

    /// Counts subscriptions that a client is about to open.
    pub(super) fn check_subscriptions(&self, client: &ClientKey, count: usize) -> Result<(), ApiError> {
        self.subscriptions.check(client, count).map_err(|over| too_many(over, "subscriptions", count))
    }

    /// Waits for one's turn to compile patterns: it must not take more than a core.
    pub(super) async fn compiling(&self) -> Option<SemaphorePermit<'_>> {
        self.compiling.acquire().await.ok()
    }

    /// Counts patterns that are about to be compiled for a client, beside those of others.
    pub(super) fn check_patterns(&self, client: &ClientKey, count: usize, others: &Patterns) -> Result<(), ApiError> {
        self.client_patterns.check(client, count).map_err(|over| too_many(over, "new patterns", count))?;
        self.all_patterns.check(count).map_err(ApiError::TooManyPatterns)?;
        if !others.has_room_for(count) {
            return Err(ApiError::TooManyPatterns(ROOM_RETRY_AFTER));
        }
        Ok(())
    }
}

fn too_many(over: OverLimit, what: &str, count: usize) -> ApiError {
    match over {
        OverLimit::Wait(after) => ApiError::TooManySubscriptions(after),
        OverLimit::Never(most) => ApiError::Malformed(format!(
            "There are {count} {what}, and you may begin {most} at once at most. Use fewer."
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::settings::Options;

    fn limits() -> OpeningLimits {
        OpeningLimits::new(&Options::default().resolve().expect("the defaults").limits)
    }

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
        let limits = limits();
        for _ in 0..2000 {
            limits.check_subscriptions(&client(1), 1).expect("2,000 clients after a restart");
        }
        let refused = (0..10_000).map(|_| limits.check_subscriptions(&client(1), 100)).find(Result::is_err);
        assert!((1..=10).contains(&seconds_to_wait(refused.expect("a refusal"))));
        limits.check_subscriptions(&client(2), 100).expect("another client's");
    }

    #[test]
    fn new_patterns_of_one_client_and_of_all_together_are_bounded() {
        let limits = limits();
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
