//! `/`: the page, the one-second clock or the welcome document, by `Accept`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::accept::{EVENT_STREAM, HTML, JSON, negotiate};
use super::error::ApiError;
use super::{App, AppState, messages, pages};
use crate::server::demo::{Before, Tick};
use crate::ui::{PageData, Refused};
use crate::wire::paths;

/// How many messages the page has in it when it arrives.
const RECENT: usize = 50;

pub(super) fn router() -> Router<Arc<App>> {
    Router::new().route(paths::ROOT, get(root))
}

async fn root(State(app): AppState, method: Method, headers: HeaderMap) -> Response {
    let mut response = match negotiate(&headers, &[HTML, EVENT_STREAM, JSON]) {
        EVENT_STREAM => {
            let frames = app.producers.ticker.stream(Tick::Clock);
            app.stream(&method, paths::ROOT, frames)
        }
        JSON => Json(welcome()).into_response(),
        _ => page(&app, &headers, None).await,
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    response
}

/// The page with the recent messages; with `draft`, under its problem's status.
pub(super) async fn page(app: &App, headers: &HeaderMap, draft: Option<Refused>) -> Response {
    let status = draft.as_ref().and_then(|draft| StatusCode::from_u16(draft.problem.status).ok());
    let messages = match app.producers.messages.list(Before::Newest, RECENT).await {
        Ok(messages) => messages.unwrap_or_default(),
        Err(error) => return ApiError::from(error).into_response(),
    };
    let data = PageData {
        messages,
        draft,
        origin: origin(headers),
        max_bytes: app.max_message,
        repeat: app.repeat,
        version: env!("CARGO_PKG_VERSION").into(),
    };
    let link = messages::link(app, &data.messages);
    let mut response = pages::render(data, app.assets.clone(), status.unwrap_or(StatusCode::OK)).await;
    response.headers_mut().extend(link.map(|link| (header::LINK, link)));
    response
}

/// How the visitor reaches this server, as far as the request tells.
pub(super) fn origin(headers: &HeaderMap) -> String {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let host = text("host").filter(|host| host.bytes().all(is_host_byte)).unwrap_or("127.0.0.1:3000");
    let scheme = text("x-forwarded-proto").filter(|scheme| *scheme == "https").unwrap_or("http");
    format!("{scheme}://{host}")
}

/// What a host and port may hold. The origin stands in shell commands that visitors copy: a forged
/// `Host` must not bring its own.
fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte)
}

fn welcome() -> Value {
    json!({
        "name": "tidings",
        "version": env!("CARGO_PKG_VERSION"),
        "welcome": "One POST, and everyone who listens has the tidings, over Server-Sent Events.",
        "links": {
            "page": paths::ROOT,
            "client": paths::CLIENT,
            "ping": paths::PING,
            "messages": paths::MESSAGES,
            "publish": paths::PUBLISH,
            "stream": paths::STREAM,
            "clock": paths::CLOCK,
            "remote": paths::REMOTE,
            "sse": paths::SSE,
            "counter": paths::COUNTER,
            "hub": paths::HUB,
            "metadata": paths::RESOURCE_METADATA,
            "openapi": paths::OPENAPI,
            "docs": paths::DOCS,
        },
    })
}
