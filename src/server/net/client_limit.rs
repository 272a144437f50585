//! How often each client may do something.

use std::fmt;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, NotUntil, Quota, RateLimiter};

/// After this many checks the clients that have been quiet for long enough are forgotten.
const FORGET_EVERY: usize = 10_000;

/// Why something is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OverLimit {
    /// Not before this time has passed, a second at least.
    Wait(Duration),
    /// Never: they are more than this, which may be at once at most.
    Never(u32),
}

/// A limit that each client has for itself, or none.
pub(crate) struct ClientLimit<K: Clone + Eq + Hash>(Option<Limiter<K>>);

struct Limiter<K: Clone + Eq + Hash> {
    limiter: DefaultKeyedRateLimiter<K>,
    rate: NonZeroU32,
    burst: u32,
    checks: AtomicUsize,
}

/// A limit that all have together, or none.
pub(crate) struct TotalLimit(Option<DefaultDirectRateLimiter>);

impl<K: Clone + Eq + Hash> ClientLimit<K> {
    /// Allows each client `rate` in a second, and `bursts` times as many at once; everything where there is no rate.
    pub(crate) fn new(rate: Option<NonZeroU32>, bursts: NonZeroU32) -> Self {
        Self(rate.map(|rate| {
            let burst = rate.saturating_mul(bursts);
            let limiter = RateLimiter::keyed(Quota::per_second(rate).allow_burst(burst));
            Limiter { limiter, rate, burst: burst.get(), checks: AtomicUsize::new(0) }
        }))
    }

    /// Counts one of a client. Where it is refused, fails with the time to wait, a second at least.
    pub(crate) fn check_one(&self, client: &K) -> Result<(), Duration> {
        self.check(client, 1).map_err(|over| match over {
            OverLimit::Wait(wait) => wait,
            OverLimit::Never(_) => unreachable!("a burst is one at least"),
        })
    }

    /// Counts the others of a client's `count`, of which one was counted already. Where they are refused none of them is
    /// counted, and the time to wait is that for all.
    pub(crate) fn check_others(&self, client: &K, count: usize) -> Result<(), OverLimit> {
        let Some(Limiter { rate, burst, .. }) = &self.0 else { return Ok(()) };
        if count > *burst as usize {
            return Err(OverLimit::Never(*burst));
        }
        self.check(client, count.saturating_sub(1)).map_err(|over| match over {
            OverLimit::Wait(wait) => OverLimit::Wait(wait + Duration::from_secs(1) / rate.get()),
            never @ OverLimit::Never(_) => never,
        })
    }

    /// Counts `count` of a client. Where they are refused none is counted.
    pub(crate) fn check(&self, client: &K, count: usize) -> Result<(), OverLimit> {
        let (Some(Limiter { limiter, burst, checks, .. }), Some(count)) = (&self.0, cells(count)) else {
            return Ok(());
        };
        if checks.fetch_add(1, Ordering::Relaxed).is_multiple_of(FORGET_EVERY) {
            limiter.retain_recent();
        }
        match limiter.check_key_n(client, count) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(until)) => Err(OverLimit::Wait(wait(&until, limiter.clock()))),
            Err(_) => Err(OverLimit::Never(*burst)),
        }
    }
}

impl<K: Clone + Eq + Hash> fmt::Debug for ClientLimit<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClientLimit").field(&self.0.as_ref().map(|limiter| limiter.rate)).finish()
    }
}

impl TotalLimit {
    /// Allows `rate` in a second, and `bursts` times as many at once; everything where there is no rate.
    pub(crate) fn new(rate: Option<NonZeroU32>, bursts: NonZeroU32) -> Self {
        Self(rate.map(|rate| RateLimiter::direct(Quota::per_second(rate).allow_burst(rate.saturating_mul(bursts)))))
    }

    /// Counts `count`. Fails with the time to wait, a second at least, and counts none then.
    pub(crate) fn check(&self, count: usize) -> Result<(), Duration> {
        let (Some(limiter), Some(count)) = (&self.0, cells(count)) else { return Ok(()) };
        match limiter.check_n(count) {
            Ok(Err(until)) => Err(wait(&until, limiter.clock())),
            // More than can ever be allowed at once is refused to each client before.
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }
}

/// How long to wait until a limit allows more.
fn wait(until: &NotUntil<<DefaultClock as Clock>::Instant>, clock: &DefaultClock) -> Duration {
    until.wait_time_from(clock.now()).max(Duration::from_secs(1))
}

/// A number as the limiters count it; `None` for nothing.
fn cells(count: usize) -> Option<NonZeroU32> {
    NonZeroU32::new(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOUR: NonZeroU32 = NonZeroU32::new(4).expect("not zero");

    #[test]
    fn each_client_has_its_own_limit_and_learns_what_can_never_be() {
        let limit = ClientLimit::new(NonZeroU32::new(10), FOUR);
        assert_eq!(limit.check(&1, 40), Ok(()));
        assert!(matches!(limit.check(&1, 1), Err(OverLimit::Wait(wait)) if wait >= Duration::from_secs(1)));
        assert_eq!(limit.check(&2, 40), Ok(()), "another client's");
        assert_eq!(limit.check(&3, 41), Err(OverLimit::Never(40)));
        assert_eq!(limit.check(&3, 0), Ok(()));
    }

    #[test]
    fn who_waits_as_told_for_several_gets_them_though_the_first_is_counted_before_the_others() {
        let limit = ClientLimit::new(NonZeroU32::new(1), FOUR);
        assert_eq!(limit.check(&1, 4), Ok(()));
        assert_eq!(limit.check_others(&1, 5), Err(OverLimit::Never(4)));
        let Err(OverLimit::Wait(wait)) = limit.check_others(&1, 4) else { panic!("a refusal") };
        assert!(wait > Duration::from_millis(3500), "four seconds for all of them: {wait:?}");
        assert!(limit.check_one(&1).is_err());
    }

    #[test]
    fn no_rate_is_no_limit() {
        assert_eq!(ClientLimit::new(None, FOUR).check(&1, usize::MAX), Ok(()));
        assert_eq!(TotalLimit::new(None, FOUR).check(usize::MAX), Ok(()));
    }
}
