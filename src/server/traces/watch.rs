//! What becomes of spans on their way: how many wait, how many are lost, and what the log says of it. The library says it of
//! each batch, and of spans for which there was no room only at the end.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};
use tracing::{info, warn};

/// How often the log complains that spans are lost.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// What both ends of the queue know of it.
#[derive(Debug, Default)]
pub(super) struct QueueState {
    waiting: AtomicUsize,
    /// Spans for which there was no room, and of which nothing was said yet.
    without_room: AtomicUsize,
    /// Why the last request has failed: the exporter passes on only that it has.
    problem: Mutex<String>,
}

impl QueueState {
    /// Notes why a request has failed.
    pub(super) fn failed(&self, problem: String) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }
}

/// Takes at most so many spans into a queue that has room for them.
#[derive(Debug)]
pub(super) struct BoundedProcessor<P> {
    pub(super) queue: P,
    pub(super) room: usize,
    pub(super) state: Arc<QueueState>,
}

impl<P: SpanProcessor> SpanProcessor for BoundedProcessor<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.queue.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.state.waiting.fetch_add(1, Ordering::Relaxed) < self.room {
            return self.queue.on_end(span);
        }
        self.state.waiting.fetch_sub(1, Ordering::Relaxed);
        self.state.without_room.fetch_add(1, Ordering::Relaxed);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.queue.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.queue.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.queue.set_resource(resource);
    }
}

/// Exports, and says now and then when spans are lost, and when they are not any more.
#[derive(Debug)]
pub(super) struct WatchedExporter<E> {
    exporter: E,
    state: Arc<QueueState>,
    losses: Mutex<Losses>,
}

/// Spans that were lost since all were exported.
#[derive(Debug, Default)]
struct Losses {
    spans: usize,
    warned: Option<Instant>,
}

impl<E> WatchedExporter<E> {
    pub(super) fn new(exporter: E, state: Arc<QueueState>) -> Self {
        Self { exporter, state, losses: Mutex::default() }
    }

    fn note(&self, exported: &OTelSdkResult, count: usize) {
        let without_room = self.state.without_room.swap(0, Ordering::Relaxed);
        let failed = if exported.is_err() { count } else { 0 };
        let mut losses = self.losses.lock().unwrap_or_else(PoisonError::into_inner);
        if without_room + failed == 0 {
            if losses.spans > 0 {
                info!(lost = losses.spans, "traces are exported again");
                *losses = Losses::default();
            }
            return;
        }
        losses.spans += without_room + failed;
        if losses.warned.is_some_and(|warned| warned.elapsed() < WARN_EVERY) {
            return;
        }
        losses.warned = Some(Instant::now());
        let lost = losses.spans;
        if exported.is_err() {
            let problem = self.state.problem.lock().unwrap_or_else(PoisonError::into_inner);
            warn!(problem = *problem, lost, "traces are not exported: check --otlp-endpoint");
        } else {
            warn!(lost, "traces come faster than --otlp-endpoint takes them: a lower --otlp-sample makes fewer");
        }
    }
}

impl<E: SpanExporter> SpanExporter for WatchedExporter<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        self.state.waiting.fetch_sub(count, Ordering::Relaxed);
        let exported = self.exporter.export(batch).await;
        self.note(&exported, count);
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{Tracer, TracerProvider};
    use opentelemetry_sdk::trace::SdkTracerProvider;

    use super::*;

    /// Holds spans that are never exported.
    #[derive(Debug, Default)]
    struct Held(Mutex<Vec<SpanData>>);

    impl SpanProcessor for Held {
        fn on_start(&self, _: &mut Span, _: &Context) {}

        fn on_end(&self, span: SpanData) {
            self.0.lock().expect("spans").push(span);
        }

        fn force_flush(&self) -> OTelSdkResult {
            Ok(())
        }

        fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
            Ok(())
        }
    }

    /// Takes everything.
    #[derive(Debug)]
    struct Endpoint;

    impl SpanExporter for Endpoint {
        async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
            Ok(())
        }
    }

    #[tokio::test]
    async fn spans_beyond_the_room_are_dropped_and_counted_until_some_were_exported() {
        let state = Arc::<QueueState>::default();
        let processor = BoundedProcessor { queue: Held::default(), room: 3, state: state.clone() };
        let provider = SdkTracerProvider::builder().with_span_processor(processor).build();
        let tracer = provider.tracer("test");
        (0..5).for_each(|_| drop(tracer.start("span")));
        assert_eq!((state.waiting.load(Ordering::Relaxed), state.without_room.load(Ordering::Relaxed)), (3, 2));

        let exporter = WatchedExporter::new(Endpoint, state.clone());
        let lost = || exporter.losses.lock().expect("losses").spans;
        state.waiting.fetch_sub(3, Ordering::Relaxed);
        exporter.export(Vec::new()).await.expect("an export");
        assert_eq!(lost(), 2);
        exporter.export(Vec::new()).await.expect("an export");
        assert_eq!(lost(), 0);
        (0..3).for_each(|_| drop(tracer.start("span")));
        assert_eq!((state.waiting.load(Ordering::Relaxed), state.without_room.load(Ordering::Relaxed)), (3, 0));
    }
}
