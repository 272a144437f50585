//! The body of a stream: frames, and what keeps the stream alive and ends it.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Bytes;
use futures_util::{Stream, StreamExt};
use http_body::Frame;
use rand::Rng;
use tokio::time::Instant;
use tracing::debug;

use super::frames::Frames;
use crate::server::hub::{Chunk, EndReason, Mailbox, Session, Signal};
use crate::server::log::Cursor;
use crate::server::metrics::{self, STREAMS};
use crate::wire::frame::HEARTBEAT;

/// The reconnection time that clients are told at a shutdown, in milliseconds: they come back spread over this time.
const RETRY_MS: std::ops::Range<u64> = 1000..4000;

/// The frames of a stream, and when it ends.
pub(super) struct SseBody<S> {
    name: &'static str,
    frames: S,
    session: Session,
    stage: Stage,
    opened: Instant,
    events: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Opening,
    Open,
    /// The frames have ended.
    Complete,
    Ended(EndReason),
}

impl<S> SseBody<S> {
    /// A stream of these frames.
    ///
    /// It begins with a comment at once, gets a comment after each heartbeat's time of silence, ends when the frames
    /// end or the hub ends the session, and logs why it ended. `name` stands for it in the log.
    pub(super) fn new(name: &'static str, frames: S, session: Session) -> Self {
        Self { name, frames, session, stage: Stage::Opening, opened: Instant::now(), events: 0 }
    }

    /// Whether nothing was written yet.
    pub(super) fn is_opening(&self) -> bool {
        self.stage == Stage::Opening
    }

    /// Where the stream waits.
    pub(super) fn mailbox(&self) -> &Arc<Mailbox> {
        self.session.mailbox()
    }

    fn write(&self, bytes: Bytes) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.session.wrote();
        STREAMS.bytes.increment(bytes.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    /// The last words of a stream that the hub ends.
    fn end(&mut self, reason: EndReason) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.stage = Stage::Ended(reason);
        match reason {
            EndReason::Shutdown => {
                let retry = rand::rng().random_range(RETRY_MS);
                self.write(Bytes::from(format!("retry: {retry}\n")))
            }
            EndReason::Expired | EndReason::Lifetime | EndReason::Revoked => Poll::Ready(None),
        }
    }
}

impl SseBody<Frames> {
    /// Whether everything was passed on: what comes next is offered.
    pub(super) fn is_live(&self) -> bool {
        self.stage == Stage::Open && self.frames.is_live()
    }

    /// Everything up to here was passed on.
    pub(super) fn cursor(&self) -> Cursor {
        self.frames.cursor()
    }

    /// Notes what was written to the client at once.
    pub(super) fn delivered(&mut self, chunk: &Chunk) {
        self.events += chunk.entries;
        STREAMS.deliveries.increment(chunk.entries);
        STREAMS.bytes.increment(chunk.bytes.len() as u64);
        self.frames.delivered(chunk.last);
    }
}

