//! Reading from the archive, on threads that may wait.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::Shared;
use super::failure::Failure;
use super::snapshot::Snapshot;

/// How often a read is tried again while the archive's file is being opened again.
const TRIES: usize = 500;
/// How long it waits in between, on its own thread.
const TRY_EVERY: Duration = Duration::from_millis(10);
/// How long a read in several steps may be begun again: each step has waited for as long as that already.
const PATIENCE: Duration = TRY_EVERY.saturating_mul(TRIES as u32);

impl Shared {
    /// Reads from the archive on a thread that may wait.
    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        question: impl Fn(&Self, &Snapshot) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let shared = self.clone();
        self.blocking(move || shared.with_snapshot(|snapshot| question(&shared, &snapshot))).await
    }

    /// Does something on a thread that may wait, as soon as not too many others do.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let permit = self.readers.clone().acquire_owned().await;
        let work = move || {
            // Until the work is done, even if nobody waits for it any more.
            let _permit = permit;
            work()
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|error| Err(Failure(redb::Error::Corrupted(error.to_string()))))
    }

    pub(super) fn with_snapshot<T>(&self, question: impl Fn(Snapshot) -> Result<T, Failure>) -> Result<T, Failure> {
        let mut tries = 1;
        loop {
            match self.snapshot().and_then(&question) {
                Err(failure) if failure.passes() && tries < TRIES => {
                    tries += 1;
                    self.archiver.wake();
                    std::thread::sleep(TRY_EVERY);
                }
                other => return other,
            }
        }
    }

    /// Whether a read in several steps is to be begun again, because the archive's file had to be opened again in
    /// between: one snapshot would not agree with the next.
    pub(super) async fn must_begin_again<T>(&self, read: &Result<T, Failure>, begun: Instant) -> bool {
        let must = begun.elapsed() < PATIENCE && read.as_ref().is_err_and(Failure::passes);
        if must {
            self.archiver.wake();
            tokio::time::sleep(TRY_EVERY).await;
        }
        must
    }

    fn snapshot(&self) -> Result<Snapshot, Failure> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        Snapshot::begin(database.as_ref().ok_or(Failure(redb::Error::DatabaseClosed))?)
    }
}
