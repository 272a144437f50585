//! Limits by client, and that of publishing without a token.

use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, NotUntil, Quota, RateLimiter};

use super::error::ApiError;
use crate::server::net::{MAX_HEAD, client_key};

/// A client may publish this many times its rate in one burst.
const BURST: NonZeroU32 = NonZeroU32::MIN.saturating_add(3);

/// After this many checks the clients that have been quiet for long enough are forgotten.
const FORGET_EVERY: usize = 10_000;

/// A limit that each client has for itself.
pub(super) struct ClientLimit<K: Clone + Eq + Hash> {
    limiter: DefaultKeyedRateLimiter<K>,
    checks: AtomicUsize,
    clock: DefaultClock,
}

impl<K: Clone + Eq + Hash> ClientLimit<K> {
    /// Allows each client `burst` at once, and `rate` in a second after that.
    pub(super) fn new(rate: NonZeroU32, burst: NonZeroU32) -> Self {
        let limiter = RateLimiter::keyed(Quota::per_second(rate).allow_burst(burst));
        Self { limiter, checks: AtomicUsize::new(0), clock: DefaultClock::default() }
    }

    /// Counts so many of a client. Fails with the time to wait, a second at least, and counts none then.
    pub(super) fn check(&self, client: &K, count: usize) -> Result<(), Duration> {
        let Some(count) = cells(count) else { return Ok(()) };
        if self.checks.fetch_add(1, Ordering::Relaxed).is_multiple_of(FORGET_EVERY) {
            self.limiter.retain_recent();
        }
        match self.limiter.check_key_n(client, count) {
            Ok(Err(until)) => Err(wait(&until, &self.clock)),
            // More at once than can ever be allowed is refused elsewhere, as a request that is too large.
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }
}

/// How long to wait until a limit allows more.
pub(super) fn wait(until: &NotUntil<<DefaultClock as Clock>::Instant>, clock: &DefaultClock) -> Duration {
    until.wait_time_from(clock.now()).max(Duration::from_secs(1))
}

/// A number as the limiters count it; `None` for nothing.
pub(super) fn cells(count: usize) -> Option<NonZeroU32> {
    NonZeroU32::new(u32::try_from(count).unwrap_or(u32::MAX))
}

/// The rate limiter of publishes.
pub(super) struct PublishLimit(Option<ClientLimit<IpAddr>>);

impl PublishLimit {
    /// Allows each client `rate` publishes a second; `None` means no limit.
    pub(super) fn new(rate: Option<NonZeroU32>) -> Self {
        Self(rate.map(|rate| ClientLimit::new(rate, rate.saturating_mul(BURST))))
    }

    /// Counts one publish. Fails with 429 and the time to wait if the client is over its limit.
    pub(super) fn check(&self, address: IpAddr) -> Result<(), ApiError> {
        let Some(limit) = &self.0 else { return Ok(()) };
        limit.check(&client_key(address), 1).map_err(ApiError::RateLimited)
    }
}

/// Refuses requests whose URL and headers are larger than a connection takes over HTTP/1.1: over HTTP/2 they arrive.
pub(super) async fn check_head(request: Request, next: Next) -> Result<Response, ApiError> {
    let url = request.uri().path_and_query().map_or(0, |url| url.as_str().len());
    let headers: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if url + headers > MAX_HEAD { Err(ApiError::HeadTooLarge) } else { Ok(next.run(request).await) }
}
