//! A token, exchanged for what may stand in a URL: a ticket, good for one stream that is opened soon.
//!
//! An `EventSource` of another site can neither send a header nor our cookie, and a token in a URL ends up in logs.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::json;

use crate::server::auth::TICKET_LIFETIME;
use crate::server::http::error::ApiError;
use crate::server::http::{App, AppState};
use crate::wire::paths;

pub(super) fn router() -> Router<Arc<App>> {
    Router::new().route(paths::TICKETS, post(issue))
}

async fn issue(State(app): AppState, headers: HeaderMap) -> Result<Response, ApiError> {
    let hub = &app.mercure;
    // By the header alone: a cookie's browser needs no ticket, and another site could have it ask for one.
    let token = hub.bearer_token(&headers).await?;
    let token = token.ok_or_else(|| hub.token_needed("A ticket is given for a token in the Authorization header."))?;
    let ticket = hub.auth.issue_ticket(token).await.map_err(|error| hub.ticket_refused(&error))?;
    let body = json!({ "ticket": ticket, "expires_in": TICKET_LIFETIME.as_secs() });
    let mut response = (StatusCode::CREATED, Json(body)).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
