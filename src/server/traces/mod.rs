//! Traces for OpenTelemetry: from a publish to its deliveries, exported over OTLP where an endpoint is set. Any room may
//! name this one. It knows no update, no session and no request: those rooms hand it their names and numbers.
//!
//! Without an endpoint nothing of this runs. With one, spans wait in a bounded queue and a thread of its own exports them:
//! an endpoint that is slow or down loses spans, and holds up nothing.

mod deliver;
mod export;
mod headers;
mod options;
mod parent;
mod publish;
mod watch;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{SpanContext, TraceContextExt, TracerProvider};
use opentelemetry::{Context, InstrumentationScope};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use thiserror::Error;
use tracing::{info, warn};

pub use deliver::{DeliverSpan, DeliveryKind, MAX_EVENTS};
pub use headers::{HeadersError, HeadersProblem};
pub use options::TraceOptions;
pub use parent::Parent;
pub use publish::{ChildSpan, MAX_TOPIC_BYTES, MAX_TOPICS, PublishOutcome, PublishSpan};

/// Makes and exports spans. Cheap to clone. The default makes none.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<Exporting>>);

struct Exporting {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// Names a span that others continue: their spans are its children.
#[derive(Clone, Debug)]
pub struct TraceContext(SpanContext);

/// Why traces can't be exported.
#[derive(Debug, Error)]
pub enum TracesError {
    /// The file with the headers can't be used.
    #[error("--otlp-headers-file: {0}")]
    Headers(#[from] HeadersError),
    /// The client for the endpoint can't be made.
    #[error("--otlp-endpoint: {0}")]
    Client(#[from] reqwest::Error),
    /// The exporter refuses what it was given, by us or in the environment.
    #[error("--otlp-endpoint: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
}

impl Traces {
    /// Begins to export. Call it within a tokio runtime.
    pub fn open(options: &TraceOptions) -> Result<Self, TracesError> {
        let provider = export::provider(options)?;
        let scope = InstrumentationScope::builder("tidings").with_version(env!("CARGO_PKG_VERSION")).build();
        let tracer = provider.tracer_with_scope(scope);
        info!(endpoint = %options.endpoint, sample = options.sample, "traces are exported");
        Ok(Self(Some(Arc::new(Exporting { provider, tracer }))))
    }

    /// When a request has arrived that may be traced: now; `None` where there are no traces.
    pub fn arrival(&self) -> Option<SystemTime> {
        self.0.as_ref().map(|_| SystemTime::now())
    }

    /// Begins the span of a publish that was let in: `arrival` is when its request has arrived. The span records nothing
    /// unless the parent is sampled or, where there is none, the publish is among the share that begins a trace.
    pub fn publish(&self, arrival: Option<SystemTime>, parent: impl FnOnce() -> Parent) -> PublishSpan {
        match (&self.0, arrival) {
            (Some(exporting), Some(arrival)) => PublishSpan::begin(&exporting.tracer, arrival, &parent()),
            _ => PublishSpan::default(),
        }
    }

    /// Exports the span of deliveries, which end now, as a child of their publish.
    pub fn delivered(&self, publish: &TraceContext, span: DeliverSpan) {
        if let Some(exporting) = &self.0 {
            span.end(&exporting.tracer, publish);
        }
    }

    /// Exports what waits, for this time at most. Spans that begin or end from now on are lost.
    pub async fn close(&self, time: Duration) {
        let Some(exporting) = self.0.clone() else { return };
        let shut_down = tokio::task::spawn_blocking(move || exporting.provider.shutdown_with_timeout(time));
        if !matches!(shut_down.await, Ok(Ok(()))) {
            warn!("the last traces were not exported in time");
        }
    }
}

impl TraceContext {
    /// The context of a span that nobody has made.
    #[cfg(test)]
    pub(in crate::server) fn example() -> Self {
        use opentelemetry::trace::{SpanId, TraceFlags, TraceId, TraceState};

        let (trace, span) = (TraceId::from(1), SpanId::from(2));
        Self(SpanContext::new(trace, span, TraceFlags::SAMPLED, false, TraceState::default()))
    }

    /// The context in which a child of this span is made.
    fn parent(&self) -> Context {
        Context::new().with_remote_span_context(self.0.clone())
    }
}
