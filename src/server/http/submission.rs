//! What a client submits to be published: the text, out of a JSON, form or plain body.

use std::error::Error;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, header};
use http_body_util::LengthLimitError;
use serde_json::error::Category;
use tokio::time::timeout;

use super::error::ApiError;
use super::params::Params;
use crate::wire::message::Submission;

/// Which bodies an address reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kinds {
    /// JSON and forms.
    Api,
    /// Also plain text, a body without a type, and a form body that is no form: what
    /// `curl -d 'some text'` sends.
    Helper,
}

/// A body that is not there by then is given up: who sends a byte now and then would keep its connection for ever.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) const JSON: &str = "application/json";
pub(super) const FORM: &str = "application/x-www-form-urlencoded";

const FIELD: &str = "message";

/// Reads the text of a submission of at most `max_body` bytes.
pub(super) async fn read(headers: &HeaderMap, body: Body, kinds: Kinds, max_body: usize) -> Result<String, ApiError> {
    // The declared type is checked before the body is read: an upload of the wrong kind is refused at once.
    let parse = match (media_type(headers).as_deref(), kinds) {
        (Some(JSON), _) => json,
        (Some(FORM), Kinds::Api) => form,
        (Some(FORM), Kinds::Helper) => form_or_text,
        (Some("text/plain") | None, Kinds::Helper) => text,
        (_, Kinds::Api) => {
            return Err(ApiError::MediaType("application/json or application/x-www-form-urlencoded"));
        }
        (_, Kinds::Helper) => {
            return Err(ApiError::MediaType("text/plain, application/json or application/x-www-form-urlencoded"));
        }
    };
    parse(&whole(body, max_body).await?)
}

/// The media type that a body is declared to have, without its parameters, in lower case.
pub(super) fn media_type(headers: &HeaderMap) -> Option<String> {
    let declared = headers.get(header::CONTENT_TYPE)?.to_str().unwrap_or_default();
    Some(declared.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// The whole body, of at most `max_body` bytes.
pub(super) async fn whole(body: Body, max_body: usize) -> Result<Bytes, ApiError> {
    let read = timeout(BODY_TIMEOUT, to_bytes(body, max_body)).await.map_err(|_| ApiError::TooSlow(BODY_TIMEOUT))?;
    read.map_err(|error| unread(&error, max_body))
}

fn unread(error: &axum::Error, max_body: usize) -> ApiError {
    match error.source() {
        Some(source) if source.is::<LengthLimitError>() => ApiError::TooLarge(max_body),
        _ => ApiError::Malformed("The body ended before it was whole. Send it again.".into()),
    }
}

fn json(body: &Bytes) -> Result<String, ApiError> {
    let parsed: Result<Submission, _> = serde_json::from_slice(body);
    parsed.map(|submission| submission.message).map_err(|error| {
        let place = format!("at line {}, column {}", error.line(), error.column());
        let what = error.to_string();
        let what = what.split(" at line ").next().unwrap_or_default();
        match error.classify() {
            Category::Data => ApiError::Invalid(format!(
                "The JSON is not a submission: {what}, {place}. Send {{\"message\": \"…\"}}."
            )),
            _ => ApiError::Malformed(format!("The body is not valid JSON: {what}, {place}.")),
        }
    })
}

fn form(body: &Bytes) -> Result<String, ApiError> {
    let params = Params::parse(body).map_err(|_| not_utf8())?;
    let message = params.get(FIELD).map(str::to_owned);
    message.ok_or_else(|| ApiError::Invalid(format!("The form has no field `{FIELD}`. Send {FIELD}=…")))
}

fn form_or_text(body: &Bytes) -> Result<String, ApiError> {
    if body.contains(&b'=') { form(body) } else { text(body) }
}

fn text(body: &Bytes) -> Result<String, ApiError> {
    String::from_utf8(body.to_vec()).map_err(|_| not_utf8())
}

pub(super) fn not_utf8() -> ApiError {
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
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"))]);
        let body = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        let read = read(&headers, body, Kinds::Helper, 1024).await;
        assert!(matches!(read, Err(ApiError::TooSlow(_))), "{read:?}");
    }
}
