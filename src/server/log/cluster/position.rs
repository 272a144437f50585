//! The position of an entry: its message in the stream, and its index in the message.

use crate::server::log::Cursor;

/// Maximum number of updates in a message. A request may append 1000.
pub(super) const PER_MESSAGE: usize = 1 << INDEX_BITS;

// 61 bits in all, which is what an event id can carry. At 100,000 messages a second, the sequence numbers last for
// 2,700 years.
const INDEX_BITS: u32 = 10;
const SEQUENCE_BITS: u32 = 43;

/// The greatest epoch that fits.
pub(super) const LAST_EPOCH: u64 = 255;

/// A position in the log. Positions are ordered by epoch, then by sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StreamPosition {
    /// How many times the stream had lost acknowledged messages by then.
    pub(super) epoch: u64,
    /// The message's sequence number in the stream, from 1.
    pub(super) sequence: u64,
    /// The update's index in the message.
    pub(super) index: usize,
}

impl StreamPosition {
    pub(super) const fn of(cursor: Cursor) -> Self {
        Self {
            epoch: cursor.0 >> (SEQUENCE_BITS + INDEX_BITS),
            sequence: (cursor.0 >> INDEX_BITS) & ((1 << SEQUENCE_BITS) - 1),
            index: (cursor.0 & (PER_MESSAGE as u64 - 1)) as usize,
        }
    }

    pub(super) const fn cursor(self) -> Cursor {
        Cursor((self.epoch << SEQUENCE_BITS | self.sequence) << INDEX_BITS | self.index as u64)
    }

    /// The first position after this message.
    pub(super) const fn behind_message(self) -> Self {
        Self { sequence: self.sequence + 1, index: 0, ..self }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn places() -> impl Strategy<Value = StreamPosition> {
        let sequence = 0..1u64 << SEQUENCE_BITS;
        (0..=LAST_EPOCH, sequence, 0..PER_MESSAGE).prop_map(|(epoch, sequence, index)| StreamPosition {
            epoch,
            sequence,
            index,
        })
    }

    proptest! {
        #[test]
        fn a_place_is_its_cursor_and_in_the_same_order(one in places(), other in places()) {
            prop_assert_eq!(StreamPosition::of(one.cursor()), one);
            prop_assert_eq!(one.cursor().cmp(&other.cursor()), one.cmp(&other));
            prop_assert!(one.cursor().0 < 1 << 61);
        }
    }
}
