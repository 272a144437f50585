//! The archiver moves entries from the journal into the archive and evicts what retention says, in small transactions,
//! and opens the file again after a failure. It never holds publishing up, unless the journal is full.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::Shared;
use super::archive;
use super::changes::Changes;
use super::failure::Failure;
use super::retention::{NextExpiry, Sweep};
use super::schema::{TopicRow, Totals};
use crate::server::log::clock::{ClockWatch, Reading};
use crate::server::log::{AppendError, Cursor};
use crate::server::metrics::LOG;

/// How long an entry waits in the journal at most before it is put into the archive.
const EVERY: Duration = Duration::from_secs(1);
/// How many bytes of entries one transaction puts in.
const STEP_BYTES: usize = 8 << 20;
/// How many entries one transaction takes out.
const STEP_REMOVALS: usize = 2000;
/// How much room there must be after a failure, beyond what is waiting, before the archive is tried again.
const ROOM_BYTES: usize = 1 << 20;

/// With more bytes of entries than this the file is not made smaller while it serves readers.
const SHRINK_BYTES: u64 = 32 << 20;

pub(super) struct Archiver {
    shared: Arc<Shared>,
    folder: PathBuf,
    clock: ClockWatch,
    totals: Totals,
    next_expiry: NextExpiry,
    /// No entry of the main lane is before this one.
    main_from: Cursor,
    /// Topics with limits of their own, and which ones.
    topic_limits: HashMap<u64, usize>,
    /// Those of them that are to be held against their limits.
    to_check: VecDeque<u64>,
    next_age_check: Instant,
    in_trouble: bool,
    /// How large the file was when it had last been made smaller.
    size_after_shrink: u64,
}

impl Archiver {
    pub(super) fn new(shared: Arc<Shared>, folder: PathBuf, totals: Totals, topics: &[(u64, TopicRow)]) -> Self {
        let retention = &shared.retention;
        let topic_limits: HashMap<_, _> =
            topics.iter().filter_map(|(number, row)| Some((*number, retention.of_topic(&row.name)?))).collect();
        // The limits may be others than the last time.
        let to_check = topic_limits.keys().copied().collect();
        Self {
            folder,
            clock: ClockWatch::new(shared.clock.clone()),
            totals,
            next_expiry: NextExpiry::at_once(),
            main_from: Cursor::START,
            topic_limits,
            to_check,
            next_age_check: Instant::now(),
            in_trouble: false,
            size_after_shrink: 0,
            shared,
        }
    }

