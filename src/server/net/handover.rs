//! The way by which a response takes its connection back from hyper.
//!
//! A stream of events needs nothing that hyper does once its head is sent, and hyper's task and buffers are most of what
//! an idle stream would cost. So the response's body names a successor, and as soon as everything that hyper has taken
//! from it was written, the successor gets the socket.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::direct_socket::DirectSocket;

/// What goes on with a connection.
pub(crate) trait Successor: Send + Sync {
    /// Takes the socket over. The head of a response and the first chunks of its body are written, in chunks of
    /// HTTP/1.1 (RFC 9112, 7.1); what comes next begins with a chunk.
    fn take_over(&self, socket: DirectSocket);
}

/// A connection's offer to be handed over: requests over HTTP/1.1 have it among their extensions.
#[derive(Clone, Default)]
pub(crate) struct Handover(Arc<Mutex<HandoverState>>);

#[derive(Default)]
struct HandoverState {
    successor: Option<Arc<dyn Successor>>,
    /// Whether everything was written since the successor was named.
    is_flushed: bool,
}

impl Handover {
    /// Names who takes the connection over. The body must not have anything ready from now on.
    pub(crate) fn to(&self, successor: Arc<dyn Successor>) {
        *self.state() = HandoverState { successor: Some(successor), is_flushed: false };
    }

    /// Nobody takes it over: the body has ended.
    pub(crate) fn withdraw(&self) {
        *self.state() = HandoverState::default();
    }

    /// The successor, once its time has come.
    pub(super) fn due(&self) -> Option<Arc<dyn Successor>> {
        let mut state = self.state();
        if state.is_flushed { state.successor.take() } else { None }
    }

    /// Everything that the body has given was written.
    pub(super) fn flushed(&self) {
        let mut state = self.state();
        state.is_flushed = state.successor.is_some();
    }

    fn state(&self) -> MutexGuard<'_, HandoverState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
