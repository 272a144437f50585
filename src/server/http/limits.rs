//! Limits by client, and that of a request's head.

use std::net::SocketAddr;
use std::num::NonZeroU32;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;

use super::error::ApiError;
use crate::server::auth::Token;
use crate::server::hub::ClientKey;
use crate::server::net::{self, ClientLimit, MAX_HEAD, OverLimit};
use crate::server::settings::LimitSettings;

/// A client may publish this many times its rate in one burst.
const BURSTS: NonZeroU32 = NonZeroU32::new(4).expect("not zero");

/// Limits how fast each client publishes: a token's subject, or an address without a token.
pub(super) struct PublishLimits {
    with_token: ClientLimit<ClientKey>,
    without: ClientLimit<ClientKey>,
}

impl PublishLimits {
    pub(super) fn new(limits: &LimitSettings) -> Self {
        Self { with_token: ClientLimit::new(limits.token_rate, BURSTS), without: ClientLimit::new(limits.rate, BURSTS) }
    }

    /// Counts a request with one update. Fails with 429 and the time to wait where the client is over its limit.
    pub(super) fn check(&self, token: Option<&Token>, peer: SocketAddr) -> Result<(), ApiError> {
        self.of(token).check_one(&client_key(token, peer)).map_err(ApiError::RateLimited)
    }

    /// Counts the other updates of a request that was counted already. Fails with 413 where there are more of them than may
    /// ever be published at once.
    pub(super) fn check_all(&self, token: Option<&Token>, peer: SocketAddr, updates: usize) -> Result<(), ApiError> {
        self.of(token).check_others(&client_key(token, peer), updates).map_err(|over| match over {
            OverLimit::Wait(after) => ApiError::RateLimited(after),
            OverLimit::Never(most) => ApiError::TooMuch(format!(
                "There are {updates} updates, and you may publish {most} at once at most. Send them in parts."
            )),
        })
    }

    fn of(&self, token: Option<&Token>) -> &ClientLimit<ClientKey> {
        if token.is_some() { &self.with_token } else { &self.without }
    }
}

/// Whose limits a request counts towards.
pub(super) fn client_key(token: Option<&Token>, peer: SocketAddr) -> ClientKey {
    match token {
        Some(token) if !token.subject.is_empty() => ClientKey::Subject(token.issuer.clone(), token.subject.clone()),
        _ => ClientKey::Network(net::client_key(peer.ip())),
    }
}

/// Refuses requests whose URL and headers are larger than a connection takes over HTTP/1.1: over HTTP/2 they arrive.
pub(super) async fn check_head(request: Request, next: Next) -> Result<Response, ApiError> {
    let url = request.uri().path_and_query().map_or(0, |url| url.as_str().len());
    let headers: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if url + headers > MAX_HEAD { Err(ApiError::HeadTooLarge) } else { Ok(next.run(request).await) }
}
