//! `/api/ping`: is the server there?

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

use super::{App, AppState};
use crate::wire::paths;

pub(super) fn router() -> Router<std::sync::Arc<App>> {
    Router::new().route(paths::PING, get(ping))
}

#[derive(Serialize)]
struct Ping {
    status: &'static str,
    version: &'static str,
    uptime_seconds: u64,
}

async fn ping(State(app): AppState) -> Json<Ping> {
    let uptime_seconds = app.started.elapsed().as_secs();
    Json(Ping { status: "ok", version: env!("CARGO_PKG_VERSION"), uptime_seconds })
}
