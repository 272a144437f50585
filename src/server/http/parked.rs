//! A future that is waited for beside a stream's events, without costing each of them something.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::task::coop;

/// Polls its future when it may be ready or when the task has changed. Once a waker is registered the
/// future wakes by itself, and polling it again would only take its lock.
pub(super) struct Parked<F> {
    future: Pin<Box<F>>,
    waker: Option<Waker>,
}

impl<F: Future> Parked<F> {
    pub(super) fn new(future: F) -> Self {
        Self { future: Box::pin(future), waker: None }
    }

    /// Polls the future, if `is_ready` says that it may be, or if it would wake another task.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, is_ready: impl FnOnce(&F) -> bool) -> Poll<F::Output> {
        let registered = self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if registered && !is_ready(&self.future) {
            return Poll::Pending;
        }
        // A task that has used up its budget gets `Pending` from a timer that has not registered it.
        self.waker = coop::has_budget_remaining().then(|| cx.waker().clone());
        self.future.as_mut().poll(cx)
    }

    /// Gives the future out to be changed; it is polled afterwards in any case.
    pub(super) fn change(&mut self) -> Pin<&mut F> {
        self.waker = None;
        self.future.as_mut()
    }
}
