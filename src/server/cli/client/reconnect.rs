//! How long to wait before the next connection.

use std::ops::RangeInclusive;
use std::time::Duration;

use rand::Rng;

/// The most that the first wait takes, where the stream has said nothing else.
const FIRST: Duration = Duration::from_secs(1);

/// The most that a wait grows to.
const MOST: Duration = Duration::from_secs(30);

/// The most that a stream may ask for. A wrong number must not keep a client away for good.
const MOST_ASKED: Duration = Duration::from_secs(3600);

/// A connection that lasted this long has worked, even if it brought nothing.
pub(super) const STAYED: Duration = Duration::from_secs(10);

/// Waits that grow from failure to failure, each drawn from all up to a bound: many clients that lost the same hub
/// don't come back at once.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    /// What the stream has said with `retry`.
    asked: Option<Duration>,
    /// Connections in a row that did not work.
    failures: u32,
}

impl Backoff {
    /// The stream's latest `retry`, in milliseconds; it holds until there is another.
    pub(super) fn ask(&mut self, retry: Option<u64>) {
        self.asked = retry.map(|retry| Duration::from_millis(retry).min(MOST_ASKED)).or(self.asked);
    }

    /// The connection works: the next wait is a first one again.
    pub(super) fn works(&mut self) {
        self.failures = 0;
    }

    /// The wait before the next connection, no shorter than `least`.
    pub(super) fn wait(&mut self, least: Option<Duration>) -> Duration {
        let wait = rand::rng().random_range(self.bounds());
        self.failures = self.failures.saturating_add(1);
        wait.max(least.unwrap_or_default().min(MOST_ASKED))
    }

    /// Never less than the stream asks for. The first wait is just that: the hub has spread its clients itself.
    fn bounds(&self) -> RangeInclusive<Duration> {
        let least = self.asked.unwrap_or_default();
        if self.asked.is_some() && self.failures == 0 {
            return least..=least;
        }
        let most = least.max(FIRST).saturating_mul(1 << self.failures.min(10)).min(MOST);
        least..=most.max(least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(bounds: RangeInclusive<Duration>) -> (f64, f64) {
        (bounds.start().as_secs_f64(), bounds.end().as_secs_f64())
    }

    /// The bounds of so many waits in a row.
    fn bounds<const N: usize>(backoff: &mut Backoff) -> [(f64, f64); N] {
        std::array::from_fn(|_| {
            let bounds = backoff.bounds();
            assert!(bounds.contains(&backoff.wait(None)));
            seconds(bounds)
        })
    }

    #[test]
    fn waits_grow_from_failure_to_failure_up_to_half_a_minute_and_may_be_anything_below() {
        let mut backoff = Backoff::default();
        let expected = [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0].map(|most| (0.0, most));
        assert_eq!(bounds(&mut backoff), expected);
        backoff.works();
        assert_eq!(bounds(&mut backoff), [(0.0, 1.0)]);
        backoff.failures = u32::MAX;
        assert_eq!(bounds(&mut backoff), [(0.0, 30.0); 2]);
    }

    #[test]
    fn the_first_wait_is_what_the_stream_asks_for_and_no_later_one_is_shorter() {
        let mut backoff = Backoff::default();
        backoff.ask(Some(2000));
        backoff.ask(None);
        assert_eq!(bounds(&mut backoff), [(2.0, 2.0), (2.0, 4.0), (2.0, 8.0), (2.0, 16.0), (2.0, 30.0)]);
        backoff.works();
        backoff.ask(Some(0));
        assert_eq!(bounds(&mut backoff), [(0.0, 0.0), (0.0, 2.0)]);
        backoff.ask(Some(60_000));
        assert_eq!(bounds(&mut backoff), [(60.0, 60.0); 2]);
        backoff.works();
        backoff.ask(Some(u64::MAX));
        assert_eq!(bounds(&mut backoff), [(3600.0, 3600.0)]);
    }

    #[test]
    fn a_hub_that_says_when_to_come_back_is_left_alone_until_then() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.wait(Some(Duration::from_secs(90))), Duration::from_secs(90));
        assert_eq!(backoff.wait(Some(Duration::MAX)), MOST_ASKED);
    }
}
