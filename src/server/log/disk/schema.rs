//! The archive's tables, and the rows that are encoded by hand. Changing anything here changes the format: raise
//! [`FORMAT`], migrate the one before, and say in docs/upgrade.md what to do.

use redb::TableDefinition;

use super::codec::{Reader, Unreadable, lane_number};
use crate::server::log::page::PageBudget;
use crate::server::log::{Cursor, Lane, Size};

/// The format that this program writes. It migrates formats 1 and 2.
pub(super) const FORMAT: u32 = 3;

/// [`KEY`], [`COPY`] and [`TOTALS`], and under [`FORMAT_NAME`] the format.
pub(super) const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
/// Cursor to entry.
pub(super) const ENTRIES: TableDefinition<u64, &[u8]> = TableDefinition::new("entries");
/// Topic's number and cursor: which entries are on a topic. Those in [`Lane::System`] are in no index of topics: nearly
/// each has a topic of its own, and few read them.
pub(super) const POSTINGS: TableDefinition<(u64, u64), ()> = TableDefinition::new("postings");
/// Topic's name to its number, which is never used again.
pub(super) const NAMES: TableDefinition<&str, u64> = TableDefinition::new("names");
/// Topic's number to its [`TopicRow`].
pub(super) const TOPICS: TableDefinition<u64, &[u8]> = TableDefinition::new("topics");
/// Digest of an id that a publisher gave, and cursor.
pub(super) const IDS: TableDefinition<(u64, u64), ()> = TableDefinition::new("ids");
/// When an entry expires, in milliseconds, and its cursor.
pub(super) const EXPIRIES: TableDefinition<(i64, u64), ()> = TableDefinition::new("expiries");
/// Lane and cursor, of the entries in another lane than [`Lane::Main`].
pub(super) const LANES: TableDefinition<(u8, u64), ()> = TableDefinition::new("lanes");
/// Topic's number, or [`WHOLE_LOG`], time in milliseconds and cursor: the entries that stand behind one with a later
/// time. All others are in the order of their times.
pub(super) const LATE: TableDefinition<(u64, i64, u64), ()> = TableDefinition::new("late");

/// Stands for all topics in [`LATE`].
pub(super) const WHOLE_LOG: u64 = u64::MAX;

pub(super) const FORMAT_NAME: &str = "format";
/// The key of the cipher that makes ids.
pub(super) const KEY: &str = "key";
/// Present in a copy of a cluster's log.
pub(super) const COPY: &str = "copy";
pub(super) const TOTALS: &str = "totals";

/// The archive's totals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Totals {
    /// Everything up to here has been archived.
    pub(super) newest: Cursor,
    /// What is kept in each lane, in the order of [`Lane::ALL`].
    pub(super) lanes: [Size; Lane::ALL.len()],
    /// The newest entry that retention has evicted. Those that had expired don't count.
    pub(super) last_evicted: Cursor,
    /// The same in [`Lane::System`].
    pub(super) system_evicted: Cursor,
    /// The same, of the topics that have no entry any more and have been dropped.
    pub(super) dropped_topics_evicted_up_to: Cursor,
    /// The next new topic's number.
    pub(super) next_topic: u64,
    /// The latest time of any entry so far, in milliseconds.
    pub(super) latest_at: i64,
    /// Cursors up to here may have been given to entries that were never flushed: none of them is given again.
    pub(super) reserved: Cursor,
}

/// A topic's totals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TopicRow {
    /// How many entries are kept.
    pub(super) count: u64,
    /// How many bytes they count for.
    pub(super) bytes: u64,
    /// The newest of its entries that retention has evicted. Those that had expired don't count.
    pub(super) evicted: Cursor,
    /// The latest time of any of its entries so far, in milliseconds.
    pub(super) latest_at: i64,
    pub(super) name: String,
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            newest: Cursor::START,
            lanes: [Size::default(); Lane::ALL.len()],
            last_evicted: Cursor::START,
            system_evicted: Cursor::START,
            dropped_topics_evicted_up_to: Cursor::START,
            next_topic: 0,
            latest_at: i64::MIN,
            reserved: Cursor::START,
        }
    }
}

impl Totals {
    /// What is kept in a lane.
    pub(super) fn lane(&mut self, lane: Lane) -> &mut Size {
        &mut self.lanes[usize::from(lane_number(lane))]
    }

    /// What is kept in each lane.
    pub(super) fn by_lane(&self) -> impl Iterator<Item = (Lane, Size)> {
        Lane::ALL.into_iter().zip(self.lanes)
    }

    /// What is kept in all.
    pub(super) fn size(&self) -> Size {
        self.lanes.into_iter().fold(Size::default(), Size::and)
    }

