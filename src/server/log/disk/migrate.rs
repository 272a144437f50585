//! From earlier formats to the present one. Format 2 adds lanes and the order of times; format 3 takes the hub's own events
//! out of the index of topics. Entries of format 1 stay as they are: the codec reads both.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};

use redb::{ReadableTable, Table, WriteTransaction};

use super::codec::{self, Unreadable, lane_number};
use super::failure::Failure;
use super::schema::{
    ENTRIES, FORMAT, FORMAT_NAME, LANES, LATE, META, NAMES, POSTINGS, TOPICS, TOTALS, TopicRow, Totals, WHOLE_LOG,
};
use crate::server::log::{Cursor, Lane, Topic};

/// Migrates an archive of an earlier format, in one transaction: it is of one format or the other, whenever the power is
/// cut.
pub(super) fn migrate(format: u32, begin: impl FnOnce() -> Result<WriteTransaction, Failure>) -> Result<(), Failure> {
    let migrate_from = match format {
        1 => from_1,
        2 => from_2,
        _ => return Ok(()),
    };
    tracing::info!(from = format, to = FORMAT, "bringing the log to a newer format: a large log takes a while");
    let txn = begin()?;
    let totals = migrate_from(&txn)?;
    {
        let mut meta = txn.open_table(META)?;
        meta.insert(TOTALS, totals.encode().as_slice())?;
        meta.insert(FORMAT_NAME, FORMAT.to_le_bytes().as_slice())?;
    }
    txn.commit()?;
    Ok(())
}

fn from_1(txn: &WriteTransaction) -> Result<Totals, Failure> {
    let entries = txn.open_table(ENTRIES)?;
    let mut late = txn.open_table(LATE)?;
    txn.open_table(LANES)?;
    let mut latest_at: HashMap<u64, i64> = HashMap::new();
    for row in entries.iter()? {
        let (cursor, entry) = row?;
        let (cursor, header) = (cursor.value(), codec::archived(entry.value())?);
        let at = header.at.timestamp_millis();
        for topic in header.topics().chain([WHOLE_LOG]) {
            let latest_at = latest_at.entry(topic).or_insert(i64::MIN);
            if at < *latest_at {
                late.insert((topic, at, cursor), ())?;
            }
            *latest_at = at.max(*latest_at);
        }
    }
    let latest_of = |topic| latest_at.get(&topic).copied().unwrap_or(i64::MIN);
    rewrite_topics(&mut txn.open_table(TOPICS)?, |number, row| {
        Ok(TopicRow { latest_at: latest_of(number), ..TopicRow::decode_1(row)? })
    })?;
    let meta = txn.open_table(META)?;
    let totals = Totals::decode_1(meta.get(TOTALS)?.ok_or(Unreadable)?.value())?;
    Ok(Totals { latest_at: latest_of(WHOLE_LOG), ..totals })
}

fn from_2(txn: &WriteTransaction) -> Result<Totals, Failure> {
    let mut topics = txn.open_table(TOPICS)?;
    rewrite_topics(&mut topics, |_, row| TopicRow::decode_2(row))?;
    let mut totals = {
        let meta = txn.open_table(META)?;
        Totals::decode_2(meta.get(TOTALS)?.ok_or(Unreadable)?.value())?
    };
    let lane = lane_number(Lane::System);
    let (mut entries, lanes) = (txn.open_table(ENTRIES)?, txn.open_table(LANES)?);
    let (mut postings, mut late) = (txn.open_table(POSTINGS)?, txn.open_table(LATE)?);
    let mut names = txn.open_table(NAMES)?;
    let mut rows: BTreeMap<u64, TopicRow> = BTreeMap::new();
    for place in lanes.range((lane, 0)..=(lane, u64::MAX))? {
        let cursor = place?.0.value().1;
        let old = entries.get(cursor)?.ok_or(Unreadable)?.value().to_vec();
        let (header, numbers) = codec::system_2(&old)?;
        let mut on = Vec::with_capacity(numbers.len());
        for number in numbers {
            let row = match rows.entry(number) {
                Entry::Occupied(row) => row.into_mut(),
                Entry::Vacant(row) => row.insert(TopicRow::decode(topics.get(number)?.ok_or(Unreadable)?.value())?),
            };
            on.push(Topic::parse(&row.name).map_err(|_| Unreadable)?);
            row.count = row.count.saturating_sub(1);
            row.bytes = row.bytes.saturating_sub(header.size);
            postings.remove((number, cursor))?;
            late.remove((number, header.at.timestamp_millis(), cursor))?;
        }
        let entry = header.entry(Cursor(cursor), on.into())?;
        let mut new = Vec::with_capacity(old.len());
        codec::put_archived(&mut new, &entry, &[]);
        entries.insert(cursor, new.as_slice())?;
    }
    for (number, row) in rows {
        totals.system_evicted = totals.system_evicted.max(row.evicted);
        if row.count > 0 {
            topics.insert(number, row.encode().as_slice())?;
        } else {
            topics.remove(number)?;
            names.remove(row.name.as_str())?;
        }
    }
    Ok(totals)
}

fn rewrite_topics(
    topics: &mut Table<'_, u64, &'static [u8]>,
    decode: impl Fn(u64, &[u8]) -> Result<TopicRow, Unreadable>,
) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for row in topics.iter()? {
        let (number, row) = row?;
        rows.push((number.value(), decode(number.value(), row.value())?));
    }
    for (number, row) in rows {
        topics.insert(number, row.encode().as_slice())?;
    }
    Ok(())
}
