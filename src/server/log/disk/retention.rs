//! Chooses what leaves the archive: expired entries first, then the oldest of each lane that is over its limits, then
//! entries that are too old, then the oldest of topics over limits of their own.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use chrono::{DateTime, Utc};
use redb::ReadableTable;

use super::changes::{Changes, Removal, Tables};
use super::failure::Failure;
use super::schema::{Totals, WHOLE_LOG};
use crate::server::log::clock::Reading;
use crate::server::log::{Cursor, Lane, Retention};

/// How often topics with an age limit of their own are looked at.
pub(super) const AGE_CHECK_EVERY: Duration = Duration::from_secs(10);

/// When the archive has next to be looked into for something that time has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct NextExpiry {
    /// The earliest time of an entry, as far as it can be the next that is too old: that of the oldest entry, or of one
    /// that stands behind a later time.
    oldest_at: Option<DateTime<Utc>>,
    /// When the next entry expires, in milliseconds.
    expiry: Option<i64>,
}

impl NextExpiry {
    pub(super) fn at_once() -> Self {
        Self { oldest_at: Some(DateTime::<Utc>::MIN_UTC), expiry: Some(i64::MIN) }
    }

    pub(super) fn of(tables: &Tables<'_>) -> Result<Self, Failure> {
        let oldest_at = match tables.oldest()? {
            Some(oldest) => tables.at(oldest.0)?,
            None => None,
        };
        let late = tables.first_late(WHOLE_LOG)?.and_then(|(at, _)| DateTime::from_timestamp_millis(at));
        let oldest_at = [oldest_at, late].into_iter().flatten().min();
        Ok(Self { oldest_at, expiry: tables.expiries.first()?.map(|(key, _)| key.value().0) })
    }

    /// Whether there is something to take out.
    pub(super) fn is_due(&self, totals: &Totals, retention: &Retention, time: Reading) -> bool {
        totals.by_lane().any(|(lane, size)| retention.is_exceeded(lane, size))
            || self.expiry.is_some_and(|at| at <= time.now.timestamp_millis())
            || self.oldest_at.zip(time.horizon(retention.all.age)).is_some_and(|(oldest, horizon)| oldest < horizon)
    }
}

pub(super) struct Sweep<'a> {
    pub(super) retention: &'a Retention,
    /// Topics with limits of their own, and which ones.
    pub(super) topic_limits: &'a HashMap<u64, usize>,
    pub(super) time: Reading,
    /// No entry of the main lane is before this one.
    pub(super) main_from: Cursor,
}

impl Sweep<'_> {
    /// Takes out at most `budget` entries; whether there are more. Topics that have been held against
    /// their limits leave `to_check`.
    pub(super) fn run(
        &mut self,
        changes: &mut Changes<'_, '_>,
        to_check: &mut VecDeque<u64>,
        mut budget: usize,
    ) -> Result<bool, Failure> {
        while let Some(cursor) = self.expired(changes)? {
            if !spend(&mut budget) {
                return Ok(true);
            }
            changes.remove(cursor, Removal::Expired)?;
        }
        for lane in Lane::ALL {
            while let Some(cursor) = self.oldest_in_full_lane(changes, lane)? {
                if !spend(&mut budget) {
                    return Ok(true);
                }
                changes.remove(cursor.0, Removal::Eviction)?;
            }
        }
        while let Some(cursor) = self.too_old(changes)? {
            if !spend(&mut budget) {
                return Ok(true);
            }
            changes.remove(cursor, Removal::Eviction)?;
        }
        while let Some(&topic) = to_check.front() {
            while let Some(cursor) = self.leaves_topic(changes, topic)? {
                if !spend(&mut budget) {
                    return Ok(true);
                }
                changes.remove(cursor, Removal::Eviction)?;
            }
            to_check.pop_front();
            // Looking costs something too.
            if !spend(&mut budget) {
                return Ok(!to_check.is_empty());
            }
        }
        Ok(false)
    }

    fn expired(&self, changes: &Changes<'_, '_>) -> Result<Option<u64>, Failure> {
        let first = changes.tables.expiries.first()?.map(|(key, _)| key.value());
        Ok(first.filter(|(at, _)| *at <= self.time.now.timestamp_millis()).map(|(_, cursor)| cursor))
    }

    fn oldest_in_full_lane(&mut self, changes: &mut Changes<'_, '_>, lane: Lane) -> Result<Option<Cursor>, Failure> {
        if !self.retention.is_exceeded(lane, *changes.totals.lane(lane)) {
            return Ok(None);
        }
        if lane != Lane::Main {
            return changes.tables.oldest_in(lane);
        }
        let oldest = changes.tables.oldest_in_main(self.main_from)?;
        self.main_from = oldest.unwrap_or(self.main_from);
        Ok(oldest)
    }

    fn too_old(&self, changes: &Changes<'_, '_>) -> Result<Option<u64>, Failure> {
        let Some(horizon) = self.time.horizon(self.retention.all.age) else { return Ok(None) };
        if let Some(oldest) = changes.tables.oldest()?
            && changes.tables.at(oldest.0)?.is_some_and(|at| at < horizon)
        {
            return Ok(Some(oldest.0));
        }
        late_before(changes, WHOLE_LOG, horizon)
    }

    /// The next entry that the limits of a topic let go.
    fn leaves_topic(&self, changes: &mut Changes<'_, '_>, topic: u64) -> Result<Option<u64>, Failure> {
        let Some(&limits) = self.topic_limits.get(&topic) else { return Ok(None) };
        let limits = &self.retention.topics[limits].limits;
        if !changes.knows(topic)? {
            return Ok(None);
        }
        let oldest = changes.tables.postings.range((topic, 0)..=(topic, u64::MAX))?.next();
        let Some(oldest) = oldest.transpose()?.map(|(key, _)| key.value().1) else { return Ok(None) };
        let row = changes.row(topic)?;
        if limits.exceeded_by(row.count, row.bytes) {
            return Ok(Some(oldest));
        }
        let Some(horizon) = self.time.horizon(limits.age) else { return Ok(None) };
        if changes.tables.at(oldest)?.is_some_and(|at| at < horizon) {
            return Ok(Some(oldest));
        }
        late_before(changes, topic, horizon)
    }
}

fn late_before(changes: &Changes<'_, '_>, topic: u64, horizon: DateTime<Utc>) -> Result<Option<u64>, Failure> {
    let late = changes.tables.first_late(topic)?;
    Ok(late.filter(|(at, _)| *at < horizon.timestamp_millis()).map(|(_, cursor)| cursor.0))
}

fn spend(budget: &mut usize) -> bool {
    let left = budget.checked_sub(1);
    *budget = left.unwrap_or(0);
    left.is_some()
}