    /// How many entries a page of this budget holds, judging by their average size.
    pub(super) fn hold(&self, budget: &PageBudget) -> usize {
        let Size { count, bytes } = self.size();
        let average = usize::try_from(bytes / count.max(1)).unwrap_or(usize::MAX).max(1);
        budget.entries_left().min((budget.bytes_left() / average).saturating_add(1))
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let lanes = self.lanes.iter().flat_map(|size| [size.count, size.bytes]);
        let cursors = [self.newest, self.last_evicted, self.dropped_topics_evicted_up_to, self.reserved];
        let numbers = cursors.into_iter().map(|cursor| cursor.0).chain([self.next_topic]).chain(lanes);
        let row = numbers.flat_map(u64::to_le_bytes).chain(self.latest_at.to_le_bytes());
        row.chain(self.system_evicted.0.to_le_bytes()).collect()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut reader = Reader(bytes);
        let totals = Self::read_2(&mut reader)?;
        Ok(Self { system_evicted: Cursor(reader.u64()?), ..totals })
    }

    /// Decodes a row of format 2, which doesn't know what was evicted in [`Lane::System`].
    pub(super) fn decode_2(bytes: &[u8]) -> Result<Self, Unreadable> {
        Self::read_2(&mut Reader(bytes))
    }

    fn read_2(reader: &mut Reader<'_>) -> Result<Self, Unreadable> {
        let [newest, last_evicted, dropped_topics_evicted_up_to, reserved] =
            [reader.u64()?, reader.u64()?, reader.u64()?, reader.u64()?].map(Cursor);
        let next_topic = reader.u64()?;
        let mut lanes = [Size::default(); Lane::ALL.len()];
        for size in &mut lanes {
            *size = Size { count: reader.u64()?, bytes: reader.u64()? };
        }
        let latest_at = reader.i64()?;
        let system_evicted = Cursor::START;
        Ok(Self {
            newest,
            lanes,
            last_evicted,
            system_evicted,
            dropped_topics_evicted_up_to,
            next_topic,
            latest_at,
            reserved,
        })
    }

    /// Decodes a row of format 1, which knows neither lanes nor times.
    pub(super) fn decode_1(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut reader = Reader(bytes);
        let newest = Cursor(reader.u64()?);
        let main = Size { count: reader.u64()?, bytes: reader.u64()? };
        let mut totals = Self { newest, ..Self::default() };
        *totals.lane(Lane::Main) = main;
        totals.last_evicted = Cursor(reader.u64()?);
        totals.dropped_topics_evicted_up_to = Cursor(reader.u64()?);
        totals.next_topic = reader.u64()?;
        Ok(totals)
    }
}

impl TopicRow {
    /// A topic that is not known. It may have been once, so it has lost what any dropped topic has.
    pub(super) fn new(name: &str, evicted: Cursor) -> Self {
        Self { count: 0, bytes: 0, evicted, latest_at: i64::MIN, name: name.into() }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let numbers = [self.count, self.bytes, self.evicted.0];
        let mut row = Vec::with_capacity(36 + self.name.len());
        row.extend(32_u32.to_le_bytes());
        row.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        row.extend(self.latest_at.to_le_bytes());
        row.extend_from_slice(self.name.as_bytes());
        row
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut reader = Reader(bytes);
        let mut head = Reader(reader.bytes()?);
        let (count, bytes, evicted) = (head.u64()?, head.u64()?, Cursor(head.u64()?));
        let latest_at = head.i64()?;
        Ok(Self { count, bytes, evicted, latest_at, name: name(&reader)? })
    }

    /// Decodes a row of format 2, which counts what is in [`Lane::System`] too.
    pub(super) fn decode_2(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut reader = Reader(bytes);
        let mut head = Reader(reader.bytes()?);
        let (count, _, bytes, evicted) = (head.u64()?, head.u64()?, head.u64()?, Cursor(head.u64()?));
        let latest_at = head.i64()?;
        Ok(Self { count, bytes, evicted, latest_at, name: name(&reader)? })
    }

    /// Decodes a row of format 1.
    pub(super) fn decode_1(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut reader = Reader(bytes);
        let (count, bytes, evicted) = (reader.u64()?, reader.u64()?, Cursor(reader.u64()?));
        Ok(Self { count, bytes, evicted, latest_at: i64::MIN, name: name(&reader)? })
    }
}

fn name(reader: &Reader<'_>) -> Result<String, Unreadable> {
    Ok(std::str::from_utf8(reader.0).map_err(|_| Unreadable)?.into())
}
