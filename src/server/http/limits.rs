//! The rate limit of publishing without a token, by client address.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::error::ApiError;
use crate::server::net::MAX_HEAD;

/// A client may publish this many times its rate in one burst.
const BURST: NonZeroU32 = NonZeroU32::MIN.saturating_add(3);

/// Clients whose limit has recovered are evicted once this many are tracked.
const EVICT_ABOVE: usize = 10_000;

/// The rate limiter of publishes, one bucket a client.
pub(super) struct PublishLimit {
    limiter: Option<DefaultKeyedRateLimiter<IpAddr>>,
    clock: DefaultClock,
}

impl PublishLimit {
    /// Allows each client `rate` publishes a second; `None` means no limit.
    pub(super) fn new(rate: Option<NonZeroU32>) -> Self {
        let quota = |rate: NonZeroU32| Quota::per_second(rate).allow_burst(rate.saturating_mul(BURST));
        Self { limiter: rate.map(|rate| RateLimiter::keyed(quota(rate))), clock: DefaultClock::default() }
    }

    /// Counts one publish. Fails with 429 and the time to wait if the client is over its limit.
    pub(super) fn check(&self, address: IpAddr) -> Result<(), ApiError> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        if limiter.len() > EVICT_ABOVE {
            limiter.retain_recent();
        }
        let refused = limiter.check_key(&client_key(address));
        refused
            .map_err(|until| ApiError::RateLimited(until.wait_time_from(self.clock.now()).max(Duration::from_secs(1))))
    }
}

/// The key under which an address is limited. One customer usually has a whole /64 of IPv6 addresses, so it counts as
/// one client.
pub(super) fn client_key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
        v4 => v4,
    }
}

/// Refuses requests whose URL and headers are larger than a connection takes over HTTP/1.1: over HTTP/2 they arrive.
pub(super) async fn check_head(request: Request, next: Next) -> Result<Response, ApiError> {
    let url = request.uri().path_and_query().map_or(0, |url| url.as_str().len());
    let headers: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if url + headers > MAX_HEAD { Err(ApiError::HeadTooLarge) } else { Ok(next.run(request).await) }
}
