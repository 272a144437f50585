//! The end of streams at a shutdown: all of them, spread over a few seconds.
//!
//! A stream without an end of its own would keep a graceful shutdown waiting for ever, and clients that
//! are all cut at once would all come back at once.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use rand::Rng;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// How many streams may end in a second of a drain.
const STREAMS_PER_SECOND: f64 = 2000.0;

/// However many streams there are, they have ended after this time.
const LONGEST: Duration = Duration::from_secs(3);

/// Knows the open streams and ends them.
pub(super) struct Drain {
    begun: CancellationToken,
    open: AtomicUsize,
}

/// One open stream: counted while it lives.
pub(super) struct OpenStream {
    drain: Arc<Drain>,
    begun: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Drain {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { begun: CancellationToken::new(), open: AtomicUsize::new(0) })
    }

    /// Ends all streams, each after a delay of its own. Later ones end at once.
    pub(super) fn begin(&self) {
        self.begun.cancel();
    }

    /// Waits until the drain has begun.
    pub(super) async fn begun(&self) {
        self.begun.cancelled().await;
    }

    /// How many streams are open.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    pub(super) fn open_stream(self: &Arc<Self>) -> OpenStream {
        self.open.fetch_add(1, Ordering::Relaxed);
        OpenStream { drain: self.clone(), begun: Box::pin(self.begun.clone().cancelled_owned()) }
    }
}

impl OpenStream {
    /// Ready when the drain has begun.
    pub(super) fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.begun.as_mut().poll(cx)
    }

    /// How long this stream goes on after the drain has begun.
    pub(super) fn delay(&self) -> Duration {
        let open = self.drain.open() as f64;
        let spread = Duration::from_secs_f64(open / STREAMS_PER_SECOND).min(LONGEST);
        spread.mul_f64(rand::rng().random())
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.drain.open.fetch_sub(1, Ordering::Relaxed);
    }
}
