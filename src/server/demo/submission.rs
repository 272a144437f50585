//! Reads the text of a message from a JSON, form or plain text body.

use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use serde_json::error::Category;

use crate::server::http::body::{self, FORM, JSON, media_type, not_utf8};
use crate::server::http::error::ApiError;
use crate::server::http::params::Params;
use crate::wire::message::Submission;

/// Which bodies an address accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AcceptedBodies {
    /// JSON and forms.
    Strict,
    /// Also plain text, a body without a media type, and a declared form without the field: text that `curl -d` has
    /// sent.
    Lenient,
}

const FIELD: &str = "message";

/// Reads the text of a submission, whose body has at most `max_body` bytes.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Body,
    accepted: AcceptedBodies,
    max_body: usize,
) -> Result<String, ApiError> {
    // The media type is checked before the body is read, so that an upload of another type is refused at once.
    match (media_type(headers).as_deref(), accepted) {
        (Some(JSON), _) => json(&body::read(headers, body, max_body).await?),
        (Some(FORM), AcceptedBodies::Strict) => form(&body::read(headers, body, max_body).await?),
        (Some(FORM), AcceptedBodies::Lenient) => form_or_text(&body::read(headers, body, max_body).await?),
        (Some("text/plain") | None, AcceptedBodies::Lenient) => {
            text(&body::read_verbatim(headers, body, max_body).await?)
        }
        (_, AcceptedBodies::Strict) => {
            Err(ApiError::MediaType("application/json or application/x-www-form-urlencoded"))
        }
        (_, AcceptedBodies::Lenient) => {
            Err(ApiError::MediaType("text/plain, application/json or application/x-www-form-urlencoded"))
        }
    }
}

fn json(body: &Bytes) -> Result<String, ApiError> {
    let submission: Submission = serde_json::from_slice(body).map_err(|error| json_error(&error))?;
    Ok(submission.message)
}

fn json_error(error: &serde_json::Error) -> ApiError {
    let position = format!("at line {}, column {}", error.line(), error.column());
    let reason = error.to_string();
    let reason = reason.split(" at line ").next().unwrap_or_default();
    let detail = match error.classify() {
        Category::Data => {
            format!("The JSON is not a submission: {reason}, {position}. Send {{\"message\": \"…\"}}.")
        }
        _ => format!("The body is not valid JSON: {reason}, {position}."),
    };
    ApiError::Malformed(detail)
}

fn form(body: &Bytes) -> Result<String, ApiError> {
    match Params::parse(body).get(FIELD)? {
        Some(message) => Ok(message.to_owned()),
        None => Err(ApiError::Malformed(format!("The form has no field `{FIELD}`. Send {FIELD}=…"))),
    }
}

/// A body that is declared as a form is a form if it has the field. Otherwise it is text that `curl -d` has sent, such as
/// a log line with a `=` in it.
fn form_or_text(body: &Bytes) -> Result<String, ApiError> {
    match Params::parse(body).get(FIELD)? {
        Some(message) => Ok(message.to_owned()),
        None => text(body),
    }
}

fn text(body: &Bytes) -> Result<String, ApiError> {
    String::from_utf8(body.to_vec()).map_err(|_| not_utf8())
}
