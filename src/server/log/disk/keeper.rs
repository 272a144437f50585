//! The one that keeps the archive: puts in what the journal holds, takes out what retention lets go, in
//! small transactions, and opens the file again after a failure. It never holds publishing up, unless
//! the journal is full.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::{error, info, warn};

use super::Shared;
use super::archive::{self, Changes, Failure};
use super::retention::{Due, Sweep};
use super::schema::{TopicRow, Totals};
use crate::server::log::{AppendError, Retention, Size};

/// How long an entry waits in the journal at most before it is put into the archive.
const EVERY: Duration = Duration::from_secs(1);
/// How many bytes of frames one transaction puts in.
const STEP_BYTES: usize = 8 << 20;
/// How many entries one transaction takes out.
const STEP_REMOVALS: usize = 2000;
/// How much room there must be after a failure, beyond what is waiting, before the archive is tried again.
const ROOM_BYTES: usize = 1 << 20;

/// Above so many bytes of entries the file is not made smaller while it serves readers.
const GIVE_BACK_BYTES: u64 = 32 << 20;

/// What the others tell the keeper.
#[derive(Default)]
pub(super) struct Bell {
    signals: Mutex<Signals>,
    rung: Condvar,
}

#[derive(Default)]
struct Signals {
    wake: bool,
    close: bool,
    sweeps: Vec<oneshot::Sender<()>>,
}

impl Bell {
    /// There is enough to put in.
    pub(super) fn wake(&self) {
        self.ring(|signals| signals.wake = true);
    }

    /// Put everything in and take out what is due, then answer.
    pub(super) fn sweep(&self, done: oneshot::Sender<()>) {
        self.ring(|signals| signals.sweeps.push(done));
    }

    /// Put everything in and end.
    pub(super) fn close(&self) {
        self.ring(|signals| signals.close = true);
    }

    fn ring(&self, change: impl FnOnce(&mut Signals)) {
        change(&mut self.signals());
        self.rung.notify_one();
    }

