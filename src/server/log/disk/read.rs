//! Reading: from memory where that is enough, from the archive on a thread that may wait.
//!
//! What a page says must be true of one moment although entries move from memory into the archive, and
//! out of it, meanwhile. So the archive is read through a snapshot, whether something has been evicted
//! is read from the same snapshot, and what comes from memory goes on exactly where the snapshot ended.

use std::sync::Arc;

use tokio::task::yield_now;

use super::Shared;
use super::failure::Failure;
use super::read_state::{PASSED_OVER, ReadState, SCAN_LIMIT, SLICE};
use super::snapshot::Snapshot;
use super::unarchived::Unarchived;
use crate::server::log::page::PageBudget;
use crate::server::log::verdicts::Verdicts;
use crate::server::log::{Cursor, Entry, Page, PageSize, Topic, TopicFilter};

/// What a page by index is made of.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// The entries on these topics.
    pub(super) numbers: &'a [u64],
    /// Those of the hub's own events that are at these places, which are in order.
    pub(super) system: &'a [Cursor],
}

impl Shared {
    pub(super) async fn page_after(
        self: &Arc<Self>,
        cursor: Cursor,
        filter: &dyn TopicFilter,
        size: PageSize,
        state: &mut ReadState,
    ) -> Result<Page, Failure> {
        let mut page = Page { entries: Vec::new(), next: cursor, more: true, gap: false };
        let mut budget = PageBudget::new(size);
        if !filter.wants_private() {
            let unarchived = self.unarchived();
            if unarchived.has_nothing_public_after(cursor) {
                end(&mut page, unarchived.newest());
                return Ok(page);
            }
        }
        loop {
            let is_complete = match filter.exact() {
                Some(topics) => self.page_of_unarchived(topics, &mut budget, &mut page),
                None => self.page_from_unarchived(filter, &mut state.verdicts, &mut budget, &mut page).await,
            };
            if is_complete {
                return Ok(page);
            }
            let part = match filter.exact() {
                Some(topics) if !filter.wants_system() => {
                    self.archived_exactly(page.next, topics.to_vec(), budget, state).await?
                }
                _ => self.archived_by_filter(page.next, filter, budget, state).await?,
            };
            for entry in part.entries {
                budget.take(&entry);
                page.entries.push(entry);
            }
            page.gap |= part.gap;
            page.next = part.next;
            if part.more || budget.is_full() {
                return Ok(page);
            }
        }
    }

    /// Goes on with what is in memory on these topics, by index; `false` if that begins too late.
    fn page_of_unarchived(&self, topics: &[Topic], budget: &mut PageBudget, page: &mut Page) -> bool {
        let unarchived = self.unarchived();
        if unarchived.archived > page.next {
            return false;
        }
        let now = self.clock.now();
        for entry in unarchived.on_topics(topics, page.next) {
            if !entry.has_expired(now) {
                if budget.is_full() || !budget.take(entry) {
                    return true;
                }
                page.entries.push(entry.clone());
            }
            page.next = entry.cursor;
        }
        end(page, unarchived.newest());
        true
    }

    /// The same for a filter that can't list its topics.
    async fn page_from_unarchived(
        &self,
        filter: &dyn TopicFilter,
        verdicts: &mut Verdicts,
        budget: &mut PageBudget,
        page: &mut Page,
    ) -> bool {
        let wants_private = filter.wants_private();
        let mut looked_at = 0;
        while looked_at < SCAN_LIMIT {
            // The writer needs the lock, so the filter is asked without it.
            let (mut slice, mut last, mut seen) = (Vec::new(), page.next, 0);
            let newest = {
                let unarchived = self.unarchived();
                if unarchived.archived > page.next {
                    return false;
                }
                for entry in unarchived.after(page.next).take(PASSED_OVER) {
                    (last, seen) = (entry.cursor, seen + 1);
                    if wants_private || !entry.private {
                        slice.push(entry.clone());
                    }
                    if slice.len() == SLICE {
                        break;
                    }
                }
                unarchived.newest()
            };
            let now = self.clock.now();
            let turn = self.asking.acquire().await;
            for entry in &slice {
                let wanted = !entry.has_expired(now) && verdicts.wants(filter, entry);
                if budget.is_full() || (wanted && !budget.take(entry)) {
                    return true;
                }
                if wanted {
                    page.entries.push(entry.clone());
                }
                page.next = entry.cursor;
            }
            page.next = last;
            if slice.len() < SLICE && seen < PASSED_OVER {
                end(page, newest);
                return true;
            }
            looked_at += seen;
            drop(turn);
            yield_now().await;
        }
        true
    }

