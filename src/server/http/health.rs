//! Whether the server lives, and whether it is ready for clients: for balancers, orchestrators and operators.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use chrono::Utc;
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::callers::Callers;
use super::{App, cache};
use crate::server::auth::Auth;
use crate::server::hub::{Behind, Hub};
use crate::server::log::{LogFigures, StreamStatus};
use crate::server::metrics;
use crate::server::net::Tls;
use crate::wire::paths;

/// How long an answer is good for: however many ask, the parts are asked no more often.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// How long the log may take to answer, and the fan-out to be where the log is.
const PATIENCE: Duration = Duration::from_secs(2);

/// With less room than this the log will soon take no more updates.
const LITTLE_ROOM: u64 = 256 << 20;

/// What the parts of the server say of themselves.
pub(super) struct Health {
    hub: Hub,
    auth: Arc<Auth>,
    tls: Option<Arc<Tls>>,
    callers: Arc<Callers>,
    is_draining: AtomicBool,
    last: Mutex<Option<(Instant, Arc<Report>)>>,
}

/// Whether the server is ready, and each part's state.
#[derive(Serialize)]
struct Report {
    status: &'static str,
    version: &'static str,
    parts: BTreeMap<&'static str, Part>,
}

/// The state of one part.
#[derive(Serialize)]
struct Part {
    status: PartStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum PartStatus {
    Ok,
    /// Clients are served; an operator should look.
    Warning,
    /// Clients are not served as they should be.
    Failing,
}

pub(super) fn router() -> Router<Arc<App>> {
    Router::new().route(paths::LIVE, get(live)).route(paths::READY, get(ready))
}

/// The metrics, for those who collect them.
pub(super) fn metrics_router() -> Router<Arc<App>> {
    Router::new().route(paths::METRICS, get(figures))
}

async fn live() -> Response {
    ([(header::CACHE_CONTROL, cache::PRIVATE)], "ok\n").into_response()
}

async fn ready(State(app): State<Arc<App>>) -> Response {
    let report = app.health.report().await;
    let status = if report.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CACHE_CONTROL, cache::PRIVATE)], Json(&*report)).into_response()
}

async fn figures(State(app): State<Arc<App>>) -> Response {
    app.health.record().await;
    ([(header::CONTENT_TYPE, metrics::MEDIA_TYPE)], metrics::render()).into_response()
}

impl Health {
    pub(super) fn new(hub: Hub, auth: Arc<Auth>, tls: Option<Arc<Tls>>, callers: Arc<Callers>) -> Self {
        Self { hub, auth, tls, callers, is_draining: AtomicBool::new(false), last: Mutex::default() }
    }

