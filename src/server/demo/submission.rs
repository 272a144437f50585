//! Reads the text of a message from a JSON, form or plain text body.

use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use serde_json::error::Category;

use crate::server::http::body::{FORM, JSON, media_type, not_utf8, whole};
use crate::server::http::error::ApiError;
use crate::server::http::params::Params;
use crate::wire::message::Submission;

/// Which bodies an address accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AcceptedBodies {
    /// JSON and forms.
    Strict,
    /// Also plain text, a body without a media type, and text that is declared as a form, as `curl -d 'some text'`
    /// sends it.
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
    let parse = match (media_type(headers).as_deref(), accepted) {
        (Some(JSON), _) => json,
        (Some(FORM), AcceptedBodies::Strict) => form,
        (Some(FORM), AcceptedBodies::Lenient) => form_or_text,
        (Some("text/plain") | None, AcceptedBodies::Lenient) => text,
        (_, AcceptedBodies::Strict) => {
            return Err(ApiError::MediaType("application/json or application/x-www-form-urlencoded"));
        }
        (_, AcceptedBodies::Lenient) => {
            return Err(ApiError::MediaType("text/plain, application/json or application/x-www-form-urlencoded"));
        }
    };
    parse(&whole(body, max_body).await?)
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
    let params = Params::parse(body).map_err(|_| not_utf8())?;
    match params.get(FIELD) {
        Some(message) => Ok(message.to_owned()),
        None => Err(ApiError::Malformed(format!("The form has no field `{FIELD}`. Send {FIELD}=…"))),
    }
}

fn form_or_text(body: &Bytes) -> Result<String, ApiError> {
    if body.contains(&b'=') { form(body) } else { text(body) }
}

fn text(body: &Bytes) -> Result<String, ApiError> {
    String::from_utf8(body.to_vec()).map_err(|_| not_utf8())
}
