//! How an entry is encoded: in the journal with its topics' names, in the archive with their numbers. The hub's own events
//! have their topics' names in the archive too. Integers are little-endian.
//!
//! What stands before an entry's frame has its length written before it, so that later versions can add to it.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use thiserror::Error;

use crate::server::log::{Cursor, Entry, Lane, Topic};

/// Bytes that are not what was written.
#[derive(Debug, Error)]
#[error("an entry that can't be read")]
pub(super) struct Unreadable;

const PRIVATE: u8 = 1;
const EXPIRES: u8 = 2;
/// Marks the encoding of format 2, which has a lane and a length.
const FORMAT_2: u8 = 0x80;

/// What an archived entry says of itself before its frame.
pub(super) struct Header<'a> {
    pub(super) lane: Lane,
    pub(super) private: bool,
    pub(super) at: DateTime<Utc>,
    pub(super) expires_at: Option<DateTime<Utc>>,
    /// How many bytes the entry counts for.
    pub(super) size: u64,
    /// Its topics' numbers, or in [`Lane::System`] their names.
    topics: &'a [u8],
    pub(super) frame: &'a [u8],
}

impl<'a> Header<'a> {
    /// Its topics' numbers; none in [`Lane::System`].
    pub(super) fn topics(&self) -> impl Iterator<Item = u64> + 'a {
        let numbers = if self.lane == Lane::System { &[] } else { self.topics };
        numbers.as_chunks().0.iter().map(|number| u64::from_le_bytes(*number))
    }

    /// Its topics' names, in [`Lane::System`].
    pub(super) fn topic_names(&self) -> Result<Box<[Topic]>, Unreadable> {
        Reader(self.topics).topic_names()
    }

    /// Whether it has expired.
    pub(super) fn has_expired(&self, now: DateTime<Utc>) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// Its id, which the frame begins with.
    pub(super) fn id(&self) -> Result<&'a str, Unreadable> {
        let rest = self.frame.strip_prefix(b"id: ").ok_or(Unreadable)?;
        let end = rest.iter().position(|&byte| byte == b'\n').ok_or(Unreadable)?;
        std::str::from_utf8(&rest[..end]).map_err(|_| Unreadable)
    }

    /// The entry itself, with its topics' names.
    pub(super) fn entry(&self, cursor: Cursor, topics: Box<[Topic]>) -> Result<Entry, Unreadable> {
        Ok(Entry {
            cursor,
            lane: self.lane,
            id: self.id()?.into(),
            topics,
            private: self.private,
            at: self.at,
            expires_at: self.expires_at,
            frame: Bytes::copy_from_slice(self.frame),
        })
    }
}

/// Encodes an entry for the archive.
pub(super) fn put_archived(out: &mut Vec<u8>, entry: &Entry, topics: &[u64]) {
    put_sized(out, |out| {
        put_head(out, entry);
        out.extend((entry.size() as u64).to_le_bytes());
        if entry.lane == Lane::System {
            put_topic_names(out, entry);
            return;
        }
        out.extend((topics.len() as u32).to_le_bytes());
        for number in topics {
            out.extend(number.to_le_bytes());
        }
    });
    out.extend_from_slice(&entry.frame);
}

/// Decodes what [`put_archived`] wrote, or format 1.
pub(super) fn archived(bytes: &[u8]) -> Result<Header<'_>, Unreadable> {
    let [first, ..] = bytes else { return Err(Unreadable) };
    if first & FORMAT_2 == 0 {
        let mut reader = Reader(bytes);
        let (private, at, expires_at) = reader.head_1()?;
        let (topics, size) = (reader.numbers()?, bytes.len() as u64);
        return Ok(Header { lane: Lane::Main, private, at, expires_at, size, topics, frame: reader.0 });
    }
    let mut reader = Reader(bytes);
    let mut head = reader.sized()?;
    let (lane, (private, at, expires_at)) = head.head()?;
    let size = head.u64()?;
    let topics = if lane == Lane::System { head.0 } else { head.numbers()? };
    Ok(Header { lane, private, at, expires_at, size, topics, frame: reader.0 })
}

/// Decodes one of the hub's own events of format 2, whose topics are numbers.
pub(super) fn system_2(bytes: &[u8]) -> Result<(Header<'_>, Vec<u64>), Unreadable> {
    let header = archived(bytes)?;
    let numbers = Reader(header.topics).numbers()?;
    Ok((header, numbers.as_chunks().0.iter().map(|number| u64::from_le_bytes(*number)).collect()))
}

/// Encodes an entry for the journal.
pub(super) fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    put_sized(out, |out| {
        out.extend(entry.cursor.0.to_le_bytes());
        put_head(out, entry);
        put_topic_names(out, entry);
    });
    put_bytes(out, &entry.frame);
}