    fn wait(&self, timeout: Duration) -> Signals {
        let quiet = |signals: &mut Signals| !(signals.wake || signals.close) && signals.sweeps.is_empty();
        let waited = self.rung.wait_timeout_while(self.signals(), timeout, quiet);
        let (mut signals, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let close = signals.close;
        std::mem::replace(&mut *signals, Signals { close, ..Signals::default() })
    }

    fn signals(&self) -> MutexGuard<'_, Signals> {
        self.signals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Keeper {
    shared: Arc<Shared>,
    folder: PathBuf,
    retention: Retention,
    totals: Totals,
    apart: Size,
    due: Due,
    /// Topics with limits of their own, and which ones.
    ruled: HashMap<u64, usize>,
    /// Those of them that are to be held against their limits.
    checks: VecDeque<u64>,
    next_age_check: Instant,
    in_trouble: bool,
    /// How large the file was when it had last been made smaller.
    given_back: u64,
}

impl Keeper {
    pub(super) fn new(
        shared: Arc<Shared>,
        folder: PathBuf,
        retention: Retention,
        totals: Totals,
        topics: &[(u64, TopicRow)],
    ) -> Self {
        let ruled: HashMap<_, _> =
            topics.iter().filter_map(|(number, row)| Some((*number, retention.of_topic(&row.name)?))).collect();
        let apart = apart(&retention, topics);
        // The limits may be others than the last time.
        let checks = ruled.keys().copied().collect();
        Self {
            shared,
            folder,
            retention,
            totals,
            apart,
            due: Due::at_once(),
            ruled,
            checks,
            next_age_check: Instant::now(),
            in_trouble: false,
            given_back: 0,
        }
    }

    /// Serves until the log is closed.
    pub(super) fn run(mut self) {
        let mut closing = false;
        while !closing {
            let signals = self.shared.bell.wait(EVERY);
            closing = signals.close;
            if !signals.sweeps.is_empty() || closing {
                self.next_age_check = Instant::now();
            }
            while self.advance() {}
            self.give_back();
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
        // A panic out of redb is a damaged page: the readers of other pages need not suffer from it.
        let step = catch_unwind(AssertUnwindSafe(|| self.step()))
            .unwrap_or_else(|_| Err(Failure(redb::Error::Corrupted("redb has panicked".into()))));
        match step {
            Ok(more) => {
                if self.in_trouble {
                    info!("the log takes updates again");
                    self.in_trouble = false;
                    self.shared.set_trouble(None);
                }
                more
            }
            Err(failure) => {
                self.fail(&failure);
                false
            }
        }
    }

    fn step(&mut self) -> Result<bool, Failure> {
        let pending = self.shared.recent().oldest_bytes(STEP_BYTES);
        let now = (self.shared.clock)();
        if Instant::now() >= self.next_age_check {
            self.next_age_check = Instant::now() + super::retention::AGE_CHECK_EVERY;
            let ages = self.ruled.iter().filter(|(_, rule)| self.retention.topics[**rule].limits.age.is_some());
            self.checks.extend(ages.map(|(number, _)| *number));
        }
        let due = self.due.is_now(&self.totals, self.apart, &self.retention, now) || !self.checks.is_empty();
        if pending.is_empty() && !due && !self.in_trouble {
            return Ok(false);
        }

        let shared = self.shared.clone();
        let open = shared.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = open.as_ref().ok_or(Failure(redb::Error::DatabaseClosed))?;
        let txn = archive::begin(database)?;
        let mut changes = Changes::begin(&txn, &shared.seal, &self.retention, self.totals, self.apart)?;
        for entry in &pending {
            changes.put(entry)?;
        }
        for (number, name) in &changes.new_topics {
            if let Some(rule) = self.retention.of_topic(name) {
                self.ruled.insert(*number, rule);
            }
        }
        if !self.ruled.is_empty() {
            self.checks.extend(changes.touched().filter(|number| self.ruled.contains_key(number)));
        }
        let sweep = Sweep { retention: &self.retention, ruled: &self.ruled, now };
        let more = sweep.run(&mut changes, &mut self.checks, STEP_REMOVALS)?;
        let due = Due::of(&changes.tables)?;
        let oldest = changes.tables.oldest()?;
        let outcome = changes.finish()?;
        self.shared.names.announce(&outcome);
        txn.commit()?;

        self.shared.names.commit(&outcome);
        for number in &outcome.forgotten {
            self.ruled.remove(number);
        }
        let totals = outcome.totals;
        (self.totals, self.apart, self.due) = (totals, outcome.apart, due);
        let waiting = {
            let mut recent = self.shared.recent();
            recent.forget_until(totals.newest);
            recent.oldest = oldest.unwrap_or(totals.newest.next());
            recent.bytes
        };
        self.shared.archive_moved.notify_one();
        Ok(more || waiting >= super::ARCHIVE_BYTES || !pending.is_empty() && waiting > 0)
    }

    /// Makes the file smaller if that is worth it and done in a moment: redb reads nothing meanwhile.
    /// Where more is kept, it waits for the next start or for `tidings log compact`.
    fn give_back(&mut self) {
        let path = self.folder.join(archive::FILE);
        let bytes = std::fs::metadata(&path).map_or(0, |file| file.len());
        let is_worth_it = archive::is_wasteful(bytes, self.totals.bytes) && bytes > 2 * self.given_back;
        if self.in_trouble || !is_worth_it || self.totals.bytes > GIVE_BACK_BYTES {
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
                self.given_back = std::fs::metadata(&path).map_or(0, |file| file.len());
                info!(before = bytes, after = self.given_back, "the log's file has been made smaller");
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
        self.checks = self.ruled.keys().copied().collect();
        self.shared.set_trouble(Some(trouble));
        // The writer may be waiting for room in the journal.
        self.shared.archive_moved.notify_one();
        // The old one first: it holds the lock of the file.
        *self.shared.database.write().unwrap_or_else(PoisonError::into_inner) = None;
        if let Err(error) = self.open_again() {
            error!(%error, "the log could not be opened again: trying on");
        }
    }

    /// Opens the file again and goes on from what it holds: a commit that failed may have taken effect all
    /// the same, and what it put in must not be put in again.
    fn open_again(&mut self) -> Result<(), Failure> {
        let database = archive::open_database(&self.folder.join(archive::FILE))?;
        let (totals, topics) = archive::totals(&database)?;
        (self.totals, self.apart) = (totals, apart(&self.retention, &topics));
        self.due = Due::at_once();
        *self.shared.database.write().unwrap_or_else(PoisonError::into_inner) = Some(database);
        self.shared.recent().forget_until(self.totals.newest);
        Ok(())
    }

    /// Tries whether there is room, with a file that may fail without harm, and that there is a database.
    fn find_room(&mut self) -> io::Result<()> {
        let bytes = ROOM_BYTES + 2 * self.shared.recent().bytes.min(STEP_BYTES);
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

/// How much there is on the topics that have an allowance of their own.
fn apart(retention: &Retention, topics: &[(u64, TopicRow)]) -> Size {
    let apart = topics.iter().filter(|(_, row)| retention.is_apart(&row.name));
    apart.fold(Size::default(), |all, (_, row)| Size { count: all.count + row.count, bytes: all.bytes + row.bytes })
}
