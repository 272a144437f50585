//! Resets HTTP/2 streams from which the client takes nothing, though it reads others from the same socket.
//!
//! HTTP/2 has per-stream flow control: once a stream's window is exhausted, hyper stops polling its body. So a body
//! notes when it hands out data, the connection sweeps its streams for bodies that were not polled since, and aborts
//! the task of such a stream, which resets it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::rt::Executor;
use slab::Slab;
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval};
use tracing::info;

/// Number of sweeps within the timeout, which may become longer by the time between two.
const CHECKS: u64 = 4;

/// Bodies are handed out in pieces of this many bytes at most, as many as an HTTP/2 frame has: a client that takes one
/// is not stalled.
const PIECE: usize = 16 * 1024;

/// Nothing waits for the client.
const IDLE: u64 = 0;

tokio::task_local! {
    /// The stream that this task serves.
    static STREAM: Arc<Stream>;
}

/// The streams of one connection: hyper spawns the task of each here.
#[derive(Clone)]
pub(super) struct Streams(Arc<Shared>);

struct Shared {
    peer: SocketAddr,
    timeout: Duration,
    /// Number of sweeps so far; the first one is counted before any stream.
    sweeps: AtomicU64,
    open: Mutex<Slab<OpenStream>>,
}

struct OpenStream {
    waits_since: Arc<AtomicU64>,
    task: Option<AbortHandle>,
}

/// One stream: listed while it lives.
struct Stream {
    /// Number of sweeps when data was handed out that may still wait for the client, or [`IDLE`].
    waits_since: Arc<AtomicU64>,
    key: usize,
    connection: Arc<Shared>,
}

/// A body that notes when it waits for its client.
pub(super) struct StallTrackedBody<B> {
    body: B,
    /// What is left of the frame that is being handed out.
    rest: Bytes,
    stream: Option<Arc<Stream>>,
}

impl Streams {
    /// The streams of the connection of this client. A stream is reset when the client has taken nothing of it for
    /// `timeout` while data waited.
    pub(super) fn of(peer: SocketAddr, timeout: Duration) -> Self {
        let sweeps = AtomicU64::new(IDLE + 1);
        Self(Arc::new(Shared { peer, timeout, sweeps, open: Mutex::default() }))
    }

    /// Resets stalled streams, for ever.
    pub(super) async fn watch(&self) -> Infallible {
        let mut ticks = interval(self.0.timeout.div_f64(CHECKS as f64).max(Duration::from_millis(1)));
        // After a pause of this process the clients must have their time again.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.0.sweep();
        }
    }
}

impl Shared {
    fn sweep(&self) {
        let sweep = self.sweeps.fetch_add(1, Ordering::Relaxed) + 1;
        for (_, open) in &mut *self.open() {
            let since = open.waits_since.load(Ordering::Relaxed);
            if since != IDLE
                && sweep - since > CHECKS
                && let Some(task) = open.task.take()
            {
                let reason = format!("the client took nothing for {:?} while data waited", self.timeout);
                info!(peer = %self.peer, reason, "a stream was cut");
                task.abort();
            }
        }
    }

    fn open(&self) -> MutexGuard<'_, Slab<OpenStream>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        let connection = self.0.clone();
        let waits_since = Arc::new(AtomicU64::new(IDLE));
        let key = connection.open().insert(OpenStream { waits_since: waits_since.clone(), task: None });
        let stream = Arc::new(Stream { waits_since: waits_since.clone(), key, connection });
        let task = tokio::spawn(STREAM.scope(stream, future)).abort_handle();
        // It may have ended already, and another one have got its key.
        if let Some(open) = self.0.open().get_mut(key).filter(|open| Arc::ptr_eq(&open.waits_since, &waits_since)) {
            open.task = Some(task);
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.connection.open().try_remove(self.key);
    }
}

impl<B: Body<Data = Bytes> + Unpin> StallTrackedBody<B> {
    /// Wraps a body, in the task that serves its stream.
    pub(super) fn new(body: B) -> Self {
        Self { body, rest: Bytes::new(), stream: STREAM.try_with(Arc::clone).ok() }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.is_empty() => return Poll::Ready(Some(Ok(Frame::data(data)))),
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        let piece = self.rest.split_to(self.rest.len().min(PIECE));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for StallTrackedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = self.poll_piece(cx);
        if let Some(stream) = &self.stream {
            let sweeps = || stream.connection.sweeps.load(Ordering::Relaxed);
            stream.waits_since.store(if polled.is_ready() { sweeps() } else { IDLE }, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}
