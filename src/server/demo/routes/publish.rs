//! `/publish`: publishes a message from a script.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::HeaderMap;
use axum::routing::post;

use crate::server::demo::submission::AcceptedBodies;
use crate::server::demo::{Demo, DemoState};
use crate::server::http::Peer;
use crate::server::http::error::ApiError;
use crate::wire::paths;

pub(super) fn router() -> Router<Arc<Demo>> {
    Router::new().route(paths::PUBLISH, post(publish))
}

/// Responds with the message's id as a line of text.
async fn publish(
    State(demo): DemoState,
    ConnectInfo(peer): Peer,
    headers: HeaderMap,
    body: Body,
) -> Result<String, ApiError> {
    let text = demo.read(&headers, body, AcceptedBodies::Lenient).await?;
    let message = demo.publish(peer, text).await?;
    Ok(message.id + "\n")
}
