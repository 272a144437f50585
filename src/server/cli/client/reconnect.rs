//! Backoff: how long to wait before the next connection.

use std::ops::RangeInclusive;
use std::time::Duration;

use rand::Rng;

/// Upper bound of the first wait, unless the stream has sent `retry`.
const MAX_FIRST_WAIT: Duration = Duration::from_secs(1);

/// Upper bound of every wait.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// The longest `retry` or `Retry-After` that is honoured. A wrong number must not keep a client away for good.
const MAX_RETRY: Duration = Duration::from_secs(3600);

/// A connection that lasted this long resets the backoff, even if it brought nothing.
pub(super) const STABLE_AFTER: Duration = Duration::from_secs(10);

/// Exponential backoff with full jitter, so that clients which lost the same hub don't all return at once.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    /// The latest `retry` of the stream.
    retry: Option<Duration>,
    /// Failed connections in a row.
    failures: u32,
}

impl Backoff {
    /// Takes over the stream's `retry`, in milliseconds. `None` keeps the one before.
    pub(super) fn set_retry(&mut self, retry: Option<u64>) {
        self.retry = retry.map(|retry| Duration::from_millis(retry).min(MAX_RETRY)).or(self.retry);
    }

    /// Resets the backoff after a connection that worked.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Draws the wait before the next connection, no shorter than `least`, and counts a failure.
    pub(super) fn next_wait(&mut self, least: Option<Duration>) -> Duration {
        let wait = rand::rng().random_range(self.bounds());
        self.failures = self.failures.saturating_add(1);
        wait.max(least.unwrap_or_default().min(MAX_RETRY))
    }

    /// The range of the next wait: never less than `retry`. The first wait is exactly that, because the hub has already
    /// added jitter.
    fn bounds(&self) -> RangeInclusive<Duration> {
        let least = self.retry.unwrap_or_default();
        if self.retry.is_some() && self.failures == 0 {
            return least..=least;
        }
        let most = least.max(MAX_FIRST_WAIT).saturating_mul(1 << self.failures.min(10)).min(MAX_WAIT);
        least..=most.max(least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(bounds: RangeInclusive<Duration>) -> (f64, f64) {
        (bounds.start().as_secs_f64(), bounds.end().as_secs_f64())
    }

    /// The bounds of `N` waits in a row.
    fn bounds<const N: usize>(backoff: &mut Backoff) -> [(f64, f64); N] {
        std::array::from_fn(|_| {
            let bounds = backoff.bounds();
            assert!(bounds.contains(&backoff.next_wait(None)));
            seconds(bounds)
        })
    }

    #[test]
    fn waits_grow_from_failure_to_failure_up_to_half_a_minute_and_may_be_anything_below() {
        let mut backoff = Backoff::default();
        let expected = [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0].map(|most| (0.0, most));
        assert_eq!(bounds(&mut backoff), expected);
        backoff.reset();
        assert_eq!(bounds(&mut backoff), [(0.0, 1.0)]);
        backoff.failures = u32::MAX;
        assert_eq!(bounds(&mut backoff), [(0.0, 30.0); 2]);
    }

    #[test]
    fn the_first_wait_is_what_the_stream_asks_for_and_no_later_one_is_shorter() {
        let mut backoff = Backoff::default();
        backoff.set_retry(Some(2000));
        backoff.set_retry(None);
        assert_eq!(bounds(&mut backoff), [(2.0, 2.0), (2.0, 4.0), (2.0, 8.0), (2.0, 16.0), (2.0, 30.0)]);
        backoff.reset();
        backoff.set_retry(Some(0));
        assert_eq!(bounds(&mut backoff), [(0.0, 0.0), (0.0, 2.0)]);
        backoff.set_retry(Some(60_000));
        assert_eq!(bounds(&mut backoff), [(60.0, 60.0); 2]);
        backoff.reset();
        backoff.set_retry(Some(u64::MAX));
        assert_eq!(bounds(&mut backoff), [(3600.0, 3600.0)]);
    }

    #[test]
    fn a_hub_that_says_when_to_come_back_is_left_alone_until_then() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.next_wait(Some(Duration::from_secs(90))), Duration::from_secs(90));
        assert_eq!(backoff.next_wait(Some(Duration::MAX)), MAX_RETRY);
    }
}
