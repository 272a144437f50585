//! The writer is the log's sequencer: it takes what publishers submit meanwhile as one batch, gives the entries their
//! places, has the journal write them, and only then lets anybody know.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, Utc};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::Shared;
use super::journal::{Journal, RecordInfo, WriteError};
use crate::server::log::idempotency::Verdict;
use crate::server::log::place::place;
use crate::server::log::tail::TailSender;
use crate::server::log::{AppendError, Appended, Cursor, Durability, Entry, Field, IdempotencyKey, Lane, Update};
use crate::server::metrics::LOG;

/// How many submissions may wait before publishers wait with them.
pub(super) const QUEUE: usize = 1024;
/// How many submissions one flush may serve.
const BATCH: usize = 1024;
/// Above this many bytes of entries a batch is full.
const BATCH_BYTES: usize = 1 << 20;
/// How many cursors one flush reserves for entries that are not flushed. After a crash they are not given again,
/// because somebody may have seen them.
const RESERVED: u64 = 1 << 16;

/// Updates or entries to store, all or none.
pub(super) struct Submission {
    pub(super) content: SubmissionContent,
    pub(super) reply: oneshot::Sender<Reply>,
}

pub(super) enum SubmissionContent {
    /// Updates, which get their cursors here.
    Updates {
        updates: Vec<Update>,
        /// Whether they are what the hub itself says.
        is_system: bool,
        /// When they were taken; `None` is now.
        taken_at: Option<Vec<DateTime<Utc>>>,
        key: Option<CheckedKey>,
    },
    /// Entries with cursors, in order. Those up to the newest cursor are skipped.
    Entries(Vec<Entry>),
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
    pub(super) durability: Durability,
    /// The newest cursor that has been given, or may have been.
    pub(super) newest: Cursor,
    /// The newest entry in the journal or the archive.
    pub(super) last: Cursor,
    /// Cursors up to here may be given without a flush.
    pub(super) reserved: Cursor,
    /// Whether the log is a copy of a cluster's. The stream is durable, so the copy is not flushed.
    pub(super) is_copy: bool,
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
                    let Submission { content, reply } = submission;
                    match self.place_all(content, &mut entries) {
                        Ok(None) => {
                            bytes += entries[first..].iter().map(|entry| entry.size()).sum::<usize>();
                            replies.push((reply, Outcome::New(first..entries.len())));
                        }
                        Ok(Some(ids)) => replies.push((reply, Outcome::Repeated(ids))),
                        Err(error) => _ = reply.send(Err(error)),
                    }
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
                // After the answers: whoever subscribes once an update was fanned out was not promised it.
                if flushed.is_ok() {
                    self.send_to_tail(&entries).await;
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
        let mut found: Vec<Option<Arc<Entry>>> = vec![None; ids.len()];
        if self.shared.unarchived().archived > up_to {
            let archived = self.shared.with_snapshot(|snapshot| {
                ids.iter().map(|id| self.shared.find_archived(&snapshot, id)).collect::<Result<Vec<_>, _>>()
            });
            found = archived.map_err(|error| AppendError::Failed(error.to_string()))?;
        }
        let unarchived = self.shared.unarchived();
        for (id, entry) in ids.iter().zip(&mut found).filter(|(_, entry)| entry.is_none()) {
            let flushed = self.shared.find_unarchived(&unarchived, id, up_to.max(unarchived.archived));
            *entry = flushed.or_else(|| pending.iter().find(|entry| &*entry.id == *id)).cloned();
        }
        drop(unarchived);
        Ok(match key.judge(updates, &found)? {
            Verdict::New => None,
            Verdict::Repeated => Some(ids.into_iter().map(Box::from).collect()),
        })
    }

    /// Adds a submission to a batch. Returns the ids of an earlier submission instead, if this one repeats it.
    fn place_all(
        &self,
        content: SubmissionContent,
        batch: &mut Vec<Arc<Entry>>,
    ) -> Result<Option<Vec<Box<str>>>, AppendError> {
        let newest = |batch: &[Arc<Entry>]| batch.last().map_or(self.newest, |entry| entry.cursor);
        match content {
            SubmissionContent::Updates { updates, is_system, taken_at, key } => {
                if let Some(ids) = self.repeated(&updates, key, batch)? {
                    return Ok(Some(ids));
                }
                for (index, update) in updates.into_iter().enumerate() {
                    let at = taken_at.as_ref().and_then(|times| times.get(index).copied());
                    batch.push(Arc::new(self.place(newest(batch).next(), update, is_system, at)));
                }
            }
            SubmissionContent::Entries(entries) => {
                for entry in entries {
                    if entry.cursor > newest(batch) {
                        batch.push(Arc::new(entry));
                    }
                }
            }
        }
        Ok(None)
    }

