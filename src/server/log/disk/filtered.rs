//! Reading what a filter wants that can't list its topics: it is asked about each topic once, by the topics'
//! numbers.

use std::collections::HashMap;
use std::sync::Arc;

use super::Shared;
use super::archive::Failure;
use super::read::{SCAN_LIMIT, blocking, read_error};
use super::snapshot::{Seen, Snapshot, Window};
use crate::server::log::page::Room;
use crate::server::log::{Cursor, Entry, Page, ReadError, TopicFilter};

/// How many entries of the archive are looked at in one go, and how many bytes of them: as many as are wanted at
/// first, then more. They are read from the file whole.
const WINDOW: usize = 1024;
const FIRST_WINDOW_BYTES: usize = 64 << 10;
const WINDOW_BYTES: usize = 1 << 20;
/// How many bytes a read looks at before it answers, wanted or not.
const SCAN_BYTES: usize = 16 << 20;
/// How many topics a filter is asked about in one go.
const TOPICS_AT_ONCE: usize = 1024;
/// Finding a topic's place in the index costs about as much as looking at so many entries in order.
const SEEK_COST: u64 = 8;

/// What a filter has said about topics, by their numbers.
#[derive(Default)]
pub(super) struct Asked(HashMap<u64, bool>);

impl Asked {
    fn want(&self, seen: &Seen) -> bool {
        seen.topics.iter().any(|number| self.0.get(number) == Some(&true))
    }
}

/// How far a read has looked at one entry after the other.
struct Scan {
    /// The places that are wanted.
    wanted: Vec<Cursor>,
    /// What is left beside them.
    room: Room,
    /// Everything up to here has been looked at,
    next: Cursor,
    /// which is so many entries
    seen: usize,
    /// of so many bytes.
    bytes: usize,
    /// Whether that was the rest of the archive.
    ended: bool,
    /// Whether there was no room for one that is wanted.
    full: bool,
}

impl Scan {
    fn go_on(&mut self, window: &Window, asked: &Asked) {
        self.seen += window.places.len();
        self.bytes += window.bytes;
        for seen in &window.places {
            let wanted = asked.want(seen);
            self.full = self.room.is_full() || (wanted && !self.room.take(seen.frame));
            if self.full {
                return;
            }
            if wanted {
                self.wanted.push(seen.cursor);
            }
            self.next = seen.cursor;
        }
    }

    fn page(
        &self,
        shared: &Shared,
        snapshot: &Snapshot,
        cursor: Cursor,
        mut room: Room,
        gap: bool,
    ) -> Result<Page, Failure> {
        let mut page = Page { entries: Vec::new(), next: cursor, more: !self.ended, gap };
        snapshot.fetch(&self.wanted, &shared.names, (shared.clock)(), &mut room, &mut page)?;
        page.next = self.next;
        Ok(page)
    }
}

impl Shared {
    /// The next entries that a filter wants which can't list its topics. Looks at the next entries first:
    /// most filters want enough of them. Where this one doesn't, the index of all topics that it wants
    /// is used if that is less work.
    pub(super) async fn archived_by_filter(
        self: &Arc<Self>,
        cursor: Cursor,
        filter: &dyn TopicFilter,
        room: Room,
    ) -> Result<Page, ReadError> {
        let mut asked = Asked::default();
        let mut scan = Scan { wanted: Vec::new(), room, next: cursor, seen: 0, bytes: 0, ended: false, full: false };
        let mut size = room.bytes_left().clamp(FIRST_WINDOW_BYTES, WINDOW_BYTES);
        let (mut snapshot, mut window) = self.window_from(None, cursor, size).await?;
        let newest = snapshot.totals.newest;
        let lossy = snapshot.totals.removed > cursor;
        loop {
            self.ask(&window, filter, &mut asked);
            scan.go_on(&window, &asked);
            if window.is_last && !scan.full {
                (scan.next, scan.ended) = (newest.max(cursor), true);
            }
            if scan.ended || scan.full || scan.seen >= SCAN_LIMIT || scan.bytes >= SCAN_BYTES {
                break;
            }
            size = (size * 2).min(WINDOW_BYTES);
            (snapshot, window) = self.window_from(Some(snapshot), scan.next, size).await?;
        }
        if !lossy && (scan.ended || scan.full) {
            return blocking({
                let shared = self.clone();
                move || scan.page(&shared, &snapshot, cursor, room, false).map_err(read_error)
            })
            .await;
        }

        let numbers = self.ask_all(filter, &mut asked).await;
        // A new snapshot, taken after the question: a topic that has been forgotten since the first one
        // counts as lost in it. And no further than the first one, whose topics were all asked about.
        self.read(move |shared, fresh| {
            let gap = lossy && (fresh.totals.forgotten > cursor || fresh.have_lost(&numbers, cursor)?);
            let mut hits = 0;
            if !scan.ended && !scan.full {
                for &number in &numbers {
                    hits += fresh.row(number)?.map_or(0, |row| row.count);
                }
                let rest = newest.0.saturating_sub(cursor.0);
                let limit = fresh.totals.hold(&room) as u64;
                let by_scan = rest.min(limit.saturating_mul(fresh.totals.count) / hits.max(1));
                if SEEK_COST * numbers.len() as u64 + limit < by_scan {
                    return shared.page_of(fresh, &numbers, cursor, newest, room, gap);
                }
            }
            scan.page(shared, &snapshot, cursor, room, gap)
        })
        .await
    }

