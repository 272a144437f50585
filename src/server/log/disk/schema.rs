//! The archive's tables, and the rows that are written down by hand. Changing anything here changes the
//! format: raise [`FORMAT`] and say in docs/upgrade.md what to do.

use redb::TableDefinition;

use super::codec::{Reader, Unreadable};
use crate::server::log::page::PageBudget;
use crate::server::log::{Cursor, Size};

/// The format that this program writes and reads.
pub(super) const FORMAT: u32 = 1;

/// [`KEY`] and [`TOTALS`], and under [`FORMAT_NAME`] the format.
pub(super) const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
/// Cursor to entry.
pub(super) const ENTRIES: TableDefinition<u64, &[u8]> = TableDefinition::new("entries");
/// Topic's number and cursor: which entries are on a topic.
pub(super) const POSTINGS: TableDefinition<(u64, u64), ()> = TableDefinition::new("postings");
/// Topic's name to its number, which is never used again.
pub(super) const NAMES: TableDefinition<&str, u64> = TableDefinition::new("names");
/// Topic's number to its [`TopicRow`].
pub(super) const TOPICS: TableDefinition<u64, &[u8]> = TableDefinition::new("topics");
/// Digest of an id that a publisher gave, and cursor.
pub(super) const IDS: TableDefinition<(u64, u64), ()> = TableDefinition::new("ids");
/// When an entry has had its time, in milliseconds, and its cursor.
pub(super) const EXPIRIES: TableDefinition<(i64, u64), ()> = TableDefinition::new("expiries");

pub(super) const FORMAT_NAME: &str = "format";
/// The key that seals ids.
pub(super) const KEY: &str = "key";
pub(super) const TOTALS: &str = "totals";

/// What is true of the archive as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// Everything up to here has been archived.
    pub(super) newest: Cursor,
    /// How many entries are kept.
    pub(super) count: u64,
    /// How many bytes they have.
    pub(super) bytes: u64,
    /// The newest entry that retention has removed. Those that had had their time don't count.
    pub(super) removed: Cursor,
    /// The same, of the topics that have no entry any more and have been forgotten.
    pub(super) forgotten: Cursor,
    /// The next new topic's number.
    pub(super) next_topic: u64,
}

/// What is true of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TopicRow {
    /// How many entries are kept.
    pub(super) count: u64,
    /// How many bytes they have.
    pub(super) bytes: u64,
    /// The newest of its entries that retention has removed. Those that had had their time don't count.
    pub(super) removed: Cursor,
    pub(super) name: String,
}

impl Totals {
    pub(super) fn size(&self) -> Size {
        Size { count: self.count, bytes: self.bytes }
    }

    /// How many entries there is room for, judging by what they have on the average.
    pub(super) fn hold(&self, budget: &PageBudget) -> usize {
        let average = usize::try_from(self.bytes / self.count.max(1)).unwrap_or(usize::MAX).max(1);
        budget.entries_left().min((budget.bytes_left() / average).saturating_add(1))
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let numbers = [self.newest.0, self.count, self.bytes, self.removed.0, self.forgotten.0, self.next_topic];
        numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut reader = Reader(bytes);
        Ok(Self {
            newest: Cursor(reader.u64()?),
            count: reader.u64()?,
            bytes: reader.u64()?,
            removed: Cursor(reader.u64()?),
            forgotten: Cursor(reader.u64()?),
            next_topic: reader.u64()?,
        })
    }
}

impl TopicRow {
    /// A topic that is not known. It may have been once, so it has lost what any forgotten topic has.
    pub(super) fn new(name: &str, forgotten: Cursor) -> Self {
        Self { count: 0, bytes: 0, removed: forgotten, name: name.into() }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut row = Vec::with_capacity(24 + self.name.len());
        for number in [self.count, self.bytes, self.removed.0] {
            row.extend(number.to_le_bytes());
        }
        row.extend_from_slice(self.name.as_bytes());
        row
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut reader = Reader(bytes);
        let (count, bytes, removed) = (reader.u64()?, reader.u64()?, Cursor(reader.u64()?));
        let name = std::str::from_utf8(reader.0).map_err(|_| Unreadable)?.into();
        Ok(Self { count, bytes, removed, name })
    }
}
