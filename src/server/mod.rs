//! The server: native only.

pub mod auth;
pub mod cli;
pub mod demo;
mod http;
pub mod hub;
pub mod log;
pub mod settings;
pub mod telemetry;

use thiserror::Error;
use tokio::net::TcpListener;
use tracing::info;

use auth::Auth;
use demo::Demo;
use hub::{Hub, HubOptions};
use settings::Settings;

/// How the server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Connections that did not end by themselves in time and were cut.
    pub cut: usize,
}

/// Why the server could not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The log could not be opened.
    #[error(transparent)]
    Log(#[from] log::OpenError),
    /// The keys of tokens can't be used.
    #[error(transparent)]
    Auth(#[from] auth::AuthError),
    /// The listener doesn't say where it listens.
    #[error("the address could not be told: {0}")]
    Address(#[from] std::io::Error),
    /// A topic's name is not one.
    #[error("the messages' topic is invalid: {0}")]
    Topic(#[from] log::FieldError),
}

/// Serves on `listener` until `shutdown` is ready, then ends every stream and waits, some seconds at most,
/// for the connections to end.
pub async fn run(
    settings: Settings,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<Ended, StartError> {
    let address = listener.local_addr()?;
    let (log, tail) = log::open(settings.log.clone())?;
    let options = HubOptions { reader_buffer: settings.reader_buffer, url: settings.mercure.url(address) };
    let hub = Hub::open(log, tail, options);
    let auth = Auth::open(settings.mercure.auth(address, &settings.data), hub.patterns().clone())?;
    let app = http::App::new(&settings, hub.clone(), auth);
    let demo = Demo::start(app.clone(), hub.clone(), settings.demo)?;
    let cut = http::serve(listener, app, demo.router(), &settings, shutdown).await;
    // The streams that have ended with the server are told of too, for whoever comes back before it does.
    hub.presence().settle().await;
    info!(cut, "the server has stopped");
    Ok(Ended { cut })
}
