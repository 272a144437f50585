//! How an update becomes an entry, whoever assigns its cursor.

use chrono::{DateTime, SubsecRound, Utc};

use super::id_cipher::IdCipher;
use super::{Cursor, Entry, Field, Lane, Retention, Update};

/// The entry of an update at a cursor, taken at a time. It gets an id from the cipher if it has none, and its lane from
/// retention unless it is an event of the hub itself.
pub(super) fn place(
    cursor: Cursor,
    mut update: Update,
    at: DateTime<Utc>,
    is_system: bool,
    cipher: &IdCipher,
    retention: &Retention,
) -> Entry {
    if update.id.is_none() {
        update.id = Field::parse(&cipher.encrypt(cursor)).ok();
    }
    let lane = if is_system { Lane::System } else { retention.lane_of(&update.topics) };
    Entry { lane, ..Entry::new(cursor, at.trunc_subsecs(3), update) }
}
