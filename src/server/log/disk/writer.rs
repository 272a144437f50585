//! The one that gives updates their order: takes what publishers submit meanwhile as one batch, gives the
//! entries their places, has the journal flush them, and only then lets anybody know.

use std::ops::Range;
use std::sync::Arc;

use chrono::{DateTime, SubsecRound, Utc};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::Shared;
use super::journal::{Journal, WriteError};
use crate::server::log::idempotency::Verdict;
use crate::server::log::tail::TailSender;
use crate::server::log::{AppendError, Appended, Cursor, Entry, Field, IdempotencyKey, Update};

/// How many submissions may wait before publishers wait with them.
pub(super) const QUEUE: usize = 1024;
/// How many submissions one flush may serve.
const BATCH: usize = 1024;
/// Above this many bytes of frames a batch is full.
const BATCH_BYTES: usize = 1 << 20;

/// Updates that a publisher wants kept, all or none.
pub(super) struct Submission {
    pub(super) updates: Vec<Update>,
    /// When they were taken; `None` is now.
    pub(super) taken_at: Option<Vec<DateTime<Utc>>>,
    pub(super) key: Option<CheckedKey>,
    pub(super) reply: oneshot::Sender<Reply>,
}

/// An idempotency key that has been looked for, without success, among the entries up to a cursor.
pub(super) struct CheckedKey {
    pub(super) key: IdempotencyKey,
    pub(super) up_to: Cursor,
}

pub(super) type Reply = Result<Appended, AppendError>;

/// What is answered once a batch is durable.
enum Outcome {
    New(Range<usize>),
    Repeated(Vec<Box<str>>),
}

pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) journal: Journal,
    pub(super) newest: Cursor,
    pub(super) tail: TailSender,
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
                    let Submission { updates, taken_at, key, reply } = submission;
                    match self.repeated(&updates, key, &entries) {
                        Ok(None) => {}
                        Ok(Some(ids)) => {
                            replies.push((reply, Outcome::Repeated(ids)));
                            continue;
                        }
                        Err(error) => {
                            let _ = reply.send(Err(error));
                            continue;
                        }
                    }
                    for (index, update) in updates.into_iter().enumerate() {
                        let at = taken_at.as_ref().and_then(|times| times.get(index).copied());
                        let entry = self.place(Cursor(self.newest.0 + 1 + entries.len() as u64), update, at);
                        bytes += entry.frame.len();
                        entries.push(Arc::new(entry));
                    }
                    replies.push((reply, Outcome::New(first..entries.len())));
                }
                let flushed = self.flush(&entries).await;
                for (reply, outcome) in replies {
                    let answer = flushed.clone().map(|()| match outcome {
                        Outcome::New(range) => Appended::New(entries[range].to_vec()),
                        Outcome::Repeated(ids) => Appended::Repeated(ids),
                    });
                    // A publisher that has gone away doesn't need the answer.
                    let _ = reply.send(answer);
                }
            }
        }
    }

    /// The ids of these updates if they were appended with this key before: they are durable, or among the `pending`
    /// entries.
    fn repeated(
        &self,
        updates: &[Update],
        key: Option<CheckedKey>,
        pending: &[Arc<Entry>],
    ) -> Result<Option<Vec<Box<str>>>, AppendError> {
        let Some(CheckedKey { key, up_to }) = key else { return Ok(None) };
        let ids: Vec<&str> = updates.iter().filter_map(|update| update.id.as_ref()).map(Field::as_str).collect();
        let (recent, is_archived): (Vec<_>, _) = {
            let recent = self.shared.recent();
            let is_archived = recent.archived > up_to;
            (recent.after(up_to.max(recent.archived)).cloned().collect(), is_archived)
        };
        let mut found: Vec<Option<Arc<Entry>>> = vec![None; ids.len()];
        if is_archived {
            let archived = self.shared.with_snapshot(|snapshot| {
                ids.iter().map(|id| self.shared.find_archived(&snapshot, id)).collect::<Result<Vec<_>, _>>()
            });
            found = archived.map_err(|error| AppendError::Failed(error.to_string()))?;
        }
        for (id, entry) in ids.iter().zip(&mut found).filter(|(_, entry)| entry.is_none()) {
            *entry = recent.iter().chain(pending).find(|entry| &*entry.id == *id).cloned();
        }
        Ok(match key.judge(updates, &found)? {
            Verdict::New => None,
            Verdict::Repeated => Some(ids.into_iter().map(Box::from).collect()),
        })
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
        tokio::select! {
            // Without a reader nobody listens, but the log goes on.
            permit = self.tail.reserve() => if let Some(permit) = permit { permit.send(entries) },
            () = self.closing.cancelled() => {}
        }
        Ok(())
    }
}
