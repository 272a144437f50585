//! From format 1 to format 2, which adds lanes and the order of times. Entries stay as they are: the codec reads both.

use std::collections::HashMap;

use redb::{ReadableTable, WriteTransaction};

use super::codec::{self, Unreadable};
use super::failure::Failure;
use super::schema::{ENTRIES, FORMAT, FORMAT_NAME, LANES, LATE, META, TOPICS, TOTALS, TopicRow, Totals, WHOLE_LOG};

/// The format that is migrated.
pub(super) const FROM: u32 = 1;

/// Migrates an archive in this transaction: it is of one format or the other, whenever the power is cut.
pub(super) fn migrate(txn: WriteTransaction) -> Result<(), Failure> {
    tracing::info!(from = FROM, to = FORMAT, "bringing the log to a newer format, which reads all of it");
    {
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

        let mut topics = txn.open_table(TOPICS)?;
        let mut rows = Vec::new();
        for row in topics.iter()? {
            let (number, row) = row?;
            let number = number.value();
            rows.push((number, TopicRow { latest_at: latest_of(number), ..TopicRow::decode_1(row.value())? }));
        }
        for (number, row) in rows {
            topics.insert(number, row.encode().as_slice())?;
        }

        let mut meta = txn.open_table(META)?;
        let totals = Totals::decode_1(meta.get(TOTALS)?.ok_or(Unreadable)?.value())?;
        let totals = Totals { latest_at: latest_of(WHOLE_LOG), ..totals };
        meta.insert(TOTALS, totals.encode().as_slice())?;
        meta.insert(FORMAT_NAME, FORMAT.to_le_bytes().as_slice())?;
    }
    txn.commit()?;
    Ok(())
}