    fn place(&self, cursor: Cursor, update: Update, is_system: bool, at: Option<DateTime<Utc>>) -> Entry {
        let at = at.unwrap_or_else(|| self.shared.clock.now());
        place(cursor, update, at, is_system, &self.shared.cipher, &self.shared.retention)
    }

    /// Makes entries durable, and readable.
    async fn flush(&mut self, entries: &[Arc<Entry>]) -> Result<(), AppendError> {
        let Some(last) = entries.last().map(|entry| entry.cursor) else { return Ok(()) };
        if let Some(reason) = &self.broken {
            return Err(AppendError::Failed(reason.clone()));
        }
        self.journal.encode(entries);
        loop {
            // Armed before it looks, or the archive could move in between.
            let moved = self.shared.archive_moved.notified();
            if let Some(trouble) = self.shared.troubles.of_archive() {
                return Err(trouble);
            }
            if self.journal.has_room(self.shared.unarchived().archived) {
                break;
            }
            self.shared.archiver.wake();
            moved.await;
        }
        self.write(entries, last)?;
        self.last = last;
        self.newest = last;
        let is_full = {
            let mut unarchived = self.shared.unarchived();
            for entry in entries {
                let id_given = !self.shared.cipher.has_made(&entry.id, entry.cursor);
                unarchived.push(entry.clone(), id_given);
            }
            unarchived.bytes >= super::ARCHIVE_BYTES || unarchived.len() >= super::ARCHIVE_ENTRIES
        };
        if is_full {
            self.shared.archiver.wake();
        }
        Ok(())
    }

    /// Lets the reader of the tail know of durable entries, and waits while it does not keep up.
    async fn send_to_tail(&self, entries: &[Arc<Entry>]) {
        tokio::select! {
            // Without a reader nobody listens, but the log goes on.
            permit = self.tail.reserve() => if let Some(permit) = permit { permit.send(entries) },
            () = self.closing.cancelled() => {}
        }
    }

    /// Whether to flush a record of these entries, and up to which cursor it reserves.
    fn flushes(&self, entries: &[Arc<Entry>], last: Cursor) -> (bool, Cursor) {
        if self.is_copy {
            return (false, Cursor::START);
        }
        let needs_flush = |entry: &Arc<Entry>| entry.lane != Lane::System;
        let must_survive = self.durability == Durability::Fsync && entries.iter().any(needs_flush);
        // Who gives cursors without a flush may only give those that a flush has reserved before.
        let uses_reserved = !must_survive || self.reserved > Cursor::START;
        let flush = must_survive || last > self.reserved;
        let is_short = last.0 + RESERVED / 2 > self.reserved.0;
        (flush, if uses_reserved && flush && is_short { Cursor(last.0 + RESERVED) } else { self.reserved })
    }

    /// Writes the encoded entries into the journal, and flushes it unless they need not survive a crash of the machine.
    fn write(&mut self, entries: &[Arc<Entry>], last: Cursor) -> Result<(), AppendError> {
        let (flush, reserved) = self.flushes(entries, last);
        // The archive repeats it, and must know it before it has any entry of this record.
        self.shared.reserve(reserved);
        let begun = Instant::now();
        let written = self.journal.write(RecordInfo { previous: self.last, last, reserved, flush });
        let failure = match written {
            Ok(()) => {
                LOG.write.record(begun.elapsed());
                LOG.batch.record(entries.len() as f64);
                self.reserved = reserved;
                self.shared.troubles.set_journal(None);
                self.refusing = false;
                return Ok(());
            }
            Err(WriteError::Refused(error)) if super::is_full(&error) => {
                if !std::mem::replace(&mut self.refusing, true) {
                    warn!(%error, "no room in the journal: publishes are refused until there is some");
                }
                AppendError::Full(error.to_string())
            }
            Err(WriteError::Refused(error)) => {
                error!(%error, "the journal could not be written");
                AppendError::Failed(error.to_string())
            }
            Err(WriteError::Broken(error)) => {
                error!(%error, "the journal could not be written and is closed: restart when the disk is well");
                let reason = format!("{error}; the log takes nothing until the server is restarted");
                self.broken = Some(reason.clone());
                AppendError::Failed(reason)
            }
        };
        self.shared.troubles.set_journal(Some(failure.clone()));
        Err(failure)
    }
}
