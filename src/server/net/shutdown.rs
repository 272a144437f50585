//! The beginning of a shutdown, as listeners and connections see it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Begins a shutdown, once. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Shutdown {
    begun: Arc<AtomicBool>,
    token: CancellationToken,
}

/// Ready once the shutdown has begun. It may be polled often: as long as the task stays the same, that costs an atomic
/// load, where the token would take a lock that all connections share.
pub(super) struct ShutdownSignal {
    begun: Arc<AtomicBool>,
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
    registered: Option<Waker>,
}

impl Shutdown {
    /// Stops listeners from accepting, and connections from taking further requests.
    pub(crate) fn begin(&self) {
        self.begun.store(true, Ordering::Release);
        self.token.cancel();
    }

    /// Ready once the shutdown has begun.
    pub(super) fn signal(&self) -> ShutdownSignal {
        let cancelled = Box::pin(self.token.clone().cancelled_owned());
        ShutdownSignal { begun: self.begun.clone(), cancelled, registered: None }
    }
}

impl Future for ShutdownSignal {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.begun.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        if this.registered.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        let polled = this.cancelled.as_mut().poll(cx);
        this.registered = polled.is_pending().then(|| cx.waker().clone());
        polled
    }
}
