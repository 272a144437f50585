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
use super::params::Params;
use super::{App, AppState, messages, sse_body};
use crate::server::demo::{Counter, Resume, Tick};
use crate::server::hub::SessionOptions;
use crate::wire::paths;

/// The spelling some polyfills use; it gives way to the protocol's own.
const LAST_EVENT_ID_ALIAS: &str = "lastEventId";

pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route(paths::STREAM, get(burst))
        .route(paths::CLOCK, tick(paths::CLOCK, Tick::Clock))
        .route(paths::REMOTE, tick(paths::REMOTE, Tick::Remote))
        .route(paths::SSE, tick(paths::SSE, Tick::Sse))
        .route(paths::COUNTER, get(counter))
}

/// The event id a client comes back with: the header's, which `EventSource` sends by itself, or the query's.
pub(super) fn last_event_id(headers: &HeaderMap, params: &Params) -> Option<String> {
    let header = headers.get("last-event-id").map(|value| utf_8_or_latin_1(value.as_bytes()));
    let query = || params.get(paths::LAST_EVENT_ID).or_else(|| params.get(LAST_EVENT_ID_ALIAS)).map(str::to_owned);
    header.or_else(query).filter(|id| !id.is_empty())
}

/// What a header says: an `EventSource` sends an id as UTF-8, a script's `fetch` as Latin-1.
fn utf_8_or_latin_1(value: &[u8]) -> String {
    str::from_utf8(value).map_or_else(|_| value.iter().copied().map(char::from).collect(), str::to_owned)
}

async fn burst(State(app): AppState, method: Method, headers: HeaderMap, params: Params) -> Result<Response, ApiError> {
    let bursts = &app.producers.bursts;
    let last = last_event_id(&headers, &params);
    let Some(message) = params.get("message") else {
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

async fn counter(State(app): AppState, method: Method, headers: HeaderMap, params: Params) -> Response {
    app.stream(&method, paths::COUNTER, Counter::after(last_event_id(&headers, &params).as_deref()))
}

impl App {
    /// The response that carries these frames.
    pub(super) fn stream<S>(&self, method: &Method, name: &'static str, frames: S) -> Response
    where
        S: Stream<Item = Bytes> + Send + Unpin + 'static,
    {
        if method == Method::HEAD {
            return sse_body::respond_to_head();
        }
        match self.mercure.session(SessionOptions::default()) {
            Ok(session) => sse_body::respond(name, frames, session),
            Err(error) => error.into_response(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_understood_as_an_event_source_sends_it_and_as_fetch_does() {
        for (sent, id) in [(&b"7"[..], "7"), ("größe-Ω".as_bytes(), "größe-Ω"), (b"gr\xf6\xdfe", "größe")] {
            assert_eq!(utf_8_or_latin_1(sent), id);
        }
    }
}
