//! Where the fan-out hands a session its entries. The fan-out decides what a session wants and may have; an outlet
//! takes it to the client.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::server::log::Entry;

/// Entries that became durable together, in order: at most [`Batch::MAX`].
#[derive(Debug)]
pub(super) struct Batch(Box<[Arc<Entry>]>);

/// Which entries of a batch a session gets: bit `n` stands for the batch's entry `n`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Selection(u64);

/// Why the hub ends a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The server shuts down.
    Shutdown,
    /// The token expires.
    Expired,
    /// The stream has reached the longest lifetime that is allowed.
    Lifetime,
    /// The token was revoked, or an administrator ended the stream.
    Revoked,
}

/// What a session's stream has to do besides passing on entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// End the stream.
    End(EndReason),
    /// Send a comment: nothing was written for as long as the heartbeat says.
    Heartbeat,
}

/// The way from the fan-out to one client. No method may block or call back into the hub: all of them are called for
/// thousands of sessions in a row.
pub(super) trait Outlet: Send + Sync {
    /// Offers the selected entries. What is not delivered now must be read later, from the session's cursor.
    fn offer(&self, batch: &Arc<Batch>, selection: Selection);

    /// There may be entries for the session that were not offered: it reads on from its cursor.
    fn fall_behind(&self);

    /// Ends the session's stream. The first reason stays.
    fn end(&self, reason: EndReason);

    /// Asks for a comment if nothing was written since `silent_since`, in milliseconds since the hub was opened.
    fn beat(&self, silent_since: u64);
}

/// An outlet that is polled: it holds one offer at most. A session that has not taken it when the next one comes falls
/// behind, so a slow reader costs its cursor.
#[derive(Default)]
pub(super) struct Mailbox {
    state: Mutex<MailboxState>,
    last_write: AtomicU64,
}

#[derive(Default)]
struct MailboxState {
    offered: Offered,
    end: Option<EndReason>,
    heartbeat: bool,
    waker: Option<Waker>,
}

/// What waits in a mailbox.
#[derive(Default)]
pub(super) enum Offered {
    #[default]
    Nothing,
    /// The selected entries of a batch.
    Entries(Arc<Batch>, Selection),
    /// Entries that have to be looked for.
    Behind,
}

impl Batch {
    /// As many entries as a [`Selection`] has bits.
    pub(super) const MAX: usize = u64::BITS as usize;

    pub(super) fn new(entries: Box<[Arc<Entry>]>) -> Self {
        debug_assert!(entries.len() <= Self::MAX, "a selection has a bit for each entry");
        Self(entries)
    }

    pub(super) fn entries(&self) -> &[Arc<Entry>] {
        &self.0
    }

    /// The private ones.
    pub(super) fn private(&self) -> Selection {
        let mut private = Selection::NONE;
        let numbers = self.0.iter().enumerate().filter(|(_, entry)| entry.private);
        numbers.for_each(|(n, _)| private.insert(n));
        private
    }
}

impl Selection {
    pub(super) const NONE: Self = Self(0);

    pub(super) fn insert(&mut self, n: usize) {
        self.0 |= 1 << n;
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Takes out the first entry's number.
    pub(super) fn pop(&mut self) -> Option<usize> {
        let first = (self.0 != 0).then(|| self.0.trailing_zeros() as usize)?;
        self.0 &= self.0 - 1;
        Some(first)
    }
}

impl EndReason {
    /// The reason in the log and in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Shutdown => "shutdown",
            Self::Expired => "token expired",
            Self::Lifetime => "lifetime reached",
            Self::Revoked => "revoked",
        }
    }
}

impl Mailbox {
    /// Takes what was offered, or registers the task to be woken for it.
    pub(super) fn poll_offered(&self, cx: &mut Context<'_>) -> Poll<Offered> {
        let mut state = self.state();
        match std::mem::take(&mut state.offered) {
            Offered::Nothing => {
                state.register(cx);
                Poll::Pending
            }
            offered => Poll::Ready(offered),
        }
    }

    /// Takes the next signal, or registers the task to be woken for it. The end is signalled for ever.
    pub(super) fn poll_signal(&self, cx: &mut Context<'_>) -> Poll<Signal> {
        let mut state = self.state();
        if let Some(reason) = state.end {
            return Poll::Ready(Signal::End(reason));
        }
        if std::mem::take(&mut state.heartbeat) {
            return Poll::Ready(Signal::Heartbeat);
        }
        state.register(cx);
        Poll::Pending
    }

    /// Notes when something was written, in milliseconds since the hub was opened.
    pub(super) fn wrote(&self, at: u64) {
        self.last_write.store(at, Ordering::Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, MailboxState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, change: impl FnOnce(&mut MailboxState)) {
        let waker = {
            let mut state = self.state();
            change(&mut state);
            state.waker.take()
        };
        // Not under the lock: the woken task takes it at once, on another core.
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl MailboxState {
    fn register(&mut self, cx: &Context<'_>) {
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => self.waker = Some(cx.waker().clone()),
        }
    }
}

impl Outlet for Mailbox {
    fn offer(&self, batch: &Arc<Batch>, selection: Selection) {
        self.wake(|state| {
            state.offered = match state.offered {
                Offered::Nothing => Offered::Entries(batch.clone(), selection),
                Offered::Entries(..) | Offered::Behind => Offered::Behind,
            }
        });
    }

    fn fall_behind(&self) {
        self.wake(|state| state.offered = Offered::Behind);
    }

    fn end(&self, reason: EndReason) {
        self.wake(|state| {
            state.end.get_or_insert(reason);
        });
    }

    fn beat(&self, silent_since: u64) {
        if self.last_write.load(Ordering::Relaxed) <= silent_since {
            self.wake(|state| state.heartbeat = true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_gives_its_entries_in_order_each_once() {
        let mut selection = Selection::NONE;
        for n in [63, 0, 7, 7] {
            selection.insert(n);
        }
        assert_eq!(std::iter::from_fn(|| selection.pop()).collect::<Vec<_>>(), [0, 7, 63]);
        assert!(selection.is_empty());
    }
}
