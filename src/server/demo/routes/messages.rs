//! `/api/messages`: submit a message, list or follow all messages, get one.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};

use crate::server::demo::error::message_unknown;
use crate::server::demo::page::{link, page};
use crate::server::demo::producers::Before;
use crate::server::demo::submission::AcceptedBodies;
use crate::server::demo::{Demo, DemoState};
use crate::server::http::Peer;
use crate::server::http::StreamRequest;
use crate::server::http::accept::{EVENT_STREAM, HTML, JSON, negotiate};
use crate::server::http::error::ApiError;
use crate::server::http::last_event_id::LastEventId;
use crate::server::http::params::Params;
use crate::ui::demo::Refused;
use crate::wire::message::{Message, MessageList};
use crate::wire::paths;

/// Maximum number of messages on a page of the list.
const MAX_LIMIT: usize = 200;
const DEFAULT_LIMIT: usize = 50;

pub(super) fn router() -> Router<Arc<Demo>> {
    Router::new().route(paths::MESSAGES, post(submit).get(list_or_follow)).route(&paths::message("{id}"), get(show))
}

/// Publishes a message. A browser's form post is redirected to the message on the page. If the message is refused, the
/// response is the page with the text still in the form, and what was wrong with it.
async fn submit(State(demo): DemoState, ConnectInfo(peer): Peer, headers: HeaderMap, body: Body) -> Response {
    let wants_html = negotiate(&headers, &[JSON, HTML]) == HTML;
    let text = match demo.read(&headers, body, AcceptedBodies::Strict).await {
        Ok(text) => text,
        Err(error) if wants_html => return refused(&demo, &headers, String::new(), error).await,
        Err(error) => return error.into_response(),
    };
    match demo.publish(peer, text.clone()).await {
        Ok(message) if wants_html => Redirect::to(&format!("{}#m-{}", paths::ROOT, message.id)).into_response(),
        Ok(message) => created(&message),
        Err(error) if wants_html => refused(&demo, &headers, text, error).await,
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

async fn refused(demo: &Demo, headers: &HeaderMap, text: String, error: ApiError) -> Response {
    let mut page = page(demo, headers, Some(Refused { text, problem: error.problem() })).await;
    if let Some(after) = error.into_response().headers_mut().remove(header::RETRY_AFTER) {
        page.headers_mut().insert(header::RETRY_AFTER, after);
    }
    page
}

async fn list_or_follow(
    State(demo): DemoState,
    request: StreamRequest,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, ApiError> {
    let mut response = match negotiate(&headers, &[JSON, EVENT_STREAM]) {
        EVENT_STREAM => {
            let last = LastEventId::of(&headers, &params)?.id();
            let start = demo.messages.resume_point(last.as_deref()).await?;
            demo.app.deliver(request, paths::MESSAGES, demo.messages.wanted().clone(), start, last).await?
        }
        _ => list(&demo, &params).await?,
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    Ok(response)
}

async fn list(demo: &Demo, params: &Params) -> Result<Response, ApiError> {
    let limit = limit(params)?;
    let before = params.get("before")?.map_or(Before::Newest, Before::Message);
    // One more than the page shows: whether there is a next page.
    let messages = demo.messages.list(before, limit + 1).await?;
    let mut messages = messages.ok_or_else(|| {
        let detail = "No message has the id in `before`. Page back from the id of a message that is kept.";
        ApiError::Malformed(detail.into())
    })?;
    let more = messages.len() > limit;
    messages.truncate(limit);
    let last = messages.last().filter(|_| more);
    let next = last.map(|last| format!("{}?limit={limit}&before={}", paths::MESSAGES, last.id));
    // The hub's live events continue only the newest page.
    let link = matches!(before, Before::Newest).then(|| link(demo, &messages)).flatten();
    let mut response = Json(MessageList { messages, next }).into_response();
    response.headers_mut().extend(link.map(|link| (header::LINK, link)));
    Ok(response)
}

fn limit(params: &Params) -> Result<usize, ApiError> {
    let Some(text) = params.get("limit")? else { return Ok(DEFAULT_LIMIT) };
    let limit = text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(|| ApiError::Malformed(format!("`limit` must be a whole number from 1 to {MAX_LIMIT}.")))
}

async fn show(State(demo): DemoState, id: Result<Path<String>, PathRejection>) -> Result<Json<Message>, ApiError> {
    // An id that is not UTF-8 is not the id of a message.
    let Path(id) = id.map_err(|_| message_unknown())?;
    demo.messages.get(&id).await?.map(Json).ok_or_else(message_unknown)
}
