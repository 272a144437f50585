//! A record of the journal: a header and the entries of one batch.

use std::io;

use crate::server::log::Cursor;

/// Begins each record. The last byte is the format's version.
pub(super) const MAGIC: [u8; 4] = *b"tdj\x02";
/// The same in format 1.
pub(super) const MAGIC_1: [u8; 4] = *b"tdj\x01";

/// Magic, length of the payload (u32), generation, previous, flushed, reserved (u64 each), and the checksum (u32) of
/// what is between the length and itself, and of the payload.
pub(super) const HEADER_BYTES: usize = 44;
/// In format 1: magic, length, generation, checksum.
pub(super) const HEADER_BYTES_1: usize = 20;

/// What a record says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Of the file: records of another one are left over from before it was begun again.
    pub(super) generation: u64,
    /// The newest entry before this record's.
    pub(super) previous: Cursor,
    /// Everything up to here was on the disk before this record was written.
    pub(super) flushed: Cursor,
    /// Cursors up to here may be given to entries that are not flushed.
    pub(super) reserved: Cursor,
}

impl Header {
    /// Completes a record, in which there is room for the header before the payload.
    pub(super) fn put(&self, record: &mut [u8]) -> io::Result<()> {
        let payload =
            u32::try_from(record.len() - HEADER_BYTES).map_err(|_| io::Error::other("a batch of more than 4 GiB"))?;
        record[..4].copy_from_slice(&MAGIC);
        record[4..8].copy_from_slice(&payload.to_le_bytes());
        let numbers = [self.generation, self.previous.0, self.flushed.0, self.reserved.0];
        for (place, number) in record[8..40].chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        let checksum = checksum(&record[8..40], &record[HEADER_BYTES..]);
        record[40..44].copy_from_slice(&checksum.to_le_bytes());
        Ok(())
    }
}

/// A whole record that bytes begin with.
pub(super) struct Whole<'a> {
    /// In format 1 only its generation is known.
    pub(super) header: Result<Header, u64>,
    pub(super) payload: &'a [u8],
    /// How many bytes it has.
    pub(super) length: usize,
}

impl Whole<'_> {
    pub(super) fn generation(&self) -> u64 {
        self.header.map_or_else(|generation| generation, |header| header.generation)
    }
}

/// The generation of the record that these bytes begin with, whole or not.
pub(super) fn generation(bytes: &[u8]) -> Option<u64> {
    let magic = bytes.first_chunk::<4>()?;
    let number = bytes.get(8..16)?.try_into().ok()?;
    matches!(*magic, MAGIC | MAGIC_1).then_some(u64::from_le_bytes(number))
}

/// The record that these bytes begin with, if it is whole.
pub(super) fn whole(bytes: &[u8]) -> Option<Whole<'_>> {
    let number = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    let short = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let payload = short(4)? as usize;
    let (header, begin) = match *bytes.first_chunk::<4>()? {
        MAGIC => {
            let header = Header {
                generation: number(8)?,
                previous: Cursor(number(16)?),
                flushed: Cursor(number(24)?),
                reserved: Cursor(number(32)?),
            };
            (Ok(header), HEADER_BYTES)
        }
        MAGIC_1 => (Err(number(8)?), HEADER_BYTES_1),
        _ => return None,
    };
    let payload = bytes.get(begin..begin + payload)?;
    let is_whole = checksum(&bytes[8..begin - 4], payload) == short(begin - 4)?;
    is_whole.then_some(Whole { header, payload, length: begin + payload.len() })
}

fn checksum(head: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(payload);
    hasher.finalize()
}
