//! The first outlet: frames written as the body of a response.
//!
//! What is written comes from a stream of frames; how it is written stays here, so that another outlet
//! can take the same streams.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt, stream};
use http_body::Frame;
use rand::Rng;
use tokio::time::{Instant, Sleep, sleep_until};
use tracing::info;

use super::cache;
use super::drain::{Drain, OpenStream};
use super::parked::Parked;
use crate::wire::frame::HEARTBEAT;

/// What `retry` tells clients at a shutdown, in milliseconds: they come back spread over this time.
const RETRY_MS: std::ops::Range<u64> = 1000..4000;

/// The response that carries these frames, or for `HEAD` its headers alone.
///
/// It begins with a comment at once, gets a comment after each `heartbeat` of silence, ends when the
/// frames end or the drain begins, and tells the log how it ended.
pub(super) fn respond<S>(
    method: &Method,
    name: &'static str,
    frames: S,
    heartbeat: Duration,
    drain: &Arc<Drain>,
) -> Response
where
    S: Stream<Item = Bytes> + Send + Unpin + 'static,
{
    let body = match *method {
        // A body of unknown length, so that no `Content-Length: 0` is told for a stream.
        Method::HEAD => Body::from_stream(stream::empty::<Result<Bytes, Infallible>>()),
        _ => Body::new(Outlet::open(name, frames, heartbeat, drain)),
    };
    (headers(), body).into_response()
}

fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, cache::STREAM);
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    headers
}

struct Outlet<S> {
    name: &'static str,
    frames: S,
    heartbeat: Duration,
    /// When the heartbeat is due, at the earliest: events don't push it back, they leave a mark.
    timer: Parked<Sleep>,
    stream: OpenStream,
    stage: Stage,
    opened: Instant,
    last_write: Instant,
    events: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Opening,
    Open,
    /// The shutdown has begun: the stream ends when the timer does.
    Draining,
    Complete,
    ShutDown,
}

impl<S> Outlet<S> {
    fn open(name: &'static str, frames: S, heartbeat: Duration, drain: &Arc<Drain>) -> Self {
        let now = Instant::now();
        Self {
            name,
            frames,
            heartbeat,
            timer: Parked::new(sleep_until(now + heartbeat)),
            stream: drain.open_stream(),
            stage: Stage::Opening,
            opened: now,
            last_write: now,
            events: 0,
        }
    }
}

impl<S: Stream<Item = Bytes> + Unpin> http_body::Body for Outlet<S> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        let write = |bytes: Bytes| Poll::Ready(Some(Ok(Frame::data(bytes))));
        if this.stage == Stage::Opening {
            this.stage = Stage::Open;
            return write(Bytes::from_static(HEARTBEAT.as_bytes()));
        }
        if matches!(this.stage, Stage::Complete | Stage::ShutDown) {
            return Poll::Ready(None);
        }
        // Before the frames: a stream that always has one ready must end too.
        if this.stage == Stage::Open && this.stream.poll_drain(cx).is_ready() {
            this.stage = Stage::Draining;
            this.timer.change().reset(Instant::now() + this.stream.delay());
        }
        if this.stage == Stage::Draining && this.timer.poll(cx, Sleep::is_elapsed).is_ready() {
            this.stage = Stage::ShutDown;
            let retry = rand::rng().random_range(RETRY_MS);
            return write(Bytes::from(format!("retry: {retry}\n")));
        }
        match this.frames.poll_next_unpin(cx) {
            Poll::Ready(Some(frame)) => {
                this.events += 1;
                this.last_write = Instant::now();
                return write(frame);
            }
            Poll::Ready(None) => {
                this.stage = Stage::Complete;
                return Poll::Ready(None);
            }
            Poll::Pending => {}
        }
        while this.stage == Stage::Open && this.timer.poll(cx, Sleep::is_elapsed).is_ready() {
            let now = Instant::now();
            let due = this.last_write + this.heartbeat;
            if due > now {
                this.timer.change().reset(due);
                continue;
            }
            this.last_write = now;
            this.timer.change().reset(now + this.heartbeat);
            return write(Bytes::from_static(HEARTBEAT.as_bytes()));
        }
        Poll::Pending
    }
}

impl<S> Drop for Outlet<S> {
    fn drop(&mut self) {
        let reason = match self.stage {
            Stage::Complete => "complete",
            Stage::ShutDown => "shutdown",
            Stage::Opening | Stage::Open | Stage::Draining => "disconnected",
        };
        let seconds = self.opened.elapsed().as_secs_f64();
        info!(stream = self.name, reason, seconds, events = self.events, "a stream has ended");
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    const HEARTBEAT_AFTER: Duration = Duration::from_secs(15);

    fn outlet<S>(frames: S, drain: &Arc<Drain>) -> Outlet<S> {
        Outlet::open("test", frames, HEARTBEAT_AFTER, drain)
    }

    async fn next<S: Stream<Item = Bytes> + Unpin>(outlet: &mut Outlet<S>) -> Option<String> {
        let frame = outlet.frame().await?.expect("infallible").into_data().expect("data");
        Some(String::from_utf8_lossy(&frame).into_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_begins_with_a_comment_and_ends_with_its_frames() {
        let mut outlet = outlet(stream::iter([Bytes::from("data: 1\n\n")]), &Drain::new());
        assert_eq!(next(&mut outlet).await.as_deref(), Some(":\n"));
        assert_eq!(next(&mut outlet).await.as_deref(), Some("data: 1\n\n"));
        assert_eq!(next(&mut outlet).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_broken_by_heartbeats_counted_from_the_last_event() {
        let events = stream::once(Box::pin(async {
            tokio::time::sleep(Duration::from_secs(10)).await;
            Bytes::from("data: 1\n\n")
        }));
        let mut outlet = outlet(events.chain(stream::pending()), &Drain::new());
        let start = Instant::now();
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push((next(&mut outlet).await.unwrap_or_default(), start.elapsed().as_secs()));
        }
        assert_eq!(seen, [(":\n".into(), 0), ("data: 1\n\n".into(), 10), (":\n".into(), 25), (":\n".into(), 40)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_ends_a_stream_that_always_has_an_event_ready() {
        let drain = Drain::new();
        let mut outlet = outlet(stream::repeat(Bytes::from("data: 1\n\n")), &drain);
        assert_eq!(next(&mut outlet).await.as_deref(), Some(":\n"));
        drain.begin();
        let mut last = String::new();
        while let Some(frame) = next(&mut outlet).await {
            last = frame;
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert!(last.starts_with("retry: "), "{last}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_ends_an_idle_stream_soon_and_tells_the_client_when_to_come_back() {
        let drain = Drain::new();
        let mut outlet = outlet(stream::pending(), &drain);
        assert_eq!(next(&mut outlet).await.as_deref(), Some(":\n"));
        let start = Instant::now();
        drain.begin();
        let last = next(&mut outlet).await.expect("a frame");
        assert!(last.starts_with("retry: ") && last.ends_with('\n') && !last.ends_with("\n\n"), "{last}");
        assert_eq!(next(&mut outlet).await, None);
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}
