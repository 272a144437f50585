//! The server: native only.

pub mod auth;
pub mod cli;
pub mod demo;
mod http;
pub mod hub;
pub mod log;
pub mod metrics;
mod net;
pub mod settings;
pub mod telemetry;
mod this_machine;
pub mod traces;

use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use thiserror::Error;
use tokio::time::timeout;
use tracing::{info, warn};
use url::Url;

use auth::{Auth, AuthError, AuthOptions};
use demo::Demo;
use http::{Description, Listeners, Routes, Serving};
use hub::{Hub, HubOptions, Patterns};
pub use net::{BindError, Listener};
use net::{Scheme, SelfSigned, Tls};
use settings::{Drain, Settings, TlsSettings};
use traces::{Traces, TracesError};

/// How long the last presence events may take at a shutdown: a disk that hangs must not hold it up.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the last traces may take at a shutdown.
const TRACES_TIMEOUT: Duration = Duration::from_millis(1500);

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
    /// The metrics can't be served.
    #[error("--metrics-listen: {0}")]
    Bind(#[from] BindError),
    /// A certificate can't be used.
    #[error(transparent)]
    Tls(#[from] net::TlsError),
    /// Traces can't be exported.
    #[error(transparent)]
    Traces(#[from] TracesError),
    /// The demo's topic is invalid.
    #[error("the messages' topic is invalid: {0}")]
    Topic(#[from] log::FieldError),
}

/// A certificate that is no authority's.
#[derive(Clone, Debug)]
pub struct OwnCertificate {
    /// Where it is, in PEM.
    pub file: PathBuf,
    /// Its SHA-256, as browsers show it.
    pub fingerprint: String,
}

/// Changes what can change while the server runs.
pub struct Reload {
    tls: Option<Arc<Tls>>,
    auth: Arc<Auth>,
    /// Not held: the log is closed when the server has ended, whoever could still reload it.
    serving: Weak<Serving>,
    demo: Option<Weak<Demo>>,
}

impl Reload {
    /// Serves with these settings from now on, as far as they take effect at once ([`settings::Reloader`]).
    pub fn take_over(&self, settings: &Settings) {
        let Some(serving) = self.serving.upgrade() else { return };
        let app = serving.app().with_settings(settings);
        let demo = self.demo.as_ref().and_then(Weak::upgrade).map(|demo| demo.with_app(app.clone()));
        serving.replace(app, routes(demo), settings);
    }

    /// Reads the files of keys and certificates again, and says what can't be used: that stays as it was.
    pub async fn read_files(&self) {
        let auth = self.auth.clone();
        _ = tokio::task::spawn_blocking(move || auth.reload()).await;
        if let Some(tls) = &self.tls {
            tls.reload().await;
        }
    }
}

/// A server whose log is open and whose keys are there. It holds the data folder.
pub struct Server {
    hub: Hub,
    serving: Arc<Serving>,
    demo: Option<Arc<Demo>>,
    auth: Arc<Auth>,
    listeners: Listeners,
    tls: Option<Arc<Tls>>,
    settings: Settings,
}

impl Server {
    /// Makes a server that will serve on these listeners. Call it within a tokio runtime.
    pub fn open(settings: Settings, listeners: Vec<Listener>) -> Result<Self, StartError> {
        metrics::install();
        let tls = settings.tls.as_ref().map(TlsSettings::open).transpose()?.map(Arc::new);
        let url = settings.mercure.url(listeners.iter().find_map(Listener::url));
        let clock = settings.log.clock.wall();
        let traces = settings.traces.as_ref().map(Traces::open).transpose()?.unwrap_or_default();
        let (log, tail) = log::open(settings.log.clone())?;
        let options = HubOptions {
            url: url.clone(),
            reader_buffer: settings.reader_buffer,
            heartbeat: settings.heartbeat,
            shards: settings.shards,
            presence: settings.mercure.presence,
            traces,
            ..HubOptions::default()
        };
        let hub = Hub::open(log, tail, options);
        let auth = Auth::open(auth_options(&settings, &url), hub.patterns().clone(), clock)?;
        http::handle_control_messages(&hub, &auth);
        let description = Description::new(if settings.demo.is_some() { demo::OPENAPI } else { &[] });
        let app = http::App::new(&settings, hub.clone(), auth.clone(), tls.clone(), description);
        let demo = settings.demo.map(|demo| Demo::start(app.clone(), hub.clone(), demo)).transpose()?;
        let mut operators = Vec::new();
        for address in &settings.metrics_listen {
            operators.extend(address.bind(Scheme::Http)?);
        }
        let listeners = Listeners { clients: listeners, operators };
        let serving = Serving::new(app, routes(demo.clone()), &listeners, tls.clone(), &settings);
        Ok(Self { hub, serving, demo, auth, listeners, tls, settings })
    }

    /// Whether a server would start with these settings, as far as their keys and certificates say. It makes none.
    pub fn check(settings: &Settings) -> Result<(), StartError> {
        if let Some(TlsSettings::Files(files)) = &settings.tls {
            Tls::open(files.clone())?;
        }
        if let Some(traces) = &settings.traces {
            traces.check().map_err(TracesError::from)?;
        }
        let url = settings.mercure.url(settings.listening_url());
        let patterns = Arc::new(Patterns::new(url.clone()));
        match Auth::open_read_only(auth_options(settings, &url), patterns) {
            // It is made at the first start.
            Ok(_) | Err(AuthError::NoKey { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The addresses at which operators find metrics and health.
    pub fn metrics_addresses(&self) -> Vec<String> {
        self.listeners.operators.iter().map(Listener::to_string).collect()
    }

    /// The hub's public URL.
    pub fn url(&self) -> &Url {
        self.hub.url()
    }

    /// The certificate that the server has made for itself, which clients have to be told to trust.
    pub fn own_certificate(&self) -> Option<OwnCertificate> {
        let Some(TlsSettings::SelfSigned(folder)) = &self.settings.tls else { return None };
        let SelfSigned { files, fingerprint } = SelfSigned::open(folder).ok()?;
        Some(OwnCertificate { file: files.certificate, fingerprint })
    }

    /// What changes what can change.
    pub fn reload(&self) -> Reload {
        let (serving, demo) = (Arc::downgrade(&self.serving), self.demo.as_ref().map(Arc::downgrade));
        Reload { tls: self.tls.clone(), auth: self.auth.clone(), serving, demo }
    }

    /// How the server would stop now.
    pub fn drain(&self) -> impl Fn() -> Drain + use<> {
        let (serving, drain) = (Arc::downgrade(&self.serving), self.settings.drain);
        move || serving.upgrade().map_or(drain, |serving| serving.drain())
    }

    /// What it was made with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Serves until `shutdown` is ready. Then ends every stream and waits a few seconds at most for the connections to
    /// end.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Ended {
        let Self { hub, serving, demo: _demo, listeners, tls, settings, .. } = self;
        let watched = tls.clone().map(|tls| tokio::spawn(async move { tls.watch().await }));
        let cut = serving.run(listeners, &settings, shutdown).await;
        if let Some(watched) = watched {
            watched.abort();
        }
        // The streams have ended with the server: their presence events are published for clients that reconnect later.
        if timeout(CLOSE_TIMEOUT, hub.close()).await.is_err() {
            warn!("the last presence events were not published in time");
        }
        hub.traces().close(TRACES_TIMEOUT).await;
        info!(cut, "the server has stopped");
        Ended { cut }
    }
}

/// The nodes of a cluster derive their generated keys from the shared secret.
fn auth_options(settings: &Settings, url: &Url) -> AuthOptions {
    let shared = settings.log.cluster.as_ref().map(|cluster| cluster.secret.key("auth"));
    AuthOptions { shared, ..settings.mercure.auth(url, &settings.data) }
}

/// The routes beside the hub's own.
fn routes(demo: Option<Arc<Demo>>) -> Routes {
    match demo {
        Some(demo) => demo.router(),
        None => http::welcome::router().merge(demo::switched_off()),
    }
}