    /// The server is about to stop: it isn't ready any more.
    pub(super) fn begin_drain(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    /// What the parts say, asked no more often than every second.
    async fn report(&self) -> Arc<Report> {
        let mut last = self.last.lock().await;
        if let Some((asked, report)) = &*last
            && asked.elapsed() < GOOD_FOR
            && !(report.is_ready() && self.is_draining())
        {
            return report.clone();
        }
        let report = Arc::new(self.ask().await);
        *last = Some((Instant::now(), report.clone()));
        report
    }

    async fn ask(&self) -> Report {
        let figures = self.log_figures().await;
        let mut parts = BTreeMap::from([
            ("log", self.log().await),
            ("delivery", self.delivery().await),
            ("streams", self.streams()),
            ("disk", disk(figures.as_ref())),
            ("keys", self.keys()),
            ("certificates", self.certificates()),
            ("proxies", self.proxies()),
            ("drain", self.drain()),
        ]);
        if let Some(stream) = self.hub.log().stream() {
            parts.insert("cluster", cluster(&stream));
        }
        let is_failing = parts.values().any(|part| part.status == PartStatus::Failing);
        let status = if is_failing { "not ready" } else { "ready" };
        Report { status, version: env!("CARGO_PKG_VERSION"), parts }
    }

    async fn log(&self) -> Part {
        let asked = Instant::now();
        match timeout(PATIENCE, self.hub.log().answers()).await {
            Err(_) => Part::failing(format!("the log has not answered for {} s", PATIENCE.as_secs())),
            Ok(Err(error)) => Part::failing(error.to_string()),
            Ok(Ok(())) => match self.hub.log().health() {
                Ok(()) => Part::ok(format!("its writer has answered in {} ms", milliseconds(asked.elapsed()))),
                Err(error) => Part::failing(error.to_string()),
            },
        }
    }

    /// No warning: a client that reads slowly is its own affair.
    fn streams(&self) -> Part {
        match self.hub.behind() {
            Behind { sessions: 0, .. } => Part::OK,
            Behind { sessions, updates } => {
                Part::ok(format!("clients that are behind: {sessions}; the furthest has {updates} entries to look at"))
            }
        }
    }

    async fn delivery(&self) -> Part {
        let asked = Instant::now();
        match timeout(PATIENCE, self.hub.catch_up()).await {
            Ok(()) => Part::ok(format!("the fan-out has caught up in {} ms", milliseconds(asked.elapsed()))),
            Err(_) => Part::failing(format!(
                "updates that were acknowledged {} s ago are not delivered yet",
                PATIENCE.as_secs()
            )),
        }
    }

    fn keys(&self) -> Part {
        match self.auth.failing_issuers() {
            failing if failing.is_empty() => Part::OK,
            failing => Part::warning(format!("the keys of {} can't be fetched", failing.join(", "))),
        }
    }

    fn certificates(&self) -> Part {
        match self.tls.as_ref().and_then(|tls| tls.expires()) {
            Some(expires) if expires <= Utc::now() => Part::failing(format!("a certificate has expired at {expires}")),
            Some(expires) => Part::ok(format!("the first expires at {expires}")),
            None if self.tls.is_some() => Part::failing("there is no certificate yet: the log says why".into()),
            None => Part::OK,
        }
    }

    fn proxies(&self) -> Part {
        match self.callers.ignored() {
            Some(peer) => Part::warning(format!(
                "requests from {peer} say that they were forwarded, but it is no trusted proxy: all who come that way \
                 count as one client. If it is your proxy, name it with --trusted-proxies"
            )),
            None => Part::OK,
        }
    }

    fn drain(&self) -> Part {
        match self.is_draining() {
            true => Part::failing("the server stops".into()),
            false => Part::OK,
        }
    }

    async fn log_figures(&self) -> Option<LogFigures> {
        let hub = self.hub.clone();
        tokio::task::spawn_blocking(move || hub.log().figures()).await.ok()
    }

    /// Records the figures that are read when they are asked for.
    async fn record(&self) {
        metrics::record("tidings_ready", f64::from(u8::from(self.report().await.is_ready())));
        if let Some(expires) = self.tls.as_ref().and_then(|tls| tls.expires()) {
            metrics::record("tidings_certificate_expires_timestamp_seconds", expires.timestamp() as f64);
        }
        let takes_updates = self.hub.log().health().is_ok();
        metrics::record("tidings_log_takes_updates", f64::from(u8::from(takes_updates)));
        metrics::record("tidings_log_newest", self.hub.log().bounds().newest.0 as f64);
        if let Some(stream) = self.hub.log().stream() {
            for (name, value) in [
                ("tidings_cluster_applied", stream.applied),
                ("tidings_cluster_lag", stream.lag()),
                ("tidings_cluster_epoch", stream.epoch),
                ("tidings_cluster_servers", stream.replicas as u64),
                ("tidings_cluster_current_servers", stream.current as u64),
            ] {
                metrics::record(name, value as f64);
            }
        }
        let Some(log) = self.log_figures().await else { return };
        for (name, value) in [
            ("tidings_log_updates", log.updates.count),
            ("tidings_log_bytes", log.updates.bytes),
            ("tidings_log_own_events", log.system.count),
            ("tidings_log_own_bytes", log.system.bytes),
            ("tidings_log_file_bytes", log.file_bytes),
            ("tidings_log_waiting_bytes", log.waiting_bytes),
        ] {
            metrics::record(name, value as f64);
        }
        if let Some(free) = log.free_bytes {
            metrics::record("tidings_disk_free_bytes", free as f64);
        }
    }
}

/// The part `log` says whether updates are accepted.
fn cluster(stream: &StreamStatus) -> Part {
    let StreamStatus { name, applied, replicas, current, epoch, .. } = stream;
    let leader = stream.leader.as_deref().unwrap_or("none");
    let state = format!(
        "copied up to message {applied} of the stream {name}, {} to go; leader {leader}; {current} of {replicas} servers have \
         all messages; epoch {epoch}",
        stream.lag()
    );
    match stream.concern() {
        Some(concern) => Part::warning(format!("{concern} ({state})")),
        None => Part::ok(state),
    }
}

fn disk(figures: Option<&LogFigures>) -> Part {
    match figures.and_then(|figures| figures.free_bytes) {
        Some(free) if free < LITTLE_ROOM => Part::warning(format!("{} MiB are free", free >> 20)),
        _ => Part::OK,
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

impl Report {
    fn is_ready(&self) -> bool {
        self.status == "ready"
    }
}

impl Part {
    const OK: Self = Self { status: PartStatus::Ok, detail: None };

    fn ok(detail: String) -> Self {
        Self { status: PartStatus::Ok, detail: Some(detail) }
    }

    fn warning(detail: String) -> Self {
        Self { status: PartStatus::Warning, detail: Some(detail) }
    }

    fn failing(detail: String) -> Self {
        Self { status: PartStatus::Failing, detail: Some(detail) }
    }
}
