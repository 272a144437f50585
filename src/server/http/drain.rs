//! The end of streams at a shutdown: all of them, spread over a few seconds.
//!
//! A stream without an end of its own would keep a graceful shutdown waiting for ever, and clients that
//! are all cut at once would all come back at once.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use rand::Rng;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use super::parked::Parked;

/// How many streams may end in a second of a drain.
const STREAMS_PER_SECOND: f64 = 2000.0;

/// However many streams there are, they have ended after this time.
const LONGEST: Duration = Duration::from_secs(3);

/// Knows the open streams and ends them.
#[derive(Default)]
pub(super) struct Drain {
    begun: AtomicBool,
    notify: Arc<Notify>,
    open: AtomicUsize,
}

/// Ready when a drain has begun.
pub(super) struct DrainSignal {
    drain: Arc<Drain>,
    notified: Parked<OwnedNotified>,
}

/// One open stream: counted while it lives.
pub(super) struct OpenStream {
    signal: DrainSignal,
}

impl Drain {
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Ends all streams, each after a delay of its own. Later ones end at once.
    pub(super) fn begin(&self) {
        self.begun.store(true, Ordering::Release);
        self.notify.notify_waiters();
    }

    /// Ready when the drain has begun.
    pub(super) fn signal(self: &Arc<Self>) -> DrainSignal {
        let notified = Parked::new(self.notify.clone().notified_owned());
        DrainSignal { drain: self.clone(), notified }
    }

    /// How many streams are open.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    pub(super) fn open_stream(self: &Arc<Self>) -> OpenStream {
        self.open.fetch_add(1, Ordering::Relaxed);
        OpenStream { signal: self.signal() }
    }
}

impl Future for DrainSignal {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { drain, notified } = &mut *self;
        if drain.begun.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        notified.poll(cx, |_| false)
    }
}

impl OpenStream {
    /// Ready when the drain has begun.
    pub(super) fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.signal).poll(cx)
    }

    /// How long this stream goes on after the drain has begun.
    pub(super) fn delay(&self) -> Duration {
        let open = self.signal.drain.open() as f64;
        let spread = Duration::from_secs_f64(open / STREAMS_PER_SECOND).min(LONGEST);
        spread.mul_f64(rand::rng().random())
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.signal.drain.open.fetch_sub(1, Ordering::Relaxed);
    }
}