    /// Serves until the log is closed.
    pub(super) fn run(mut self) {
        let mut closing = false;
        while !closing {
            let signals = self.shared.archiver.wait(EVERY);
            closing = signals.close;
            if !signals.sweeps.is_empty() || closing {
                self.next_age_check = Instant::now();
            }
            if closing {
                // No more cursors will be given, so none needs to be kept back.
                self.shared.release_reserved();
            }
            while self.advance() {}
            self.shrink_file();
            for done in signals.sweeps {
                let _ = done.send(());
            }
        }
        // Readers that are still under way get an error rather than a file that is no longer locked.
        *self.shared.database.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// One transaction, if one is due; whether the next one is due at once.
    fn advance(&mut self) -> bool {
        if self.in_trouble
            && let Err(error) = self.find_room()
        {
            if !super::is_full(&error) {
                warn!(%error, "the log's folder can't be written");
            }
            return false;
        }
        let time = self.clock.read();
        // A panic out of redb is a damaged page: the readers of other pages need not suffer from it.
        let step = catch_unwind(AssertUnwindSafe(|| self.step(time)))
            .unwrap_or_else(|_| Err(Failure(redb::Error::Corrupted("redb has panicked".into()))));
        match step {
            Ok(more) => {
                if self.in_trouble {
                    info!("the log takes updates again");
                    self.in_trouble = false;
                    self.shared.troubles.set_archive(None);
                }
                more
            }
            Err(failure) => {
                self.fail(&failure);
                false
            }
        }
    }

    fn step(&mut self, time: Reading) -> Result<bool, Failure> {
        let pending = self.shared.unarchived().oldest_bytes(STEP_BYTES);
        // After the entries: the reservation that their records carry is among what is read here.
        let reserved = self.shared.reserved();
        if Instant::now() >= self.next_age_check {
            self.next_age_check = Instant::now() + super::retention::AGE_CHECK_EVERY;
            let topics = &self.shared.retention.topics;
            let ages = self.topic_limits.iter().filter(|(_, limits)| topics[**limits].limits.age.is_some());
            self.to_check.extend(ages.map(|(number, _)| *number));
        }
        let is_due = self.next_expiry.is_due(&self.totals, &self.shared.retention, time) || !self.to_check.is_empty();
        if pending.is_empty() && !is_due && reserved == self.totals.reserved && !self.in_trouble {
            return Ok(false);
        }

        let begun = Instant::now();
        let shared = self.shared.clone();
        let open = shared.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = open.as_ref().ok_or(Failure(redb::Error::DatabaseClosed))?;
        let txn = archive::begin(database)?;
        let mut changes = Changes::begin(&txn, &shared.cipher, self.totals)?;
        changes.totals.reserved = reserved;
        changes.put_all(&pending)?;
        for (number, name) in &changes.new_topics {
            if let Some(limits) = shared.retention.of_topic(name) {
                self.topic_limits.insert(*number, limits);
            }
        }
        if !self.topic_limits.is_empty() {
            self.to_check.extend(changes.touched().filter(|number| self.topic_limits.contains_key(number)));
        }
        let (topic_limits, main_from) = (&self.topic_limits, self.main_from);
        let mut sweep = Sweep { retention: &shared.retention, topic_limits, time, main_from };
        let more = sweep.run(&mut changes, &mut self.to_check, STEP_REMOVALS)?;
        let main_from = sweep.main_from;
        let next_expiry = NextExpiry::of(&changes.tables)?;
        let oldest = changes.tables.oldest()?;
        let outcome = changes.finish()?;
        self.shared.topics.announce(&outcome);
        txn.commit()?;

        self.shared.topics.commit(&outcome);
        for number in &outcome.dropped {
            self.topic_limits.remove(number);
        }
        let totals = outcome.totals;
        *shared.totals.lock().unwrap_or_else(PoisonError::into_inner) = totals;
        LOG.archive.record(begun.elapsed());
        (self.totals, self.next_expiry, self.main_from) = (totals, next_expiry, main_from);
        let waiting = {
            let mut unarchived = self.shared.unarchived();
            unarchived.drop_until(totals.newest);
            unarchived.oldest_archived = oldest;
            unarchived.bytes
        };
        self.shared.archive_moved.notify_one();
        Ok(more || waiting >= super::ARCHIVE_BYTES || !pending.is_empty() && waiting > 0)
    }

    /// Makes the file smaller if that is worth it and done in a moment: redb reads nothing meanwhile.
    /// Where more is kept, it waits for the next start or for `tidings log compact`.
    fn shrink_file(&mut self) {
        let path = self.folder.join(archive::FILE);
        let bytes = std::fs::metadata(&path).map_or(0, |file| file.len());
        let is_worth_it = archive::is_wasteful(bytes, self.totals.size().bytes) && bytes > 2 * self.size_after_shrink;
        if self.in_trouble || !is_worth_it || self.totals.size().bytes > SHRINK_BYTES {
            return;
        }
        let mut database = self.shared.database.write().unwrap_or_else(PoisonError::into_inner);
        let compacted = match database.as_mut().map(redb::Database::compact) {
            // A reader is under way: another time.
            None | Some(Err(redb::CompactionError::TransactionInProgress)) => return,
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => Err(error),
        };
        drop(database);
        match compacted {
            Ok(()) => {
                self.size_after_shrink = std::fs::metadata(&path).map_or(0, |file| file.len());
                info!(before = bytes, after = self.size_after_shrink, "the log's file has been made smaller");
            }
            Err(error) => self.fail(&Failure(error.into())),
        }
    }

    /// After a failed transaction redb takes no other one, and reads may fail too: the file must be
    /// opened again. What was to be put in is still in the journal.
    fn fail(&mut self, failure: &Failure) {
        let trouble = if failure.is_full() {
            if !self.in_trouble {
                error!(error = %failure, "no room for the log: publishes are refused until there is some");
            }
            AppendError::Full(failure.to_string())
        } else {
            error!(error = %failure, "the log could not be written: publishes are refused until it can be");
            AppendError::Failed(failure.to_string())
        };
        self.in_trouble = true;
        // What was taken from them has been undone.
        self.to_check = self.topic_limits.keys().copied().collect();
        self.main_from = Cursor::START;
        self.shared.troubles.set_archive(Some(trouble));
        // The writer may be waiting for room in the journal.
        self.shared.archive_moved.notify_one();
        // The old one first: redb locks its file. The folder's own lock is held all along.
        *self.shared.database.write().unwrap_or_else(PoisonError::into_inner) = None;
        if let Err(error) = self.open_again() {
            error!(%error, "the log could not be opened again: trying on");
        }
    }

    /// Opens the file again and goes on from what it holds: a commit that failed may have taken effect all
    /// the same, and what it put in must not be put in again.
    fn open_again(&mut self) -> Result<(), Failure> {
        let database = archive::open_database(&self.folder.join(archive::FILE))?;
        let totals = archive::totals(&database)?;
        self.totals = totals;
        self.next_expiry = NextExpiry::at_once();
        *self.shared.database.write().unwrap_or_else(PoisonError::into_inner) = Some(database);
        self.shared.unarchived().drop_until(self.totals.newest);
        Ok(())
    }

    /// Tries whether there is room, with a file that may fail without harm, and that there is a database.
    fn find_room(&mut self) -> io::Result<()> {
        let bytes = ROOM_BYTES + 2 * self.shared.unarchived().bytes.min(STEP_BYTES);
        let path = self.folder.join("room");
        let tried = std::fs::File::create(&path)
            .and_then(|mut file| file.write_all(&vec![0; bytes]).and_then(|()| file.sync_data()));
        let _ = std::fs::remove_file(&path);
        tried?;
        if self.shared.database.read().unwrap_or_else(PoisonError::into_inner).is_none() {
            self.open_again().map_err(|failure| io::Error::other(failure.to_string()))?;
        }
        Ok(())
    }
}
