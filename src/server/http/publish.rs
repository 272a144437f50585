//! `/publish`: the helper that publishes a message from a script.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::HeaderMap;
use axum::routing::post;

use super::error::ApiError;
use super::submission::{self, Kinds};
use super::{App, AppState, Peer};
use crate::wire::message::{Message, Text};
use crate::wire::paths;

pub(super) fn router() -> Router<Arc<App>> {
    Router::new().route(paths::PUBLISH, post(publish))
}

/// Answers the message's id as plain text.
async fn publish(
    State(app): AppState,
    ConnectInfo(peer): Peer,
    headers: HeaderMap,
    body: Body,
) -> Result<String, ApiError> {
    let text = submission::read(&headers, body, Kinds::Helper, app.max_body).await?;
    app.publish(peer, text).await.map(|message| message.id)
}

impl App {
    /// Publishes a text as a message, if it is one and its sender is not too fast.
    pub(super) async fn publish(&self, peer: std::net::SocketAddr, text: String) -> Result<Message, ApiError> {
        self.limit.check(peer.ip())?;
        let text = Text::parse(text, self.max_message)?;
        Ok(self.producers.messages.publish(text).await?)
    }
}
