//! Errors of requests, and their answers: problem documents (RFC 9457).

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tracing::{debug, error};

use super::cache;
use crate::server::log::{AppendError, ReadError};
use crate::server::metrics;
use crate::server::net::HeadRefusals;
use crate::wire::problem::{MEDIA_TYPE, Problem};

/// Seconds after which a client that is at its limit of streams may try again.
const STREAMS_RETRY_AFTER: u64 = 10;

const HEAD_TOO_LARGE_TITLE: &str = "Head too large";
const HEAD_TOO_LARGE: &str = "The request's URL and headers have more than 64 KiB, or there are more than 100 headers. \
                              Send less: what is in the query can be sent as the form body of QUERY instead.";

/// Seconds after which a publisher may try again while the cluster elects a leader.
const CLUSTER_RETRY_AFTER: u64 = 2;

/// Seconds after which a client may try again when the server is at its connection limit.
const CONNECTIONS_RETRY_AFTER: u64 = 5;

/// Why a request is refused. The detail is for the client; what only the operator may know is logged where the error
/// is made.
#[derive(Debug)]
pub(in crate::server) enum ApiError {
    /// 400: it can't be read.
    Malformed(String),
    /// 400, 401 or 403 because of a token: with the challenge that says what is needed (RFC 6750, 3).
    Token {
        /// The status.
        status: StatusCode,
        /// What was wrong and what to do.
        detail: String,
        /// The header `WWW-Authenticate`.
        challenge: String,
    },
    /// 403: not because of a token.
    Forbidden(String),
    /// 404
    NotFound(String),
    /// 405
    Method(String),
    /// 408: the body was incomplete after this time.
    TooSlow(Duration),
    /// 413: the body has more than these bytes.
    TooLarge(usize),
    /// 413: a part of the body is too long, or there are too many parts.
    TooMuch(String),
    /// 415: these are the media types that are accepted.
    MediaType(&'static str),
    /// 415: the body is compressed, or encoded in another way.
    ContentEncoding,
    /// 421: the request is meant for another server.
    Misdirected(String),
    /// 422: the request can be read, but what it says is not allowed.
    Invalid(String),
    /// 429: the client publishes too fast. It may try again after this time.
    RateLimited(Duration),
    /// 429: more tickets were used than can be remembered. Those are forgotten after this time.
    TooManyTickets(Duration),
    /// 429: the client is at its limit of open streams.
    TooManyStreams(usize),
    /// 429: the client opens subscriptions faster than is allowed.
    TooManySubscriptions(Duration),
    /// 429: the client is at its limit of connections.
    TooManyClientConnections(u32),
    /// 429: the client makes connections faster than is allowed. It may make the next one after this time.
    TooManyNewConnections(Duration),
    /// 503: the server is at its limit of connections.
    TooManyConnections,
    /// 503: the server compiles, or compares topics with, as many patterns as it may.
    TooManyPatterns(Duration),
    /// 431: the URL and the headers are larger than is allowed.
    HeadTooLarge,
    /// 500: the cause is in the log.
    Internal,
    /// 503: the keys of a token's issuer can't be fetched; one may try again after this time.
    KeysUnavailable(Duration),
    /// 503: the cluster accepts no updates at the moment.
    ClusterAway,
    /// 503: the cluster did not answer in time, and the update may have been published.
    OutcomeUnknown,
    /// 507: the disk is full.
    Full,
}

impl ApiError {
    pub(in crate::server) fn problem(&self) -> Problem {
        let (status, title, detail) = match self {
            Self::Malformed(detail) => (StatusCode::BAD_REQUEST, "Malformed request", detail.clone()),
            Self::Token { status, detail, .. } => (
                *status,
                match *status {
                    StatusCode::UNAUTHORIZED => "Token needed",
                    StatusCode::FORBIDDEN => "Not allowed",
                    _ => "Malformed request",
                },
                detail.clone(),
            ),
            Self::Forbidden(detail) => (StatusCode::FORBIDDEN, "Not allowed", detail.clone()),
            Self::NotFound(detail) => (StatusCode::NOT_FOUND, "Not found", detail.clone()),
            Self::Method(detail) => (StatusCode::METHOD_NOT_ALLOWED, "Method not allowed", detail.clone()),
            Self::TooSlow(limit) => (
                StatusCode::REQUEST_TIMEOUT,
                "Body too slow",
                format!("The body was not there after {} s. Send it again, all at once.", seconds(*limit)),
            ),
            Self::TooLarge(max) => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "Body too large",
                format!("The body has more than the {max} bytes that are taken here. Send less."),
            ),
            Self::TooMuch(detail) => (StatusCode::PAYLOAD_TOO_LARGE, "Body too large", detail.clone()),
            Self::MediaType(known) => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported media type", format!("Send the body as {known}."))
            }
            Self::ContentEncoding => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "Unsupported content encoding",
                "The body has a Content-Encoding. Send it as it is, without compressing it.".into(),
            ),
            Self::Invalid(detail) => (StatusCode::UNPROCESSABLE_ENTITY, "Invalid content", detail.clone()),
            Self::Misdirected(detail) => (StatusCode::MISDIRECTED_REQUEST, "Misdirected request", detail.clone()),
            Self::TooManyStreams(limit) => (
                StatusCode::TOO_MANY_REQUESTS,
                "Too many streams",
                format!(
                    "You already have {limit} streams open, which is the limit. Close one first: one stream can hear \
                     many topics."
                ),
            ),
            Self::TooManyTickets(after) => (
                StatusCode::TOO_MANY_REQUESTS,
                "Too many tickets",
                format!("More tickets were used lately than can be remembered. Try again in {} s.", seconds(*after)),
            ),
            Self::TooManySubscriptions(after) => (
                StatusCode::TOO_MANY_REQUESTS,
                "Too many subscriptions",
                format!(
                    "You open subscriptions faster than is allowed. Try again in {} s; keep streams open instead of \
                     opening new ones.",
                    seconds(*after)
                ),
            ),
            Self::HeadTooLarge => {
                (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, HEAD_TOO_LARGE_TITLE, HEAD_TOO_LARGE.into())
            }
            Self::TooManyClientConnections(limit) => (
                StatusCode::TOO_MANY_REQUESTS,
                "Too many connections",
                format!(
                    "You already have {limit} connections open, which is the limit. Close one first: over HTTP/2 one \
                     connection carries many streams."
                ),
            ),
            Self::TooManyNewConnections(after) => (
                StatusCode::TOO_MANY_REQUESTS,
                "Too many new connections",
                format!(
                    "You make connections faster than is allowed. Try again in {} s; keep a connection and send further \
                     requests over it.",
                    seconds(*after)
                ),
            ),
            Self::TooManyConnections => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Too many connections",
                format!("The server is at its connection limit. Try again in {CONNECTIONS_RETRY_AFTER} s."),
            ),
            Self::TooManyPatterns(after) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Too many new patterns",
                format!(
                    "More new patterns are in use, or are sent, than the server may compare topics with. Try again in \
                     {} s, or match exact topics.",
                    seconds(*after)
                ),
            ),
            Self::RateLimited(after) => (
                StatusCode::TOO_MANY_REQUESTS,
                "Too many updates",
                format!("You publish faster than is allowed. Try again in {} s.", seconds(*after)),
            ),
            Self::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "Internal error",
                "The server failed to answer. Nothing was published; try again. The cause is in the server's log."
                    .into(),
            ),
            Self::KeysUnavailable(after) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Keys unavailable",
                format!(
                    "The keys of the token's issuer can't be fetched at the moment, so the token can't be verified. Try \
                     again in {} s.",
                    seconds(*after)
                ),
            ),
            Self::ClusterAway => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Cluster unavailable",
                format!(
                    "The cluster accepts no updates at the moment. Nothing was published. Try again in \
                     {CLUSTER_RETRY_AFTER} s."
                ),
            ),
            Self::OutcomeUnknown => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Outcome unknown",
                "The cluster did not answer in time, and the update may have been published. If you sent an \
                 Idempotency-Key, repeat the request with the same key: the update is published once. Without a key, a \
                 repeat may publish it twice."
                    .into(),
            ),
            Self::Full => (
                StatusCode::INSUFFICIENT_STORAGE,
                "Storage full",
                "There is no room to keep the update, so it was not published. Try again when the operator has made \
                 room."
                    .into(),
            ),
        };
        Problem { status: status.as_u16(), title: title.into(), detail }
    }
}

