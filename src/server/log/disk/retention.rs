//! What of the archive is to go: first what has had its time, then the oldest of all, then the oldest of
//! the topics that have limits of their own.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use chrono::{DateTime, Utc};
use redb::ReadableTable;

use super::archive::{Changes, Failure, Removal, Tables};
use super::schema::Totals;
use crate::server::log::{Cursor, Limits, Retention, Size};

/// How often topics with an age limit of their own are looked at.
pub(super) const AGE_CHECK_EVERY: Duration = Duration::from_secs(10);

/// When the archive has next to be looked into for something that time has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    /// When the oldest entry was taken.
    oldest_at: Option<DateTime<Utc>>,
    /// When the next entry has had its time, in milliseconds.
    expiry: Option<i64>,
}

impl Due {
    pub(super) fn at_once() -> Self {
        Self { oldest_at: Some(DateTime::<Utc>::MIN_UTC), expiry: Some(i64::MIN) }
    }

    pub(super) fn of(tables: &Tables<'_>) -> Result<Self, Failure> {
        let oldest_at = match tables.oldest()? {
            Some(oldest) => tables.at(oldest.0)?,
            None => None,
        };
        Ok(Self { oldest_at, expiry: tables.expiries.first()?.map(|(key, _)| key.value().0) })
    }

    /// Whether there is something to take out.
    pub(super) fn is_now(&self, totals: &Totals, apart: Size, retention: &Retention, now: DateTime<Utc>) -> bool {
        retention.is_exceeded_by(totals.size(), apart)
            || self.expiry.is_some_and(|at| at <= now.timestamp_millis())
            || self.oldest_at.zip(retention.all.horizon(now)).is_some_and(|(oldest, horizon)| oldest < horizon)
    }
}

pub(super) struct Sweep<'a> {
    pub(super) retention: &'a Retention,
    /// Topics with limits of their own, and which ones.
    pub(super) ruled: &'a HashMap<u64, usize>,
    pub(super) now: DateTime<Utc>,
}

impl Sweep<'_> {
    /// Takes out at most `budget` entries; whether there are more. Topics that have been held against
    /// their limits leave `checks`.
    pub(super) fn run(
        &self,
        changes: &mut Changes<'_, '_>,
        checks: &mut VecDeque<u64>,
        mut budget: usize,
    ) -> Result<bool, Failure> {
        while let Some(cursor) = self.expired(changes)? {
            if !spend(&mut budget) {
                return Ok(true);
            }
            changes.remove(cursor, Removal::Expired)?;
        }
        while let Some(cursor) = self.oldest_of_all(changes)? {
            if !spend(&mut budget) {
                return Ok(true);
            }
            changes.remove(cursor.0, Removal::Retention)?;
        }
        while let Some(&topic) = checks.front() {
            while let Some(cursor) = self.oldest_of(changes, topic)? {
                if !spend(&mut budget) {
                    return Ok(true);
                }
                changes.remove(cursor, Removal::Retention)?;
            }
            checks.pop_front();
            // Looking costs something too.
            if !spend(&mut budget) {
                return Ok(!checks.is_empty());
            }
        }
        Ok(false)
    }

    fn expired(&self, changes: &Changes<'_, '_>) -> Result<Option<u64>, Failure> {
        let first = changes.tables.expiries.first()?.map(|(key, _)| key.value());
        Ok(first.filter(|(at, _)| *at <= self.now.timestamp_millis()).map(|(_, cursor)| cursor))
    }

    fn oldest_of_all(&self, changes: &Changes<'_, '_>) -> Result<Option<Cursor>, Failure> {
        let Some(oldest) = changes.tables.oldest()? else { return Ok(None) };
        let goes = self.retention.is_exceeded_by(changes.totals.size(), changes.apart)
            || self.is_past(changes, &self.retention.all, oldest.0)?;
        Ok(goes.then_some(oldest))
    }

    fn oldest_of(&self, changes: &mut Changes<'_, '_>, topic: u64) -> Result<Option<u64>, Failure> {
        let Some(&rule) = self.ruled.get(&topic) else { return Ok(None) };
        let limits = &self.retention.topics[rule].limits;
        if !changes.knows(topic)? {
            return Ok(None);
        }
        let oldest = changes.tables.postings.range((topic, 0)..=(topic, u64::MAX))?.next();
        let Some(oldest) = oldest.transpose()?.map(|(key, _)| key.value().1) else { return Ok(None) };
        let row = changes.row(topic)?;
        let goes = limits.exceeded_by(row.count, row.bytes) || self.is_past(changes, limits, oldest)?;
        Ok(goes.then_some(oldest))
    }

    fn is_past(&self, changes: &Changes<'_, '_>, limits: &Limits, cursor: u64) -> Result<bool, Failure> {
        let Some(horizon) = limits.horizon(self.now) else { return Ok(false) };
        Ok(changes.tables.at(cursor)?.is_some_and(|at| at < horizon))
    }
}

fn spend(budget: &mut usize) -> bool {
    let left = budget.checked_sub(1);
    *budget = left.unwrap_or(0);
    left.is_some()
}
