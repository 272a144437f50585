//! The demo: five small systems of messages, bursts, clocks and a counter. It has its own producers, routes and page,
//! publishes through the hub as any client does, and uses the plumbing of `http`, which knows nothing of it.

mod error;
mod off;
mod page;
mod producers;
mod routes;
mod submission;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;

use super::http::App;
use super::http::error::ApiError;
use super::hub::Hub;
use super::log::FieldError;
use super::settings::DemoSettings;
use crate::wire::message::{Message, MessageText};
pub(super) use off::switched_off;
pub use producers::{BurstOptions, Bursts, Messages, Resume};
use producers::{Ticker, local_time};
use submission::AcceptedBodies;

/// The description of the demo's addresses: parts of an OpenAPI document.
pub(super) const OPENAPI: &[&str] = &[
    include_str!("openapi/messages.json"),
    include_str!("openapi/streams.json"),
    include_str!("openapi/page.json"),
    include_str!("openapi/shared.json"),
];

/// What the demo's handlers need.
pub(super) struct Demo {
    app: Arc<App>,
    settings: DemoSettings,
    messages: Messages,
    bursts: Bursts,
    ticker: Ticker,
}

type DemoState = State<Arc<Demo>>;

impl Demo {
    /// Starts the demo's producers. Call it within a tokio runtime.
    pub(super) fn start(app: Arc<App>, hub: Hub, settings: DemoSettings) -> Result<Arc<Self>, FieldError> {
        let messages = Messages::new(hub)?;
        let burst = BurstOptions { repeat: settings.burst_repeat, interval: settings.burst_interval };
        let bursts = Bursts::new(messages.clone(), burst);
        let ticker = Ticker::start(local_time());
        Ok(Arc::new(Self { app, settings, messages, bursts, ticker }))
    }

    /// The same on another plumbing: its producers go on.
    pub(super) fn with_app(&self, app: Arc<App>) -> Arc<Self> {
        let Self { settings, messages, bursts, ticker, .. } = self;
        let (messages, bursts, ticker) = (messages.clone(), bursts.clone(), ticker.clone());
        Arc::new(Self { app, settings: *settings, messages, bursts, ticker })
    }

    /// The demo's routes.
    pub(super) fn router(self: Arc<Self>) -> Router<Arc<App>> {
        routes::router().with_state(self)
    }

    /// Reads the text of a submission. A submission from a page of another site is refused unread.
    async fn read(&self, headers: &HeaderMap, body: Body, accepted: AcceptedBodies) -> Result<String, ApiError> {
        self.app.check_page(headers)?;
        submission::read(headers, body, accepted, self.app.max_body()).await
    }

    /// Publishes a text as a message, if it is valid and within the client's rate limit.
    async fn publish(&self, peer: SocketAddr, text: String) -> Result<Message, ApiError> {
        self.app.check_rate(peer)?;
        let text = MessageText::parse(text, self.settings.max_message)?;
        Ok(self.messages.publish(text).await?)
    }
}
