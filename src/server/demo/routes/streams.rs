//! The demo's streams: bursts, ticks and the counter.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};

use crate::server::demo::error::message_unknown;
use crate::server::demo::producers::{Counter, Resume, Tick};
use crate::server::demo::{Demo, DemoState};
use crate::server::http::StreamRequest;
use crate::server::http::error::ApiError;
use crate::server::http::last_event_id::LastEventId;
use crate::server::http::params::Params;
use crate::wire::paths;

pub(super) fn router() -> Router<Arc<Demo>> {
    Router::new()
        .route(paths::STREAM, get(burst))
        .route(paths::CLOCK, tick(paths::CLOCK, Tick::Clock))
        .route(paths::REMOTE, tick(paths::REMOTE, Tick::Remote))
        .route(paths::SSE, tick(paths::SSE, Tick::Sse))
        .route(paths::COUNTER, get(counter))
}

async fn burst(
    State(demo): DemoState,
    request: StreamRequest,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, ApiError> {
    let bursts = &demo.bursts;
    let last_event_id = LastEventId::of(&headers, &params)?.id();
    let Some(message) = params.get("message")? else {
        let next = bursts.next(last_event_id.as_deref()).await?;
        return Ok(demo.app.stream(&request, paths::STREAM, next));
    };
    match bursts.resume(message, last_event_id.as_deref()).await? {
        Resume::Burst(burst) => Ok(demo.app.stream(&request, paths::STREAM, burst)),
        // An `EventSource` reconnects after any other end of a stream.
        Resume::Ended => Ok(StatusCode::NO_CONTENT.into_response()),
        Resume::Unknown => Err(message_unknown()),
    }
}

fn tick(path: &'static str, tick: Tick) -> MethodRouter<Arc<Demo>> {
    get(async move |State(demo): DemoState, request: StreamRequest| {
        demo.app.stream(&request, path, demo.ticker.stream(tick))
    })
}

async fn counter(
    State(demo): DemoState,
    request: StreamRequest,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, ApiError> {
    let last_event_id = LastEventId::of(&headers, &params)?.id();
    Ok(demo.app.stream(&request, paths::COUNTER, Counter::after(last_event_id.as_deref())))
}
