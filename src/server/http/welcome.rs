//! `/` on a server that serves the hub alone: a short page, or the welcome document by `Accept`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};
use serde_json::{Map, Value, json};

use super::accept::{HTML, JSON, negotiate};
use super::{App, AppState, compress, pages};
use crate::wire::paths;

/// The addresses of the hub, as the welcome document names them.
const LINKS: [(&str, &str); 5] = [
    ("hub", paths::HUB),
    ("metadata", paths::RESOURCE_METADATA),
    ("ping", paths::PING),
    ("openapi", paths::OPENAPI),
    ("docs", paths::DOCS),
];

pub(in crate::server) fn router() -> Router<Arc<App>> {
    Router::new().route(paths::ROOT, get(root)).layer(middleware::from_fn(compress::documents))
}

async fn root(State(app): AppState, headers: HeaderMap) -> Response {
    let mut response = match negotiate(&headers, &[HTML, JSON]) {
        JSON => document(&[]).into_response(),
        _ => pages::welcome(app.assets()).await,
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    response
}

/// The welcome document: what this server is, with links to the hub's addresses and to `more`.
pub(in crate::server) fn document(more: &[(&str, &str)]) -> Json<Value> {
    let links = more.iter().chain(&LINKS).map(|&(name, path)| (name.to_owned(), path.into()));
    Json(json!({
        "name": "tidings",
        "version": env!("CARGO_PKG_VERSION"),
        "welcome": "One POST, and everyone who listens has the tidings, over Server-Sent Events.",
        "links": links.collect::<Map<_, Value>>(),
    }))
}