    async fn archived_exactly(
        self: &Arc<Self>,
        cursor: Cursor,
        topics: Vec<Topic>,
        budget: PageBudget,
        state: &mut ReadState,
    ) -> Result<Page, Failure> {
        // Before the snapshot, which has all of these at least.
        let evictions = self.topics.evictions();
        let known = state.evictions;
        let page = self
            .read(move |shared, snapshot| {
                let (numbers, gap) = shared.look_up(snapshot, &topics, cursor, known)?;
                let wanted = Wanted { numbers: &numbers, system: &[] };
                shared.page_of(snapshot, wanted, cursor, snapshot.totals.newest, budget, gap)
            })
            .await?;
        state.evictions = evictions;
        Ok(page)
    }

    /// The numbers of the known ones among these topics, and whether any of the topics has lost entries after `cursor`
    /// to evictions that are not among the first `known`. A dropped topic can't be told from one that never was: it
    /// counts as having lost something if any dropped one has.
    fn look_up(
        &self,
        snapshot: &Snapshot,
        topics: &[Topic],
        cursor: Cursor,
        known: u64,
    ) -> Result<(Vec<u64>, bool), Failure> {
        let numbers = snapshot.known(topics)?;
        let lost = self.have_evicted(snapshot, &numbers, cursor, known)?
            || (numbers.len() < topics.len() && self.topics.have_evicted_unknown(cursor, known, false));
        Ok((numbers, lost))
    }

    /// Whether any of these topics has lost entries after `cursor` to evictions that are not among the first `known`.
    pub(super) fn have_evicted(
        &self,
        snapshot: &Snapshot,
        numbers: &[u64],
        cursor: Cursor,
        known: u64,
    ) -> Result<bool, Failure> {
        if snapshot.totals.last_evicted <= cursor {
            return Ok(false);
        }
        snapshot.have_evicted(&self.topics.evicted_of(numbers, cursor, known), cursor)
    }

