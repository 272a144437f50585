//! The server: native only.

pub mod client;
pub mod demo;
mod http;
pub mod hub;
pub mod log;
pub mod settings;
pub mod telemetry;

use thiserror::Error;
use tokio::net::TcpListener;
use tracing::info;

use demo::{Bursts, Messages, Ticker};
use hub::Hub;
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
    let (log, tail) = log::open(settings.log.clone())?;
    let hub = Hub::open(log, tail, settings.reader_buffer);
    let messages = Messages::new(hub)?;
    let producers = http::Producers {
        bursts: Bursts::new(messages.clone(), settings.burst),
        ticker: Ticker::start(demo::local_time()),
        messages,
    };
    let cut = http::serve(listener, &settings, producers, shutdown).await;
    info!(cut, "the server has stopped");
    Ok(Ended { cut })
}
