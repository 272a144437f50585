//! How fast one address may publish.

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

/// An address may publish this many times its rate at once.
const BURST: NonZeroU32 = NonZeroU32::MIN.saturating_add(3);

/// Addresses that have been quiet for long enough are forgotten each time this many are known.
const FORGET_ABOVE: usize = 10_000;

/// Counts what each address publishes.
pub(super) struct PublishLimit {
    limiter: Option<DefaultKeyedRateLimiter<IpAddr>>,
    clock: DefaultClock,
}

impl PublishLimit {
    /// Allows `rate` publishes a second from one address; any number where it is `None`.
    pub(super) fn new(rate: Option<NonZeroU32>) -> Self {
        let quota = |rate: NonZeroU32| Quota::per_second(rate).allow_burst(rate.saturating_mul(BURST));
        Self { limiter: rate.map(|rate| RateLimiter::keyed(quota(rate))), clock: DefaultClock::default() }
    }

    /// Counts one publish.
    pub(super) fn check(&self, address: IpAddr) -> Result<(), ApiError> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        if limiter.len() > FORGET_ABOVE {
            limiter.retain_recent();
        }
        let refused = limiter.check_key(&network(address));
        refused
            .map_err(|until| ApiError::RateLimited(until.wait_time_from(self.clock.now()).max(Duration::from_secs(1))))
    }
}

/// A site has a whole /64 of IPv6 addresses to choose from: it counts as one.
pub(super) fn network(address: IpAddr) -> IpAddr {
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
