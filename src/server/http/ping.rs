//! `/api/ping`: is the server there, and does its log take updates?

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

use super::error::ApiError;
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

/// Refuses as a publish would, where the log takes none.
async fn ping(State(app): AppState) -> Result<Json<Ping>, ApiError> {
    app.mercure.hub().log().health()?;
    let uptime_seconds = app.started.elapsed().as_secs();
    Ok(Json(Ping { status: "ok", version: env!("CARGO_PKG_VERSION"), uptime_seconds }))
}