    async fn window_from(
        self: &Arc<Self>,
        snapshot: Option<Snapshot>,
        after: Cursor,
        bytes: usize,
    ) -> Result<(Snapshot, Window), ReadError> {
        let shared = self.clone();
        blocking(move || {
            let snapshot = snapshot.map_or_else(|| shared.with_snapshot(Ok), Ok)?;
            let window = snapshot.window_from(after.next(), WINDOW, bytes).map_err(read_error)?;
            Ok((snapshot, window))
        })
        .await
    }

    /// The wanted ones of the last entries up to `to`, newest first, and the oldest place looked at
    /// unless it was the log's beginning.
    pub(super) async fn window_until(
        self: &Arc<Self>,
        to: Cursor,
        filter: &dyn TopicFilter,
        asked: &mut Asked,
        limit: usize,
    ) -> Result<(Vec<Arc<Entry>>, Option<Cursor>), ReadError> {
        let shared = self.clone();
        let (snapshot, window) = blocking(move || {
            shared.with_snapshot(|snapshot| {
                let window = snapshot.window_until(to, WINDOW, WINDOW_BYTES)?;
                Ok((snapshot, window))
            })
        })
        .await?;
        self.ask(&window, filter, asked);
        let mut rest = window.places.last().map(|seen| seen.cursor).filter(|_| !window.is_last);
        let mut wanted = Vec::new();
        for seen in window.places.iter().filter(|seen| asked.want(seen)) {
            wanted.push(seen.cursor);
            if wanted.len() == limit {
                rest = Some(seen.cursor);
                break;
            }
        }
        if wanted.is_empty() {
            return Ok((Vec::new(), rest));
        }
        let shared = self.clone();
        let entries = blocking(move || snapshot.all_at(&wanted, &shared.names).map_err(read_error)).await?;
        Ok((entries, rest))
    }

    fn ask(&self, window: &Window, filter: &dyn TopicFilter, asked: &mut Asked) {
        for number in window.places.iter().flat_map(|seen| &seen.topics) {
            if !asked.0.contains_key(number) {
                // A name that retention has removed since: nothing of it is left to be wanted.
                let wanted = self.names.get(*number).is_some_and(|topic| filter.wants(topic.as_str()));
                asked.0.insert(*number, wanted);
            }
        }
    }

    async fn ask_all(&self, filter: &dyn TopicFilter, asked: &mut Asked) -> Vec<u64> {
        let mut wanted = Vec::new();
        let mut last = None;
        loop {
            let topics = self.names.after(last, TOPICS_AT_ONCE);
            for (number, topic) in &topics {
                if *asked.0.entry(*number).or_insert_with(|| filter.wants(topic.as_str())) {
                    wanted.push(*number);
                }
            }
            last = topics.last().map(|(number, _)| *number);
            if topics.len() < TOPICS_AT_ONCE {
                return wanted;
            }
            tokio::task::yield_now().await;
        }
    }
}
