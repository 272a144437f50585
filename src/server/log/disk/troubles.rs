//! The log's current failures, which its health reports.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::server::log::AppendError;

/// The failures that keep the log from taking updates, by the part that met them.
#[derive(Default)]
pub(super) struct Troubles(Mutex<State>);

#[derive(Default)]
struct State {
    /// A part has panicked: this never passes.
    dead: Option<AppendError>,
    archive: Option<AppendError>,
    journal: Option<AppendError>,
}

impl Troubles {
    pub(super) fn set_dead(&self, trouble: AppendError) {
        self.state().dead = Some(trouble);
    }

    pub(super) fn set_archive(&self, trouble: Option<AppendError>) {
        self.state().archive = trouble;
    }

    /// How the last write of the journal ended.
    pub(super) fn set_journal(&self, trouble: Option<AppendError>) {
        self.state().journal = trouble;
    }

    /// The trouble with which the journal must not go on, because the archive won't take it over.
    pub(super) fn of_archive(&self) -> Option<AppendError> {
        let state = self.state();
        state.dead.clone().or_else(|| state.archive.clone())
    }

    /// The worst trouble there is.
    pub(super) fn first(&self) -> Option<AppendError> {
        let state = self.state();
        state.dead.clone().or_else(|| state.archive.clone()).or_else(|| state.journal.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
