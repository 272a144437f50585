//! The demo's streams: bursts, ticks and the counter.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use futures_util::Stream;

use super::error::ApiError;
use super::last_event_id::LastEventId;
use super::params::Params;
use super::{App, AppState, messages, outlet};
use crate::server::demo::{Counter, Resume, Tick};
use crate::wire::paths;

pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route(paths::STREAM, get(burst))
        .route(paths::CLOCK, tick(paths::CLOCK, Tick::Clock))
        .route(paths::REMOTE, tick(paths::REMOTE, Tick::Remote))
        .route(paths::SSE, tick(paths::SSE, Tick::Sse))
        .route(paths::COUNTER, get(counter))
}

async fn burst(State(app): AppState, method: Method, headers: HeaderMap, params: Params) -> Result<Response, ApiError> {
    let bursts = &app.producers.bursts;
    let last = LastEventId::of(&headers, &params)?.id();
    let Some(message) = params.get("message")? else {
        let next = bursts.next(last.as_deref()).await?;
        return Ok(app.stream(&method, paths::STREAM, next));
    };
    match bursts.of(message, last.as_deref()).await? {
        Resume::Burst(burst) => Ok(app.stream(&method, paths::STREAM, burst)),
        // An `EventSource` comes back after every end but this one.
        Resume::Ended => Ok(StatusCode::NO_CONTENT.into_response()),
        Resume::Unknown => Err(messages::unknown()),
    }
}

fn tick(path: &'static str, tick: Tick) -> MethodRouter<Arc<App>> {
    get(async move |State(app): AppState, method: Method| app.stream(&method, path, app.producers.ticker.stream(tick)))
}

async fn counter(
    State(app): AppState,
    method: Method,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, ApiError> {
    let last = LastEventId::of(&headers, &params)?.id();
    Ok(app.stream(&method, paths::COUNTER, Counter::after(last.as_deref())))
}

impl App {
    /// The response that carries these frames.
    pub(super) fn stream<S>(&self, method: &Method, name: &'static str, frames: S) -> Response
    where
        S: Stream<Item = Bytes> + Send + Unpin + 'static,
    {
        outlet::respond(method, name, frames, self.heartbeat, &self.drain)
    }
}
