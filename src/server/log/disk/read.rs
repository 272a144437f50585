//! Reading: from memory where that is enough, from the archive on a thread that may wait.
//!
//! What a page says must be true of one moment although entries move from memory into the archive, and
//! out of it, meanwhile. So the archive is read through a snapshot, whether something has been lost is
//! asked of the same snapshot, and what comes from memory goes on exactly where the snapshot ended.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::Shared;
use super::archive::Failure;
use super::filtered::Asked;
use super::snapshot::Snapshot;
use crate::server::log::page::Room;
use crate::server::log::{Cursor, Entry, Notes, Page, PageSize, ReadError, Topic, TopicFilter};

/// How many entries a read looks at before it answers, wanted or not.
pub(super) const SCAN_LIMIT: usize = 4096;
/// How often a read is tried again while the archive's file is being opened again.
const TRIES: usize = 100;
/// How long it waits in between, on its own thread.
const TRY_EVERY: Duration = Duration::from_millis(10);

impl Shared {
    pub(super) async fn page_after(
        self: &Arc<Self>,
        cursor: Cursor,
        filter: &dyn TopicFilter,
        size: PageSize,
        notes: &mut Notes,
    ) -> Result<Page, ReadError> {
        let mut page = Page { entries: Vec::new(), next: cursor, more: true, gap: false };
        let mut room = Room::new(size);
        loop {
            if self.recent().archived <= page.next && self.page_from_recent(filter, &mut room, &mut page) {
                return Ok(page);
            }
            let part = match filter.exact() {
                Some(topics) => self.archived_exactly(page.next, topics.to_vec(), room, notes).await?,
                None => self.archived_by_filter(page.next, filter, room, notes).await?,
            };
            for entry in part.entries {
                room.take(entry.frame.len());
                page.entries.push(entry);
            }
            page.gap |= part.gap;
            page.next = part.next;
            if part.more || room.is_full() {
                return Ok(page);
            }
        }
    }

    /// Goes on from memory; `false` if that begins too late meanwhile.
    fn page_from_recent(&self, filter: &dyn TopicFilter, room: &mut Room, page: &mut Page) -> bool {
        let recent = self.recent();
        if recent.archived > page.next {
            return false;
        }
        let now = (self.clock)();
        page.more = false;
        for (seen, entry) in recent.after(page.next).enumerate() {
            let wanted = wants(filter, entry) && !entry.has_expired(now);
            if seen == SCAN_LIMIT || room.is_full() || (wanted && !room.take(entry.frame.len())) {
                page.more = true;
                break;
            }
            if wanted {
                page.entries.push(entry.clone());
            }
            page.next = entry.cursor;
        }
        true
    }

    /// Whether the filter would have wanted what has been lost after `cursor`.
    pub(super) async fn has_lost_after(
        self: &Arc<Self>,
        cursor: Cursor,
        filter: &dyn TopicFilter,
    ) -> Result<bool, ReadError> {
        if self.recent().archived <= cursor {
            return Ok(false);
        }
        match filter.exact() {
            Some(topics) => {
                let topics = topics.to_vec();
                self.read(move |shared, snapshot| Ok(shared.look_up(snapshot, &topics, cursor, 0)?.1)).await
            }
            None => {
                let shared = self.clone();
                let snapshot = self.blocking(move || shared.with_snapshot(Ok)).await?;
                Ok(self.has_lost(snapshot, filter, cursor, 0).await?.1)
            }
        }
    }

    async fn archived_exactly(
        self: &Arc<Self>,
        cursor: Cursor,
        topics: Vec<Topic>,
        room: Room,
        notes: &mut Notes,
    ) -> Result<Page, ReadError> {
        // Before the snapshot, which has all of these at least.
        let losses = self.names.losses();
        let known = notes.losses;
        let page = self
            .read(move |shared, snapshot| {
                let (numbers, gap) = shared.look_up(snapshot, &topics, cursor, known)?;
                shared.page_of(snapshot, &numbers, cursor, snapshot.totals.newest, room, gap)
            })
            .await?;
        notes.losses = losses;
        Ok(page)
    }

    /// The numbers of those of these topics that are known, and whether any of the topics has lost entries after
    /// `cursor`, and that was not among the first `known` losses. One that has been forgotten can't be told from
    /// one that never was: it has lost something if any forgotten one has.
    fn look_up(
        &self,
        snapshot: &Snapshot,
        topics: &[Topic],
        cursor: Cursor,
        known: u64,
    ) -> Result<(Vec<u64>, bool), Failure> {
        let numbers = snapshot.known(topics)?;
        let lost = self.have_lost(snapshot, &numbers, cursor, known)?
            || (numbers.len() < topics.len() && self.names.have_forgotten(cursor, known));
        Ok((numbers, lost))
    }

    /// Whether any of these topics has lost entries after `cursor`, and that was not among the first `known`
    /// losses.
    pub(super) fn have_lost(
        &self,
        snapshot: &Snapshot,
        numbers: &[u64],
        cursor: Cursor,
        known: u64,
    ) -> Result<bool, Failure> {
        if snapshot.totals.removed <= cursor {
            return Ok(false);
        }
        snapshot.have_lost(&self.names.lost_of(numbers, cursor, known), cursor)
    }

