//! A request's body: of which kind it is declared to be, and its bytes.

use std::error::Error;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, header};
use http_body_util::LengthLimitError;
use tokio::time::timeout;

pub(in crate::server) use super::accept::JSON;
use super::error::ApiError;

pub(in crate::server) const FORM: &str = "application/x-www-form-urlencoded";

/// How long a body may take. A client that sends a byte now and then would keep its connection for ever.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Some editors and Windows programs begin a file with it. It says how the text is encoded, and is no part of it.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The declared media type of a body, without its parameters, in lower case; `None` if the request declares none.
pub(in crate::server) fn media_type(headers: &HeaderMap) -> Option<String> {
    let declared = headers.get(header::CONTENT_TYPE)?.as_bytes();
    // Parameters may hold any bytes.
    let media_type = declared.split(|&byte| byte == b';').next().unwrap_or_default();
    Some(String::from_utf8_lossy(media_type.trim_ascii()).to_ascii_lowercase())
}

/// Reads a whole JSON or form body of at most `max` bytes. A byte order mark at its beginning is left out.
///
/// Fails with 408 if the body takes too long, 413 if it is longer, 415 if it is encoded, and 400 if it is cut off.
pub(in crate::server) async fn read(headers: &HeaderMap, body: Body, max: usize) -> Result<Bytes, ApiError> {
    let bytes = read_verbatim(headers, body, max).await?;
    let begin = if bytes.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
    Ok(bytes.slice(begin..))
}

/// Reads a whole body of at most `max` bytes and keeps each of them. Fails as [`read`] does.
pub(in crate::server) async fn read_verbatim(headers: &HeaderMap, body: Body, max: usize) -> Result<Bytes, ApiError> {
    refuse_encoded(headers)?;
    let read = timeout(TIMEOUT, to_bytes(body, max)).await.map_err(|_| ApiError::TooSlow(TIMEOUT))?;
    read.map_err(|error| match error.source() {
        Some(source) if source.is::<LengthLimitError>() => ApiError::TooLarge(max),
        _ => ApiError::Malformed("The body ended before it was whole. Send it again.".into()),
    })
}

/// Nothing here decompresses: a few bytes could become gigabytes.
fn refuse_encoded(headers: &HeaderMap) -> Result<(), ApiError> {
    let values = headers.get_all(header::CONTENT_ENCODING).iter();
    let mut codings = values.flat_map(|value| value.as_bytes().split(|&byte| byte == b',')).map(<[u8]>::trim_ascii);
    let is_encoded = codings.any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"));
    if is_encoded { Err(ApiError::ContentEncoding) } else { Ok(()) }
}

pub(in crate::server) fn not_utf8() -> ApiError {
    ApiError::Malformed("The body is not UTF-8. Encode it as UTF-8.".into())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::http::HeaderValue;
    use futures_util::stream;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_given_up() {
        let body = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        let read = read(&HeaderMap::new(), body, 1024).await;
        assert!(matches!(read, Err(ApiError::TooSlow(_))), "{read:?}");
    }

    #[test]
    fn only_the_identity_encoding_is_accepted() {
        for (sent, is_accepted) in
            [("identity", true), ("Identity, identity", true), ("", true), ("gzip", false), ("identity, br", false)]
        {
            let headers = HeaderMap::from_iter([(header::CONTENT_ENCODING, HeaderValue::from_static(sent))]);
            assert_eq!(refuse_encoded(&headers).is_ok(), is_accepted, "{sent}");
        }
    }
}