/// The responses to requests whose head can't be read. Nothing of such a request is known, its origin neither: a page gets
/// one only where `every_origin` may read.
pub(super) fn head_refusals(every_origin: impl Fn() -> bool + Send + Sync + 'static) -> HeadRefusals {
    Arc::new(move |status| {
        let (title, detail) = match status {
            400 => ("Malformed request", "The request is not valid HTTP/1.1. Check its first line and its headers."),
            414 => {
                ("URL too long", "The URL is too long. Send what is in its query as the form body of QUERY instead.")
            }
            431 => (HEAD_TOO_LARGE_TITLE, HEAD_TOO_LARGE),
            _ => return None,
        };
        let reason = StatusCode::from_u16(status).ok()?.canonical_reason().unwrap_or_default();
        let problem = Problem { status, title: title.into(), detail: detail.into() };
        let body = serde_json::to_string(&problem).ok()?;
        let length = body.len();
        let allow_origin = if every_origin() { "access-control-allow-origin: *\r\n" } else { "" };
        Some(Bytes::from(format!(
            "HTTP/1.1 {status} {reason}\r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {length}\r\n\
             cache-control: private, no-store\r\n{allow_origin}connection: close\r\n\r\n{body}"
        )))
    })
}

/// Whole seconds, rounded up: for `Retry-After`.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let problem = self.problem();
        metrics::refused(problem.status, &problem.title);
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        headers.insert(header::CACHE_CONTROL, cache::PRIVATE);
        match self {
            Self::RateLimited(after)
            | Self::TooManyTickets(after)
            | Self::TooManySubscriptions(after)
            | Self::TooManyPatterns(after)
            | Self::KeysUnavailable(after) => {
                headers.insert(header::RETRY_AFTER, seconds(after).into());
            }
            Self::ClusterAway | Self::OutcomeUnknown => {
                headers.insert(header::RETRY_AFTER, CLUSTER_RETRY_AFTER.into());
            }
            Self::TooManyStreams(_) => _ = headers.insert(header::RETRY_AFTER, STREAMS_RETRY_AFTER.into()),
            // What would be accepted (RFC 9110, 15.5.16).
            Self::ContentEncoding => {
                headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            }
            Self::TooManyConnections | Self::TooManyClientConnections(_) => {
                headers.insert(header::RETRY_AFTER, CONNECTIONS_RETRY_AFTER.into());
                // There is no room to keep the connection for another request.
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Self::TooManyNewConnections(after) => {
                headers.insert(header::RETRY_AFTER, seconds(after).into());
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Self::Token { challenge, .. } => {
                if let Ok(challenge) = HeaderValue::from_str(&challenge) {
                    headers.insert(header::WWW_AUTHENTICATE, challenge);
                }
            }
            _ => {}
        }
        response
    }
}

impl From<AppendError> for ApiError {
    fn from(error: AppendError) -> Self {
        match error {
            // The log tells the operator once that it is full, not again with every publish.
            AppendError::Full(_) => Self::Full,
            AppendError::Conflict(detail) => Self::Invalid(detail.into()),
            AppendError::TooLarge(what) => Self::TooMuch(format!(
                "That is {what}, which the cluster can't take at a time. Send less, or send it in parts."
            )),
            // The node logs it when the cluster becomes unavailable, once.
            AppendError::Unavailable(_) => Self::ClusterAway,
            AppendError::Unknown(_) => {
                debug!(%error, "the outcome of a publish is unknown");
                Self::OutcomeUnknown
            }
            AppendError::Failed(_) => {
                error!(%error, "an update was not published");
                Self::Internal
            }
        }
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        error!(%error, "a request could not be answered");
        Self::Internal
    }
}
