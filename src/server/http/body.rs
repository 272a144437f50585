//! Request bodies: the declared media type, and the whole body within its limits of size and time.

use std::error::Error;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, header};
use http_body_util::LengthLimitError;
use tokio::time::timeout;

use super::error::ApiError;

/// A body that is not complete by then is refused: a client that sends a byte now and then would keep its connection
/// for ever.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

pub(in crate::server) const JSON: &str = "application/json";
pub(in crate::server) const FORM: &str = "application/x-www-form-urlencoded";

/// The media type that a body is declared to have, without its parameters, in lower case.
pub(in crate::server) fn media_type(headers: &HeaderMap) -> Option<String> {
    let declared = headers.get(header::CONTENT_TYPE)?.as_bytes();
    // Parameters may hold any bytes.
    let media_type = declared.split(|&byte| byte == b';').next().unwrap_or_default();
    Some(String::from_utf8_lossy(media_type.trim_ascii()).to_ascii_lowercase())
}

/// The whole body, of at most `max_body` bytes.
pub(in crate::server) async fn whole(body: Body, max_body: usize) -> Result<Bytes, ApiError> {
    let read = timeout(BODY_TIMEOUT, to_bytes(body, max_body)).await.map_err(|_| ApiError::TooSlow(BODY_TIMEOUT))?;
    read.map_err(|error| unread(&error, max_body))
}

fn unread(error: &axum::Error, max_body: usize) -> ApiError {
    match error.source() {
        Some(source) if source.is::<LengthLimitError>() => ApiError::TooLarge(max_body),
        _ => ApiError::Malformed("The body ended before it was whole. Send it again.".into()),
    }
}

pub(in crate::server) fn not_utf8() -> ApiError {
    ApiError::Malformed("The body is not UTF-8. Encode it as UTF-8.".into())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_given_up() {
        let body = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        let read = whole(body, 1024).await;
        assert!(matches!(read, Err(ApiError::TooSlow(_))), "{read:?}");
    }
}