    /// The next wanted entries, by index.
    pub(super) fn page_of(
        &self,
        snapshot: &Snapshot,
        wanted: Wanted<'_>,
        cursor: Cursor,
        to: Cursor,
        mut budget: PageBudget,
        gap: bool,
    ) -> Result<Page, Failure> {
        let mut page = Page { entries: Vec::new(), next: cursor, more: true, gap };
        let now = self.clock.now();
        let mut count = snapshot.totals.hold(&budget);
        loop {
            count = count.min(budget.entries_left()).saturating_add(1);
            let cursors = snapshot.first_of(wanted.numbers, page.next.next(), to, count)?;
            let cursors = merge(cursors, wanted.system, page.next, count);
            if !snapshot.fetch(&cursors, &self.topics, now, &mut budget, &mut page)? {
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
    ) -> Result<Vec<Arc<Entry>>, Failure> {
        let now = self.clock.now();
        let mut entries: Vec<Arc<Entry>> = Vec::new();
        let mut verdicts = Verdicts::default();
        let mut before = cursor.unwrap_or_else(|| self.unarchived().newest().next());
        let archived = loop {
            let (slice, archived): (Vec<_>, _) = {
                let unarchived = self.unarchived();
                (unarchived.before(before).rev().take(SLICE).cloned().collect(), unarchived.archived)
            };
            let Some(last) = slice.last() else { break archived };
            before = last.cursor;
            let wanted = slice.into_iter().filter(|entry| !entry.has_expired(now) && verdicts.wants(filter, entry));
            entries.extend(wanted.take(limit - entries.len()));
            if entries.len() == limit {
                return Ok(entries);
            }
            yield_now().await;
        };
        let mut to = before.previous().min(archived);
        let mut verdicts = Verdicts::default();
        while entries.len() < limit && to > Cursor::START {
            let left = limit - entries.len();
            let (part, rest) = match filter.exact() {
                Some(topics) if !filter.wants_system() => {
                    let topics = topics.to_vec();
                    self.read(move |shared, snapshot| {
                        let numbers = snapshot.known(&topics)?;
                        let cursors = snapshot.last_of(&numbers, to, left)?;
                        let rest = if cursors.len() < left { None } else { cursors.last().copied() };
                        Ok((snapshot.all_at(&cursors, &shared.topics)?, rest))
                    })
                    .await?
                }
                _ => self.window_until(to, filter, &mut verdicts, left).await?,
            };
            entries.extend(part.into_iter().filter(|entry| !entry.has_expired(now)));
            to = rest.map_or(Cursor::START, Cursor::previous);
        }
        Ok(entries)
    }

    pub(super) async fn find(self: &Arc<Self>, id: &str) -> Result<Option<Arc<Entry>>, Failure> {
        let made = self.cipher.decrypt(id).and_then(|cursor| self.unarchived().get(cursor).cloned());
        let entry = match made.filter(|entry| &*entry.id == id) {
            Some(entry) => Some(entry),
            None => self.find_all([id.into()].into()).await?.0.pop().flatten(),
        };
        Ok(entry.filter(|entry| !entry.has_expired(self.clock.now())))
    }

    /// The earliest entry with each of these ids, expired or not, and the cursor up to which they were looked for.
    pub(super) async fn find_all(
        self: &Arc<Self>,
        ids: Arc<[Box<str>]>,
    ) -> Result<(Vec<Option<Arc<Entry>>>, Cursor), Failure> {
        loop {
            let archived_ids = ids.clone();
            let (mut found, newest) = self
                .read(move |shared, snapshot| {
                    let found: Result<Vec<_>, _> =
                        archived_ids.iter().map(|id| shared.find_archived(snapshot, id)).collect();
                    Ok((found?, snapshot.totals.newest))
                })
                .await?;
            let unarchived = self.unarchived();
            if unarchived.archived > newest {
                continue;
            }
            for (id, entry) in ids.iter().zip(&mut found).filter(|(_, entry)| entry.is_none()) {
                *entry = self.find_unarchived(&unarchived, id, newest).cloned();
            }
            return Ok((found, unarchived.newest()));
        }
    }

    /// The earliest entry after `cursor` with this id that the archive has not got yet.
    pub(super) fn find_unarchived<'a>(
        &self,
        unarchived: &'a Unarchived,
        id: &str,
        cursor: Cursor,
    ) -> Option<&'a Arc<Entry>> {
        let made = self.cipher.decrypt(id).filter(|made| *made > cursor).and_then(|made| unarchived.get(made));
        made.filter(|entry| &*entry.id == id).or_else(|| unarchived.given(id, cursor))
    }

    /// The earliest archived entry with this id.
    pub(super) fn find_archived(&self, snapshot: &Snapshot, id: &str) -> Result<Option<Arc<Entry>>, Failure> {
        if let Some(cursor) = self.cipher.decrypt(id)
            && let Some(entry) = snapshot.get(cursor, &self.topics)?
            && &*entry.id == id
        {
            return Ok(Some(entry));
        }
        snapshot.given(id, &self.cipher, &self.topics)
    }
}

/// The first of two lists of places after `cursor`, in order, at most `limit`. Both are sorted, and no place is in both.
fn merge(mut cursors: Vec<Cursor>, others: &[Cursor], cursor: Cursor, limit: usize) -> Vec<Cursor> {
    let others = &others[others.partition_point(|other| *other <= cursor)..];
    if !others.is_empty() {
        cursors.extend(others.iter().take(limit));
        cursors.sort_unstable();
        cursors.truncate(limit);
    }
    cursors
}

/// Nothing follows the page up to `newest`. After a crash that is behind the last entry: the cursors between are never given
/// again.
fn end(page: &mut Page, newest: Cursor) {
    page.next = page.next.max(newest);
    page.more = false;
}
