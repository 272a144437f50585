//! `/api/messages`: submit a message, list them, follow them, look at one.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};

use super::accept::{EVENT_STREAM, HTML, JSON, negotiate};
use super::error::ApiError;
use super::last_event_id::LastEventId;
use super::params::Params;
use super::submission::{self, Kinds};
use super::{App, AppState, Peer, root};
use crate::server::demo::Before;
use crate::ui::Refused;
use crate::wire::message::{Message, MessageList};
use crate::wire::paths;

/// How many messages a page of the list has at most.
const MAX_LIMIT: usize = 200;
const DEFAULT_LIMIT: usize = 50;

pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route(paths::MESSAGES, post(submit).get(list_or_follow))
        .route(&format!("{}/{{id}}", paths::MESSAGES), get(show))
}

/// Publishes a message. A browser's form post goes back to the page: to the message, or to the form with
/// the text kept and what was wrong.
async fn submit(State(app): AppState, ConnectInfo(peer): Peer, headers: HeaderMap, body: Body) -> Response {
    let wants_html = negotiate(&headers, &[JSON, HTML]) == HTML;
    let text = match submission::read(&headers, body, Kinds::Api, app.max_body).await {
        Ok(text) => text,
        Err(error) if wants_html => return refused(&app, &headers, String::new(), error).await,
        Err(error) => return error.into_response(),
    };
    match app.publish(peer, text.clone()).await {
        Ok(message) if wants_html => Redirect::to(&format!("{}#m-{}", paths::ROOT, message.id)).into_response(),
        Ok(message) => created(&message),
        Err(error) if wants_html => refused(&app, &headers, text, error).await,
        Err(error) => error.into_response(),
    }
}

fn created(message: &Message) -> Response {
    let mut response = (StatusCode::CREATED, Json(message)).into_response();
    if let Ok(location) = HeaderValue::from_str(&paths::message(&message.id)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

async fn refused(app: &App, headers: &HeaderMap, text: String, error: ApiError) -> Response {
    let mut page = root::page(app, headers, Some(Refused { text, problem: error.problem() })).await;
    if let Some(after) = error.into_response().headers_mut().remove(header::RETRY_AFTER) {
        page.headers_mut().insert(header::RETRY_AFTER, after);
    }
    page
}

async fn list_or_follow(
    State(app): AppState,
    method: Method,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, ApiError> {
    let mut response = match negotiate(&headers, &[JSON, EVENT_STREAM]) {
        EVENT_STREAM => {
            let frames = app.producers.messages.follow(LastEventId::of(&headers, &params)?.id().as_deref()).await?;
            app.stream(&method, paths::MESSAGES, frames)
        }
        _ => list(&app, &params).await?,
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    Ok(response)
}

async fn list(app: &App, params: &Params) -> Result<Response, ApiError> {
    let limit = limit(params)?;
    let before = params.get("before")?.map_or(Before::Newest, Before::Message);
    // One more than the page shows, to know whether there is a next one.
    let messages = app.producers.messages.list(before, limit + 1).await?;
    let mut messages = messages.ok_or_else(|| {
        let detail = "No message has the id in `before`. Page back from the id of a message that is kept.";
        ApiError::Invalid(detail.into())
    })?;
    let more = messages.len() > limit;
    messages.truncate(limit);
    let last = messages.last().filter(|_| more);
    let next = last.map(|last| format!("{}?limit={limit}&before={}", paths::MESSAGES, last.id));
    // Only the newest page ends where the hub goes on.
    let link = matches!(before, Before::Newest).then(|| link(app, &messages)).flatten();
    let mut response = Json(MessageList { messages, next }).into_response();
    response.headers_mut().extend(link.map(|link| (header::LINK, link)));
    Ok(response)
}

/// Where the hub goes on after the newest messages, newest first.
pub(super) fn link(app: &App, messages: &[Message]) -> Option<HeaderValue> {
    app.mercure.link(messages.first().map(|newest| &*newest.id), "; content-type=\"application/json\"")
}

fn limit(params: &Params) -> Result<usize, ApiError> {
    let Some(text) = params.get("limit")? else { return Ok(DEFAULT_LIMIT) };
    let limit = text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(|| ApiError::Invalid(format!("`limit` must be a whole number from 1 to {MAX_LIMIT}.")))
}

async fn show(State(app): AppState, id: Result<Path<String>, PathRejection>) -> Result<Json<Message>, ApiError> {
    // What is not UTF-8 is no message's id.
    let Path(id) = id.map_err(|_| unknown())?;
    app.producers.messages.get(&id).await?.map(Json).ok_or_else(unknown)
}

pub(super) fn unknown() -> ApiError {
    ApiError::NotFound("No message has this id. It may be mistyped, or too old to be kept.".into())
}
