//! Notices HTTP/2 streams of which the client takes nothing, though it reads others from the same socket.
//!
//! Each stream has a window of its own, and what waits behind a shut one is asked for no further. So a body notes
//! when it hands something out, a connection looks now and then for one that has not been asked for more since,
//! and the task of such a stream is ended: with that the stream is reset.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body::{Body as _, Frame, SizeHint};
use hyper::rt::Executor;
use slab::Slab;
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval};
use tracing::info;

/// How often a stream is looked at while the patience with it lasts, which may become longer by one look.
const LOOKS: u64 = 4;

/// A body is handed out in pieces of so many bytes at most: a client that takes one has taken something. HTTP/2
/// frames have as many.
const PIECE: usize = 16 * 1024;

/// Nothing waits for the client.
const IDLE: u64 = 0;

tokio::task_local! {
    /// The stream that this task serves.
    static STREAM: Arc<Stream>;
}

/// The streams of one connection, each of which is a task that this spawns.
#[derive(Clone)]
pub(super) struct Streams(Arc<Shared>);

struct Shared {
    peer: SocketAddr,
    patience: Duration,
    /// How many looks there have been; the first one is before any stream.
    looks: AtomicU64,
    open: Mutex<Slab<Open>>,
}

struct Open {
    waits_since: Arc<AtomicU64>,
    task: Option<AbortHandle>,
}

/// One stream: listed while it lives.
struct Stream {
    /// The look before something was handed out that may wait for the client, or [`IDLE`].
    waits_since: Arc<AtomicU64>,
    key: usize,
    connection: Arc<Shared>,
}

/// A body that notes when it waits for its client.
pub(super) struct Watched {
    body: Body,
    /// What is left of the frame that is being handed out.
    rest: Bytes,
    stream: Option<Arc<Stream>>,
}

impl Streams {
    /// Of the connection of this client. A stream is cut off when the client has taken nothing of it for
    /// `patience` while data waited.
    pub(super) fn of(peer: SocketAddr, patience: Duration) -> Self {
        let looks = AtomicU64::new(IDLE + 1);
        Self(Arc::new(Shared { peer, patience, looks, open: Mutex::default() }))
    }

    /// Cuts off the streams of which nothing is taken, for ever.
    pub(super) async fn watch(&self) -> Infallible {
        let mut looks = interval(self.0.patience.div_f64(LOOKS as f64).max(Duration::from_millis(1)));
        // After a pause of this process the clients must have their time again.
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            self.0.look();
        }
    }
}

impl Shared {
    fn look(&self) {
        let look = self.looks.fetch_add(1, Ordering::Relaxed) + 1;
        for (_, open) in &mut *self.open() {
            let since = open.waits_since.load(Ordering::Relaxed);
            if since != IDLE
                && look - since > LOOKS
                && let Some(task) = open.task.take()
            {
                let reason = format!("the client took nothing for {:?} while data waited", self.patience);
                info!(peer = %self.peer, reason, "a stream was cut");
                task.abort();
            }
        }
    }

    fn open(&self) -> MutexGuard<'_, Slab<Open>> {
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
        let key = connection.open().insert(Open { waits_since: waits_since.clone(), task: None });
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

impl Watched {
    /// Made where the stream is served.
    pub(super) fn new(body: Body) -> Self {
        Self { body, rest: Bytes::new(), stream: STREAM.try_with(Arc::clone).ok() }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
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

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = self.poll_piece(cx);
        if let Some(stream) = &self.stream {
            let looks = || stream.connection.looks.load(Ordering::Relaxed);
            stream.waits_since.store(if polled.is_ready() { looks() } else { IDLE }, Ordering::Relaxed);
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
