//! What operators measure: a handle for each figure, with fixed labels. Any room may name this one.
//!
//! Figures that somebody else keeps anyway are read when they are asked for ([`record`]).

mod handles;
mod names;

use std::sync::OnceLock;

use metrics::gauge;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;
use tokio::runtime::Handle;

pub use handles::{CONNECTIONS, LOG, STREAMS, TLS, UPDATES, refused, stream_ended};
pub use names::{NAMES, UPPER_BOUNDS};

/// The media type of Prometheus's text format.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

static EXPORTER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Begins to count, once in a process: what happened before is in no figure.
pub fn install() {
    EXPORTER.get_or_init(|| {
        let mut builder = PrometheusBuilder::new();
        for (name, bounds) in UPPER_BOUNDS {
            builder = builder.set_buckets_for_metric(Matcher::Full(name.into()), bounds).ok()?;
        }
        let exporter = builder.install_recorder().ok()?;
        names::describe();
        Collector::default().describe();
        gauge!("tidings_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        Some(exporter)
    });
}

/// All figures, in Prometheus's text format; empty before [`install`].
pub fn render() -> String {
    let Some(exporter) = EXPORTER.get().and_then(Option::as_ref) else { return String::new() };
    Collector::default().collect();
    if let Ok(runtime) = Handle::try_current() {
        let figures = runtime.metrics();
        gauge!("tidings_runtime_workers").set(figures.num_workers() as f64);
        gauge!("tidings_runtime_tasks").set(figures.num_alive_tasks() as f64);
        gauge!("tidings_runtime_queued_tasks").set(figures.global_queue_depth() as f64);
    }
    exporter.render()
}

/// Puts what histograms have collected in order: to be called every few seconds, or they grow.
pub fn upkeep() {
    if let Some(exporter) = EXPORTER.get().and_then(Option::as_ref) {
        exporter.run_upkeep();
    }
}

/// Records a figure that is read when it is asked for.
pub fn record(name: &'static str, value: f64) {
    gauge!(name).set(value);
}