    /// The next entries of these topics, by index.
    pub(super) fn page_of(
        &self,
        snapshot: &Snapshot,
        numbers: &[u64],
        cursor: Cursor,
        to: Cursor,
        mut room: Room,
        gap: bool,
    ) -> Result<Page, Failure> {
        let mut page = Page { entries: Vec::new(), next: cursor, more: true, gap };
        let now = (self.clock)();
        let mut count = snapshot.totals.hold(&room);
        loop {
            count = count.min(room.entries_left()).saturating_add(1);
            let cursors = snapshot.first_of(numbers, page.next.next(), to, count)?;
            if !snapshot.fetch(&cursors, &self.names, now, &mut room, &mut page)? {
                return Ok(page);
            }
            match cursors.last() {
                Some(last) if cursors.len() == count => page.next = *last,
                _ => {
                    page.next = to.max(cursor);
                    page.more = false;
                    return Ok(page);
                }
            }
            count = count.saturating_mul(2);
        }
    }

    pub(super) async fn entries_before(
        self: &Arc<Self>,
        cursor: Option<Cursor>,
        filter: &dyn TopicFilter,
        limit: usize,
    ) -> Result<Vec<Arc<Entry>>, ReadError> {
        let now = (self.clock)();
        let mut entries: Vec<Arc<Entry>> = Vec::new();
        let mut to = {
            let recent = self.recent();
            let before = cursor.unwrap_or(recent.newest().next());
            let wanted = recent.before(before).rev().filter(|entry| wants(filter, entry) && !entry.has_expired(now));
            entries.extend(wanted.take(limit).cloned());
            before.previous().min(recent.archived)
        };
        let mut asked = Asked::default();
        while entries.len() < limit && to > Cursor::START {
            let left = limit - entries.len();
            let (part, rest) = match filter.exact() {
                Some(topics) => {
                    let topics = topics.to_vec();
                    self.read(move |shared, snapshot| {
                        let numbers = snapshot.known(&topics)?;
                        let cursors = snapshot.last_of(&numbers, to, left)?;
                        let rest = if cursors.len() < left { None } else { cursors.last().copied() };
                        Ok((snapshot.all_at(&cursors, &shared.names)?, rest))
                    })
                    .await?
                }
                None => self.window_until(to, filter, &mut asked, left).await?,
            };
            entries.extend(part.into_iter().filter(|entry| !entry.has_expired(now)));
            to = rest.map_or(Cursor::START, Cursor::previous);
        }
        Ok(entries)
    }

    pub(super) async fn find(self: &Arc<Self>, id: &str) -> Result<Option<Arc<Entry>>, ReadError> {
        let sealed = self.seal.open(id);
        if let Some(entry) = sealed.and_then(|cursor| self.recent().get(cursor).cloned())
            && &*entry.id == id
        {
            return Ok(Some(entry).filter(|entry| !entry.has_expired((self.clock)())));
        }
        loop {
            let text: Box<str> = id.into();
            let (archived, newest) = self
                .read(move |shared, snapshot| {
                    let sealed = match sealed {
                        Some(cursor) => snapshot.get(cursor, &shared.names)?.filter(|entry| entry.id == text),
                        None => None,
                    };
                    let entry = match sealed {
                        Some(entry) => Some(entry),
                        None => snapshot.given(&text, &shared.seal, &shared.names)?,
                    };
                    let now = (shared.clock)();
                    Ok((entry.filter(|entry| !entry.has_expired(now)), snapshot.totals.newest))
                })
                .await?;
            if archived.is_some() {
                return Ok(archived);
            }
            let recent = self.recent();
            if recent.archived <= newest {
                let now = (self.clock)();
                let mut kept = recent.after(newest).filter(|entry| !entry.has_expired(now));
                return Ok(kept.find(|entry| &*entry.id == id).cloned());
            }
        }
    }

    /// Reads from the archive on a thread that may wait.
    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        question: impl Fn(&Self, &Snapshot) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, ReadError> {
        let shared = self.clone();
        self.blocking(move || shared.with_snapshot(|snapshot| question(&shared, &snapshot))).await
    }

    /// Does something on a thread that may wait, as soon as not too many others do.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let permit = self.readers.clone().acquire_owned().await;
        let work = move || {
            // Until the work is done, even if nobody waits for it any more.
            let _permit = permit;
            work()
        };
        tokio::task::spawn_blocking(work).await.map_err(|error| ReadError(error.to_string()))?
    }

    pub(super) fn with_snapshot<T>(&self, question: impl Fn(Snapshot) -> Result<T, Failure>) -> Result<T, ReadError> {
        let mut tries = 1;
        loop {
            match self.snapshot().and_then(&question) {
                Err(failure) if failure.passes() && tries < TRIES => {
                    tries += 1;
                    self.bell.wake();
                    std::thread::sleep(TRY_EVERY);
                }
                other => return other.map_err(read_error),
            }
        }
    }

    fn snapshot(&self) -> Result<Snapshot, Failure> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        Snapshot::begin(database.as_ref().ok_or(Failure(redb::Error::DatabaseClosed))?)
    }
}

fn wants(filter: &dyn TopicFilter, entry: &Entry) -> bool {
    entry.topics.iter().any(|topic| filter.wants(topic.as_str()))
}

pub(super) fn read_error(failure: Failure) -> ReadError {
    ReadError(failure.to_string())
}
