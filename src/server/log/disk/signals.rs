//! How the archiver is woken.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

/// What the others want of the archiver.
#[derive(Default)]
pub(super) struct ArchiverSignals {
    signals: Mutex<Signals>,
    changed: Condvar,
}

#[derive(Default)]
pub(super) struct Signals {
    wake: bool,
    pub(super) close: bool,
    /// Nobody will answer any more.
    dead: bool,
    pub(super) sweeps: Vec<oneshot::Sender<()>>,
}

impl ArchiverSignals {
    /// There is enough to put in.
    pub(super) fn wake(&self) {
        self.send(|signals| signals.wake = true);
    }

    /// Put everything in and take out what is due, then answer.
    pub(super) fn sweep(&self, done: oneshot::Sender<()>) {
        self.send(|signals| {
            // Dropping `done` is an answer too.
            if !signals.dead {
                signals.sweeps.push(done);
            }
        });
    }

    /// Put everything in and end.
    pub(super) fn close(&self) {
        self.send(|signals| signals.close = true);
    }

    /// The archiver has ended: whoever waits for it waits no longer.
    pub(super) fn die(&self) {
        let mut signals = self.signals();
        signals.dead = true;
        signals.sweeps.clear();
    }

    fn send(&self, change: impl FnOnce(&mut Signals)) {
        change(&mut self.signals());
        self.changed.notify_one();
    }

    /// Waits for a signal, at most this long.
    pub(super) fn wait(&self, timeout: Duration) -> Signals {
        let quiet = |signals: &mut Signals| !(signals.wake || signals.close) && signals.sweeps.is_empty();
        let waited = self.changed.wait_timeout_while(self.signals(), timeout, quiet);
        let (mut signals, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let Signals { close, dead, .. } = *signals;
        std::mem::replace(&mut *signals, Signals { close, dead, ..Signals::default() })
    }

    fn signals(&self) -> MutexGuard<'_, Signals> {
        self.signals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
