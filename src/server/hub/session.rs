//! One open stream, as its owner sees it.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::HubShared;
use super::mailbox::{Mailbox, Signal};
use super::sessions::{ClientKey, Holder, SessionPlace};
use crate::server::metrics::STREAMS;

/// Who opens a session, and for how long.
#[derive(Clone, Default)]
pub struct SessionOptions {
    /// Whose limit of open sessions it counts towards; `None` for a stream of the server itself.
    pub client: Option<ClientKey>,
    /// Maximum number of that client's open sessions, this one among them.
    pub client_limit: Option<usize>,
    /// Who holds its token.
    pub holder: Option<Arc<dyn Holder>>,
    /// When its token expires, by the wall clock.
    pub expires: Option<DateTime<Utc>>,
    /// How long it may last.
    pub lifetime: Option<Duration>,
}

/// An open stream: in the table of sessions for as long as this lives.
pub struct Session {
    hub: Arc<HubShared>,
    place: SessionPlace,
    mailbox: Arc<Mailbox>,
}

impl Session {
    pub(super) fn new(hub: Arc<HubShared>, place: SessionPlace, mailbox: Arc<Mailbox>) -> Self {
        let session = Self { hub, place, mailbox };
        session.wrote();
        STREAMS.opened.increment(1);
        STREAMS.open.increment(1);
        session
    }

    /// Whether the stream has to end, or to send a comment. Wakes the task when it has.
    pub fn poll_signal(&self, cx: &mut Context<'_>) -> Poll<Signal> {
        self.mailbox.poll_signal(cx)
    }

    /// Where its stream waits.
    pub fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }

    /// Says that something was written just now: the next heartbeat is counted from here.
    pub fn wrote(&self) {
        self.mailbox.wrote(self.hub.elapsed());
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        STREAMS.open.decrement(1);
        if let Some((wanted, subscriber)) = self.hub.sessions.remove(self.place) {
            self.hub.presence.ended(wanted.targets(), subscriber);
        }
    }
}
