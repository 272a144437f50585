//! The one that gives updates their order: takes what publishers submit meanwhile as one batch, gives the
//! entries their places, has the journal flush them, and only then lets anybody know.

use std::sync::Arc;

use chrono::{DateTime, SubsecRound, Utc};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::Shared;
use super::journal::{Journal, WriteError};
use crate::server::log::{AppendError, Cursor, Entry, Field, Update};

/// How many submissions may wait before publishers wait with them.
pub(super) const QUEUE: usize = 1024;
/// How many submissions one flush may serve.
const BATCH: usize = 1024;
/// Above this many bytes of frames a batch is full.
const BATCH_BYTES: usize = 1 << 20;

/// Updates that a publisher wants kept, all or none.
pub(super) struct Submission {
    /// With each the time when it was taken; `None` is now.
    pub(super) updates: Vec<(Update, Option<DateTime<Utc>>)>,
    pub(super) reply: oneshot::Sender<Reply>,
}

pub(super) type Reply = Result<Vec<Arc<Entry>>, AppendError>;

pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) journal: Journal,
    pub(super) newest: Cursor,
    pub(super) tail: mpsc::Sender<Arc<Entry>>,
    pub(super) closing: CancellationToken,
    /// Whether the last record found no room.
    pub(super) refusing: bool,
    /// Set when the journal can't be trusted any more.
    pub(super) broken: Option<String>,
}

impl Writer {
    /// Serves submissions until there are no more publishers.
    pub(super) async fn run(mut self, mut submissions: mpsc::Receiver<Submission>) {
        let mut batch = Vec::new();
        while submissions.recv_many(&mut batch, BATCH).await > 0 {
            let mut rest = batch.drain(..).peekable();
            while rest.peek().is_some() {
                let mut entries = Vec::new();
                let mut replies = Vec::new();
                let mut bytes = 0;
                while bytes < BATCH_BYTES
                    && let Some(submission) = rest.next()
                {
                    let first = entries.len();
                    for (update, at) in submission.updates {
                        let entry = self.place(Cursor(self.newest.0 + 1 + entries.len() as u64), update, at);
                        bytes += entry.frame.len();
                        entries.push(Arc::new(entry));
                    }
                    replies.push((submission.reply, first..entries.len()));
                }
                let flushed = self.flush(&entries).await;
                for (reply, range) in replies {
                    // A publisher that has gone away doesn't need the answer.
                    let _ = match &flushed {
                        Ok(()) => reply.send(Ok(entries[range].to_vec())),
                        Err(error) => reply.send(Err(error.clone())),
                    };
                }
            }
        }
    }

    fn place(&self, cursor: Cursor, mut update: Update, at: Option<DateTime<Utc>>) -> Entry {
        if update.id.is_none() {
            update.id = Field::parse(&self.shared.seal.seal(cursor)).ok();
        }
        let at = at.unwrap_or_else(|| (self.shared.clock)()).trunc_subsecs(3);
        Entry::new(cursor, at, update)
    }

    /// Makes entries durable, then lets everybody know.
    async fn flush(&mut self, entries: &[Arc<Entry>]) -> Result<(), AppendError> {
        let Some(newest) = entries.last().map(|entry| entry.cursor) else { return Ok(()) };
        if let Some(reason) = &self.broken {
            return Err(AppendError::Failed(reason.clone()));
        }
        self.journal.encode(entries);
        loop {
            // Armed before it looks, or the archive could move in between.
            let moved = self.shared.archive_moved.notified();
            if let Some(trouble) = self.shared.trouble() {
                return Err(trouble);
            }
            if self.journal.has_room(self.shared.recent().archived) {
                break;
            }
            self.shared.wake_keeper();
            moved.await;
        }
        self.journal.write(newest).map_err(|error| match error {
            WriteError::Refused(error) if super::is_full(&error) => {
                if !std::mem::replace(&mut self.refusing, true) {
                    warn!(%error, "no room in the journal: publishes are refused until there is some");
                }
                AppendError::Full(error.to_string())
            }
            WriteError::Refused(error) => {
                error!(%error, "the journal could not be written");
                AppendError::Failed(error.to_string())
            }
            WriteError::Broken(error) => {
                error!(%error, "the journal could not be written and is closed: restart when the disk is well");
                let reason = format!("{error}; the log takes nothing until the server is restarted");
                self.broken = Some(reason.clone());
                AppendError::Failed(reason)
            }
        })?;
        self.refusing = false;
        self.newest = newest;
        let full = {
            let mut recent = self.shared.recent();
            recent.push(entries.iter().cloned());
            recent.bytes >= super::ARCHIVE_BYTES || recent.newest().0 - recent.archived.0 >= super::ARCHIVE_ENTRIES
        };
        if full {
            self.shared.wake_keeper();
        }
        for entry in entries {
            tokio::select! {
                // Without a reader nobody listens, but the log goes on.
                _ = self.tail.send(entry.clone()) => {}
                () = self.closing.cancelled() => break,
            }
        }
        Ok(())
    }
}
