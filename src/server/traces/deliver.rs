//! The span of an update's deliveries to the streams of one shard.

use std::fmt;
use std::time::SystemTime;

use opentelemetry::KeyValue;
use opentelemetry::trace::{Event, Span, SpanBuilder, SpanKind, Tracer};
use opentelemetry_sdk::trace::SdkTracer;

use super::TraceContext;
use super::publish::number;

/// Maximum number of deliveries that a span has events of. The others are counted.
pub const MAX_EVENTS: usize = 32;

/// How an update was delivered to a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryKind {
    /// It was written to the stream's socket.
    Written,
    /// The stream's own task writes it next.
    HandedOver,
    /// The stream's client is behind: it gets the update once it has taken what comes before.
    Behind,
}

/// The deliveries of one update to the streams of one shard, until they are made.
#[derive(Debug)]
pub struct DeliverSpan {
    begun: SystemTime,
    shard: usize,
    written: usize,
    handed_over: usize,
    behind: usize,
    events: Vec<Event>,
}

impl DeliverSpan {
    /// Deliveries that begin now.
    pub fn begin(shard: usize) -> Self {
        Self { begun: SystemTime::now(), shard, written: 0, handed_over: 0, behind: 0, events: Vec::new() }
    }

    /// Whether there was no delivery.
    pub fn is_empty(&self) -> bool {
        self.written + self.handed_over + self.behind == 0
    }

    /// How many were written, handed over and left behind.
    #[cfg(test)]
    pub(in crate::server) fn counts(&self) -> [usize; 3] {
        [self.written, self.handed_over, self.behind]
    }

    /// Notes that a delivery was made. `stream` names the stream, as presence does.
    pub fn deliver(&mut self, stream: impl fmt::Display, kind: DeliveryKind) {
        let outcome = match kind {
            DeliveryKind::Written => {
                self.written += 1;
                "written"
            }
            DeliveryKind::HandedOver => {
                self.handed_over += 1;
                "handed_over"
            }
            DeliveryKind::Behind => {
                self.behind += 1;
                "behind"
            }
        };
        if self.events.len() < MAX_EVENTS {
            let stream = KeyValue::new("tidings.stream", stream.to_string());
            let attributes = vec![stream, KeyValue::new("tidings.outcome", outcome)];
            self.events.push(Event::new("delivery", SystemTime::now(), attributes, 0));
        }
    }

    /// Ends the span, as a child of the publish.
    pub(super) fn end(self, tracer: &SdkTracer, publish: &TraceContext) {
        let deliveries = self.written + self.handed_over + self.behind;
        let attributes = [
            KeyValue::new("tidings.shard", number(self.shard)),
            KeyValue::new("tidings.streams.written", number(self.written)),
            KeyValue::new("tidings.streams.handed_over", number(self.handed_over)),
            KeyValue::new("tidings.streams.behind", number(self.behind)),
            KeyValue::new("tidings.streams.without_event", number(deliveries - self.events.len())),
        ];
        let builder = SpanBuilder::from_name("deliver").with_kind(SpanKind::Producer).with_start_time(self.begun);
        let builder = builder.with_attributes(attributes).with_events(self.events);
        tracer.build_with_context(builder, &publish.parent()).end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_delivery_is_counted_and_some_have_events() {
        let mut span = DeliverSpan::begin(0);
        assert!(span.is_empty());
        for n in 0..MAX_EVENTS + 5 {
            span.deliver(n, DeliveryKind::Written);
        }
        span.deliver("slow", DeliveryKind::Behind);
        assert_eq!((span.written, span.behind, span.events.len()), (MAX_EVENTS + 5, 1, MAX_EVENTS));
    }
}
