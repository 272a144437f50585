//! The server: native only.

pub mod auth;
pub mod cli;
pub mod demo;
mod http;
pub mod hub;
pub mod log;
mod net;
pub mod settings;
pub mod telemetry;

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tracing::{info, warn};

use auth::Auth;
use demo::Demo;
use http::Description;
use hub::{Hub, HubOptions};
use settings::Settings;

/// How long the last presence events may take at a shutdown: a disk that hangs must not hold it up.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// How the server stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Number of connections that did not end in time and were closed.
    pub cut: usize,
}

/// Why the server could not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The log could not be opened.
    #[error(transparent)]
    Log(#[from] log::OpenError),
    /// The keys of tokens can't be loaded.
    #[error(transparent)]
    Auth(#[from] auth::AuthError),
    /// The listener's address is unknown.
    #[error("the address of the listener is unknown: {0}")]
    Address(#[from] std::io::Error),
    /// The demo's topic is invalid.
    #[error("the messages' topic is invalid: {0}")]
    Topic(#[from] log::FieldError),
}

/// A server whose log is open and whose keys are there. It holds the data folder.
pub struct Server {
    hub: Hub,
    app: Arc<http::App>,
    routes: http::Routes,
    listener: TcpListener,
    settings: Settings,
}

impl Server {
    /// Makes a server that will serve on `listener`. Call it within a tokio runtime.
    pub fn open(settings: Settings, listener: TcpListener) -> Result<Self, StartError> {
        let address = listener.local_addr()?;
        let clock = settings.log.clock.wall();
        let (log, tail) = log::open(settings.log.clone())?;
        let options = HubOptions {
            url: settings.mercure.url(address),
            reader_buffer: settings.reader_buffer,
            heartbeat: settings.heartbeat,
            shards: settings.shards,
            sessions_per_client: settings.mercure.max_streams,
            presence: settings.mercure.presence,
            ..HubOptions::default()
        };
        let hub = Hub::open(log, tail, options);
        let auth = Auth::open(settings.mercure.auth(address, &settings.data), hub.patterns().clone(), clock)?;
        let description = Description::new(if settings.demo.is_some() { demo::OPENAPI } else { &[] });
        let app = http::App::new(&settings, hub.clone(), auth, description);
        let routes = match settings.demo {
            Some(demo) => Demo::start(app.clone(), hub.clone(), demo)?.router(),
            None => http::welcome::router().merge(demo::switched_off()),
        };
        Ok(Self { hub, app, routes, listener, settings })
    }

    /// What it was made with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Serves until `shutdown` is ready. Then ends every stream and waits a few seconds at most for the connections to
    /// end.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Ended {
        let Self { hub, app, routes, listener, settings } = self;
        let cut = http::serve(listener, app, routes, &settings, shutdown).await;
        // The streams have ended with the server: their presence events are published for clients that reconnect later.
        if timeout(CLOSE_TIMEOUT, hub.close()).await.is_err() {
            warn!("the last presence events were not published in time");
        }
        info!(cut, "the server has stopped");
        Ended { cut }
    }
}
