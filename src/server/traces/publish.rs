//! The span of a publish: from its request's arrival to its answer.

use std::time::SystemTime;

use opentelemetry::trace::{Span, SpanBuilder, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Array, Context, KeyValue, StringValue, Value};
use opentelemetry_sdk::trace::{SdkTracer, Span as SdkSpan};

use super::{Parent, TraceContext};

/// Maximum number of topics that a span names.
pub const MAX_TOPICS: usize = 10;
/// Maximum length of a topic's text in a span, in bytes.
pub const MAX_TOPIC_BYTES: usize = 256;

/// The span of a publish, which ends when it is dropped. It may be one that records nothing.
#[derive(Default)]
pub struct PublishSpan(Option<Box<RecordingSpan>>);

struct RecordingSpan {
    span: SdkSpan,
    tracer: SdkTracer,
}

/// The span of a part of a publish, which ends when it is dropped.
pub struct ChildSpan(#[expect(dead_code, reason = "it is held until it ends")] Option<SdkSpan>);

/// What has become of the updates of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishOutcome {
    /// They are durable.
    Published,
    /// They had been published before, with the same idempotency key.
    Repeated,
}

impl PublishSpan {
    /// Begins the span at the arrival of its request, and has a child for the time until now, in which it was let in.
    pub(super) fn begin(tracer: &SdkTracer, arrival: SystemTime, parent: &Parent) -> Self {
        let attributes = [KeyValue::new("http.request.method", "POST")];
        let builder = SpanBuilder::from_name("publish").with_kind(SpanKind::Server).with_start_time(arrival);
        let span = tracer.build_with_context(builder.with_attributes(attributes), &parent.context());
        if !span.is_recording() {
            return Self(None);
        }
        let span = Self(Some(Box::new(RecordingSpan { span, tracer: tracer.clone() })));
        drop(span.child_since("authorize", arrival));
        span
    }

    /// Whether it records anything.
    pub fn is_recording(&self) -> bool {
        self.0.is_some()
    }

    /// Names the span to those who continue it; `None` if it records nothing.
    pub fn context(&self) -> Option<TraceContext> {
        self.0.as_ref().map(|recording| TraceContext(recording.span.span_context().clone()))
    }

    /// Begins a child span, which ends when it is dropped.
    pub fn child(&self, name: &'static str) -> ChildSpan {
        self.child_since(name, SystemTime::now())
    }

    fn child_since(&self, name: &'static str, begun: SystemTime) -> ChildSpan {
        ChildSpan(self.0.as_ref().map(|recording| {
            let context = Context::new().with_remote_span_context(recording.span.span_context().clone());
            let builder = SpanBuilder::from_name(name).with_kind(SpanKind::Internal).with_start_time(begun);
            recording.tracer.build_with_context(builder, &context)
        }))
    }

    /// Notes what is published: each update's topics, and the length of its data in bytes.
    pub fn updates<'a, T: AsRef<str> + 'a>(&mut self, updates: impl Iterator<Item = (&'a [T], usize)>) {
        let Some(recording) = &mut self.0 else { return };
        let (mut names, mut count, mut topic_count, mut bytes) = (Vec::new(), 0, 0, 0);
        for (topics, length) in updates {
            let room = MAX_TOPICS - names.len();
            names.extend(topics.iter().take(room).map(|topic| StringValue::from(excerpt(topic.as_ref()).to_owned())));
            count += 1;
            topic_count += topics.len();
            bytes += length;
        }
        recording.span.set_attributes([
            KeyValue::new("tidings.updates", number(count)),
            KeyValue::new("tidings.bytes", number(bytes)),
            KeyValue::new("tidings.topics", Value::Array(Array::String(names))),
            KeyValue::new("tidings.topic_count", number(topic_count)),
        ]);
    }

    /// Notes what has become of the updates.
    pub fn outcome(&mut self, outcome: PublishOutcome) {
        self.set_outcome(match outcome {
            PublishOutcome::Published => "published",
            PublishOutcome::Repeated => "repeated",
        });
    }

    /// Notes what the request is answered. A status of 500 or above is the server's error, as OpenTelemetry has it.
    pub fn answered(&mut self, status: u16) {
        if status >= 400 {
            self.set_outcome(if status >= 500 { "failed" } else { "refused" });
        }
        let Some(recording) = &mut self.0 else { return };
        recording.span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
        if status >= 500 {
            recording.span.set_attribute(KeyValue::new("error.type", status.to_string()));
            recording.span.set_status(Status::error(""));
        }
    }

    fn set_outcome(&mut self, outcome: &'static str) {
        if let Some(recording) = &mut self.0 {
            recording.span.set_attribute(KeyValue::new("tidings.outcome", outcome));
        }
    }
}

/// The beginning of a topic's text.
fn excerpt(topic: &str) -> &str {
    let mut end = topic.len().min(MAX_TOPIC_BYTES);
    while !topic.is_char_boundary(end) {
        end -= 1;
    }
    &topic[..end]
}

/// A count as an attribute's value.
pub(super) fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