impl<S: Stream<Item = Bytes> + Unpin> http_body::Body for SseBody<S> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        match this.stage {
            Stage::Opening => {
                this.stage = Stage::Open;
                return this.write(Bytes::from_static(HEARTBEAT.as_bytes()));
            }
            Stage::Open => {}
            Stage::Complete | Stage::Ended(_) => return Poll::Ready(None),
        }
        // Before the frames: a stream that always has one ready must end too.
        let heartbeat = match this.session.poll_signal(cx) {
            Poll::Ready(Signal::End(reason)) => return this.end(reason),
            Poll::Ready(Signal::Heartbeat) => true,
            Poll::Pending => false,
        };
        match this.frames.poll_next_unpin(cx) {
            Poll::Ready(Some(frame)) => {
                this.events += 1;
                STREAMS.deliveries.increment(1);
                this.write(frame)
            }
            Poll::Ready(None) => {
                this.stage = Stage::Complete;
                Poll::Ready(None)
            }
            Poll::Pending if heartbeat => this.write(Bytes::from_static(HEARTBEAT.as_bytes())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S> Drop for SseBody<S> {
    fn drop(&mut self) {
        let (reason, label) = match self.stage {
            Stage::Complete => ("complete", "complete"),
            Stage::Ended(reason) => (reason.name(), reason.label()),
            Stage::Opening | Stage::Open => ("disconnected", "disconnected"),
        };
        metrics::stream_ended(label);
        let seconds = self.opened.elapsed().as_millis() as f64 / 1000.0;
        debug!(stream = self.name, reason, seconds, events = self.events, "a stream has ended");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::stream;
    use http_body_util::BodyExt;

    use super::*;
    use crate::server::hub::{Hub, HubOptions, SessionOptions};
    use crate::server::log::MemoryLog;

    const DRAIN: Duration = Duration::from_secs(3);

    fn hub() -> Hub {
        let (log, tail) = MemoryLog::open(10);
        Hub::open(log, tail, HubOptions::default())
    }

    fn body<S>(frames: S, hub: &Hub) -> SseBody<S> {
        SseBody::new("test", frames, hub.session(SessionOptions::default()).expect("a session"))
    }

    async fn next<S: Stream<Item = Bytes> + Unpin>(body: &mut SseBody<S>) -> Option<String> {
        let frame = body.frame().await?.expect("infallible").into_data().expect("data");
        Some(String::from_utf8_lossy(&frame).into_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_begins_with_a_comment_and_ends_with_its_frames() {
        let mut body = body(stream::iter([Bytes::from("data: 1\n\n")]), &hub());
        assert_eq!(next(&mut body).await.as_deref(), Some(HEARTBEAT));
        assert_eq!(next(&mut body).await.as_deref(), Some("data: 1\n\n"));
        assert_eq!(next(&mut body).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_broken_by_heartbeats_counted_from_the_last_event() {
        let hub = hub();
        let events = stream::once(Box::pin(async {
            tokio::time::sleep(Duration::from_secs(10)).await;
            Bytes::from("data: 1\n\n")
        }));
        let mut body = body(events.chain(stream::pending()), &hub);
        let start = Instant::now();
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push((next(&mut body).await.unwrap_or_default(), start.elapsed().as_secs()));
        }
        let heartbeat = String::from(HEARTBEAT);
        assert_eq!(
            seen,
            [(heartbeat.clone(), 0), ("data: 1\n\n".into(), 10), (heartbeat.clone(), 25), (heartbeat, 40)]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_ends_a_stream_that_always_has_an_event_ready() {
        let hub = hub();
        let mut body = body(stream::repeat(Bytes::from("data: 1\n\n")), &hub);
        assert_eq!(next(&mut body).await.as_deref(), Some(HEARTBEAT));
        hub.drain(DRAIN).await;
        let last = next(&mut body).await.expect("a frame");
        assert!(last.starts_with("retry: "), "{last}");
        assert_eq!(next(&mut body).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_ends_an_idle_stream_soon_and_tells_the_client_when_to_come_back() {
        let hub = hub();
        let mut body = body(stream::pending(), &hub);
        assert_eq!(next(&mut body).await.as_deref(), Some(HEARTBEAT));
        let start = Instant::now();
        let (last, ()) = tokio::join!(next(&mut body), hub.drain(DRAIN));
        let last = last.expect("a frame");
        assert!(last.starts_with("retry: ") && last.ends_with('\n') && !last.ends_with("\n\n"), "{last}");
        assert_eq!(next(&mut body).await, None);
        assert!(start.elapsed() < Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_is_opened_during_a_drain_ends_at_once() {
        let hub = hub();
        hub.drain(DRAIN).await;
        let mut body = body(stream::pending(), &hub);
        assert_eq!(next(&mut body).await.as_deref(), Some(HEARTBEAT));
        assert!(next(&mut body).await.expect("a frame").starts_with("retry: "));
        assert_eq!(next(&mut body).await, None);
    }
}
