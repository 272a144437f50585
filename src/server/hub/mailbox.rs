//! Where a session is offered its entries, and told to end. The fan-out decides what a session wants and may have.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use uuid::Uuid;

use super::batch::{Batch, Offer, Selection};
use super::outlet::{Outlet, Written};
use crate::server::log::Cursor;
use crate::server::metrics::STREAMS;

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

/// What a session is offered. Its stream polls it, or has parked an outlet in it, which is written to at once.
///
/// It holds one offer at most. A session that has not taken it when the next one comes falls behind, so a slow reader
/// costs its cursor. No method blocks or calls back into the hub: all of them are called for thousands of sessions in
/// a row.
#[derive(Default)]
pub struct Mailbox {
    /// Names its stream, to presence and in traces.
    subscriber: Uuid,
    state: Mutex<MailboxState>,
    /// In milliseconds since the hub was opened.
    last_write: AtomicU64,
    /// While the session is behind: one more than the cursor up to which it has read, or about that.
    behind_at: AtomicU64,
}

#[derive(Default)]
struct MailboxState {
    offered: Offered,
    end: Option<EndReason>,
    heartbeat: bool,
    waker: Option<Waker>,
    outlet: Option<Box<dyn Outlet>>,
}

/// How a session has got what it was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It has been written to its socket.
    Written,
    /// Up to here it has. What comes after is read later, as by a session that is behind.
    WrittenUpTo(Cursor),
    /// Its task writes it next.
    ByTask,
    /// The session is behind: it reads it once it has got that far.
    Later,
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

impl EndReason {
    /// The reason in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Shutdown => "shutdown",
            Self::Expired => "token_expired",
            Self::Lifetime => "lifetime",
            Self::Revoked => "revoked",
        }
    }

    /// The reason in the log.
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
    /// The mailbox of the stream of this name.
    pub(super) fn new(subscriber: Uuid) -> Self {
        Self { subscriber, ..Self::default() }
    }

    /// Names its stream; nil for one that presence doesn't tell of.
    pub(super) fn subscriber(&self) -> Uuid {
        self.subscriber
    }

    /// Offers the selected entries, and answers how the session has got them. What is not delivered now must be read
    /// later, from the session's cursor.
    pub(super) fn offer(&self, offer: &mut Offer, selection: Selection) -> Taken {
        let mut taken = Taken::Written;
        self.change(|state| {
            let Some(outlet) = &mut state.outlet else {
                if state.offer(offer.batch(), selection) {
                    STREAMS.fell_behind.increment(1);
                    self.is_behind(offer.batch().first().previous());
                }
                taken = state.taken();
                return false;
            };
            // It may have read on to the end by itself since the fan-out selected it.
            let selection = offer.after(outlet.cursor(), selection);
            let Some(chunk) = offer.chunk(selection) else { return false };
            let written = outlet.write(chunk);
            let (is_whole, last) = (chunk.is_whole, chunk.last);
            match written {
                Written::Nothing => {
                    state.offer(offer.batch(), selection);
                    taken = state.taken();
                }
                Written::All | Written::Part => {
                    self.wrote(offer.at);
                    if written == Written::All && is_whole {
                        return false;
                    }
                    taken = if written == Written::All { Taken::WrittenUpTo(last) } else { Taken::ByTask };
                    if !is_whole {
                        state.offered = Offered::Behind;
                    }
                }
            }
            true
        });
        taken
    }

    /// There may be entries for the session that were not offered: it reads on from its cursor.
    pub(super) fn fall_behind(&self) {
        self.change(|state| {
            state.offered = Offered::Behind;
            true
        });
    }

    /// Ends the session's stream. The first reason stays.
    pub(super) fn end(&self, reason: EndReason) {
        self.change(|state| {
            state.end.get_or_insert(reason);
            true
        });
    }

    /// Notes how far a session has read that is behind.
    pub(super) fn is_behind(&self, cursor: Cursor) {
        self.behind_at.store(cursor.next().0, Ordering::Relaxed);
    }

    /// Notes that a session has read everything.
    pub(super) fn is_live(&self) {
        self.behind_at.store(0, Ordering::Relaxed);
    }

    /// About how far a session has read, if it is behind.
    pub(super) fn behind_at(&self) -> Option<Cursor> {
        self.behind_at.load(Ordering::Relaxed).checked_sub(1).map(Cursor)
    }

    /// Whether nothing was written since `silent_since`, in milliseconds since the hub was opened.
    pub(super) fn is_silent(&self, silent_since: u64) -> bool {
        self.last_write.load(Ordering::Relaxed) <= silent_since
    }

    /// Asks for a comment, at `now` in milliseconds since the hub was opened.
    pub(super) fn beat(&self, now: u64) {
        self.change(|state| match &mut state.outlet {
            Some(outlet) => {
                self.wrote(now);
                let written = outlet.comment();
                // The task waits for its client to take the comment, and gives up on one that takes nothing.
                state.heartbeat = written == Written::Nothing;
                written != Written::All
            }
            None => {
                state.heartbeat = true;
                false
            }
        });
    }

    /// Waits here instead of in a task, until the outlet has to be resumed. Gives it back if something waits for it.
    pub fn park<O: Outlet + 'static>(self: &Arc<Self>, mut outlet: Box<O>) -> Result<(), Box<O>> {
        let waker = Waker::from(self.clone());
        let mut state = self.state();
        if state.end.is_some() || state.heartbeat || !matches!(state.offered, Offered::Nothing) {
            return Err(outlet);
        }
        // Under the lock: who wakes the mailbox waits until the outlet is in it.
        if outlet.poll_readable(&mut Context::from_waker(&waker)).is_ready() {
            return Err(outlet);
        }
        state.waker = None;
        state.outlet = Some(outlet);
        Ok(())
    }

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

    /// Changes the state, and then lets the stream know: by its waker, or by resuming its outlet if `change` says so.
    fn change(&self, change: impl FnOnce(&mut MailboxState) -> bool) {
        let (waker, outlet) = {
            let mut state = self.state();
            let resumes = change(&mut state);
            (state.waker.take(), if resumes { state.outlet.take() } else { None })
        };
        // Not under the lock: the woken task takes it at once, on another core.
        if let Some(waker) = waker {
            waker.wake();
        }
        if let Some(outlet) = outlet {
            outlet.resume();
        }
    }
}

/// Wakes a parked outlet: its client has sent something or gone away.
impl Wake for Mailbox {
    fn wake(self: Arc<Self>) {
        self.change(|_| true);
    }
}

impl MailboxState {
    /// Whether the session falls behind by that: it has not taken what was offered to it before.
    fn offer(&mut self, batch: &Arc<Batch>, selection: Selection) -> bool {
        let falls_behind = matches!(self.offered, Offered::Entries(..));
        self.offered = match self.offered {
            Offered::Nothing => Offered::Entries(batch.clone(), selection),
            Offered::Entries(..) | Offered::Behind => Offered::Behind,
        };
        falls_behind
    }

    /// How the session gets what it was just offered.
    fn taken(&self) -> Taken {
        match self.offered {
            Offered::Behind => Taken::Later,
            Offered::Nothing | Offered::Entries(..) => Taken::ByTask,
        }
    }

    fn register(&mut self, cx: &Context<'_>) {
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => self.waker = Some(cx.waker().clone()),
        }
    }
}