/// Decodes what [`put_entry`] wrote, one time after the other.
pub(super) fn entries(bytes: &[u8]) -> Result<Vec<Entry>, Unreadable> {
    let mut reader = Reader(bytes);
    let mut entries = Vec::new();
    while !reader.0.is_empty() {
        let mut head = reader.sized()?;
        let cursor = Cursor(head.u64()?);
        let (lane, (private, at, expires_at)) = head.head()?;
        let topics = head.topic_names()?;
        let frame = reader.bytes()?;
        let header = Header { lane, private, at, expires_at, size: 0, topics: &[], frame };
        entries.push(header.entry(cursor, topics)?);
    }
    Ok(entries)
}

/// As [`entries`], of a journal of format 1.
pub(super) fn entries_1(bytes: &[u8]) -> Result<Vec<Entry>, Unreadable> {
    let mut reader = Reader(bytes);
    let mut entries = Vec::new();
    while !reader.0.is_empty() {
        let cursor = Cursor(reader.u64()?);
        let (private, at, expires_at) = reader.head_1()?;
        let topics = reader.topic_names()?;
        let frame = reader.bytes()?;
        let header = Header { lane: Lane::Main, private, at, expires_at, size: 0, topics: &[], frame };
        entries.push(header.entry(cursor, topics)?);
    }
    Ok(entries)
}

/// Writes [`FORMAT_2`], the length of what `put` writes, and that.
fn put_sized(out: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) {
    out.push(FORMAT_2);
    let begin = out.len();
    out.extend([0; 4]);
    put(out);
    let length = (out.len() - begin - 4) as u32;
    out[begin..begin + 4].copy_from_slice(&length.to_le_bytes());
}

fn put_head(out: &mut Vec<u8>, entry: &Entry) {
    let flags = if entry.private { PRIVATE } else { 0 } | if entry.expires_at.is_some() { EXPIRES } else { 0 };
    out.extend([lane_number(entry.lane), flags]);
    out.extend(entry.at.timestamp_millis().to_le_bytes());
    if let Some(at) = entry.expires_at {
        out.extend(at.timestamp_millis().to_le_bytes());
    }
}

fn put_topic_names(out: &mut Vec<u8>, entry: &Entry) {
    out.extend((entry.topics.len() as u32).to_le_bytes());
    for topic in &entry.topics {
        put_bytes(out, topic.as_str().as_bytes());
    }
}

/// How a lane is written.
pub(super) const fn lane_number(lane: Lane) -> u8 {
    match lane {
        Lane::Main => 0,
        Lane::System => 1,
        Lane::Quota => 2,
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Whether it is private, when it was taken, when it expires.
type Head1 = (bool, DateTime<Utc>, Option<DateTime<Utc>>);

/// What is still to be read.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Unreadable> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(Unreadable)?;
        self.0 = rest;
        Ok(taken)
    }

    fn chunk<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let (chunk, rest) = self.0.split_first_chunk().ok_or(Unreadable)?;
        self.0 = rest;
        Ok(*chunk)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Unreadable> {
        self.chunk().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Unreadable> {
        self.chunk().map(u64::from_le_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, Unreadable> {
        self.chunk().map(i64::from_le_bytes)
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Unreadable> {
        let bytes = self.u32()? as usize;
        self.take(bytes)
    }

    fn sized(&mut self) -> Result<Self, Unreadable> {
        let [FORMAT_2] = self.chunk()? else { return Err(Unreadable) };
        Ok(Self(self.bytes()?))
    }

    fn head(&mut self) -> Result<(Lane, Head1), Unreadable> {
        let [number] = self.chunk()?;
        let lane = Lane::ALL.into_iter().find(|lane| lane_number(*lane) == number).ok_or(Unreadable)?;
        Ok((lane, self.head_1()?))
    }

    fn head_1(&mut self) -> Result<Head1, Unreadable> {
        let [flags] = self.chunk()?;
        let at = self.time()?;
        let expires_at = if flags & EXPIRES == 0 { None } else { Some(self.time()?) };
        Ok((flags & PRIVATE != 0, at, expires_at))
    }

    fn numbers(&mut self) -> Result<&'a [u8], Unreadable> {
        let bytes = self.u32()? as usize * 8;
        self.take(bytes)
    }

    fn topic_names(&mut self) -> Result<Box<[Topic]>, Unreadable> {
        let mut topics = Vec::new();
        for _ in 0..self.u32()? {
            let topic = std::str::from_utf8(self.bytes()?).map_err(|_| Unreadable)?;
            topics.push(Topic::parse(topic).map_err(|_| Unreadable)?);
        }
        Ok(topics.into())
    }

    fn time(&mut self) -> Result<DateTime<Utc>, Unreadable> {
        self.i64().ok().and_then(DateTime::from_timestamp_millis).ok_or(Unreadable)
    }
}
