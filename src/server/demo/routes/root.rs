//! `/`: the page, the one-second clock or the welcome document, by `Accept`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::server::demo::page::page;
use crate::server::demo::producers::Tick;
use crate::server::demo::{Demo, DemoState};
use crate::server::http::StreamRequest;
use crate::server::http::accept::{EVENT_STREAM, HTML, JSON, negotiate};
use crate::server::http::welcome;
use crate::wire::paths;

/// The addresses of the demo, as the welcome document names them.
const LINKS: [(&str, &str); 9] = [
    ("page", paths::ROOT),
    ("client", paths::CLIENT),
    ("messages", paths::MESSAGES),
    ("publish", paths::PUBLISH),
    ("stream", paths::STREAM),
    ("clock", paths::CLOCK),
    ("remote", paths::REMOTE),
    ("sse", paths::SSE),
    ("counter", paths::COUNTER),
];

pub(super) fn router() -> Router<Arc<Demo>> {
    Router::new().route(paths::ROOT, get(root))
}

async fn root(State(demo): DemoState, request: StreamRequest, headers: HeaderMap) -> Response {
    let mut response = match negotiate(&headers, &[HTML, EVENT_STREAM, JSON]) {
        EVENT_STREAM => {
            let frames = demo.ticker.stream(Tick::Clock);
            demo.app.stream(&request, paths::ROOT, frames)
        }
        JSON => welcome::document(&LINKS).into_response(),
        _ => page(&demo, &headers, None).await,
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    response
}
