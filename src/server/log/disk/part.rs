//! A thread of the log: its panic is known to the others, and its end is waited for within limits.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use tracing::error;

use super::Shared;
use super::lock::FolderLock;

/// A thread of the log.
pub(super) struct Part {
    name: &'static str,
    end: Arc<End>,
}

/// Whether a thread has ended.
#[derive(Default)]
struct End {
    has_come: Mutex<bool>,
    changed: Condvar,
}

impl Part {
    /// Starts a thread. If it panics, the log is told that this part has died.
    pub(super) fn spawn(
        name: &'static str,
        shared: &Arc<Shared>,
        lock: &Arc<FolderLock>,
        run: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let end = Arc::<End>::default();
        let (ends, shared, lock) = (end.clone(), shared.clone(), lock.clone());
        std::thread::Builder::new().name(name.into()).spawn(move || {
            if catch_unwind(AssertUnwindSafe(run)).is_err() {
                error!(part = name, "a part of the log has panicked: it takes no more updates");
                shared.part_has_died(name);
            }
            // Whoever waits for this end may want the folder next.
            drop((shared, lock));
            *ends.has_come.lock().unwrap_or_else(PoisonError::into_inner) = true;
            ends.changed.notify_all();
        })?;
        Ok(Self { name, end })
    }

    /// Waits for the thread's end, at most until the deadline.
    pub(super) fn join(self, deadline: Instant) {
        let left = deadline.saturating_duration_since(Instant::now());
        let has_come = self.end.has_come.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.end.changed.wait_timeout_while(has_come, left, |has_come| !*has_come);
        let (has_come, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if !*has_come {
            error!(part = self.name, "a part of the log hangs and is left behind: is its disk well?");
        }
    }
}
