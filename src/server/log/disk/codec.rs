//! How an entry is written down, in the journal with its topics' names and in the archive with their
//! numbers. Integers are little-endian.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use thiserror::Error;

use crate::server::log::{Cursor, Entry, Topic};

/// Bytes that are not what was written.
#[derive(Debug, Error)]
#[error("an entry that can't be read")]
pub(super) struct Unreadable;

const PRIVATE: u8 = 1;
const EXPIRES: u8 = 2;

/// What an archived entry says of itself before its frame.
pub(super) struct Header<'a> {
    pub(super) private: bool,
    pub(super) at: DateTime<Utc>,
    pub(super) expires_at: Option<DateTime<Utc>>,
    topics: &'a [u8],
    pub(super) frame: &'a [u8],
}

impl<'a> Header<'a> {
    /// Its topics' numbers.
    pub(super) fn topics(&self) -> impl Iterator<Item = u64> + 'a {
        self.topics.as_chunks().0.iter().map(|number| u64::from_le_bytes(*number))
    }

    /// Whether it has had its time.
    pub(super) fn has_expired(&self, now: DateTime<Utc>) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// Its id, which the frame begins with.
    pub(super) fn id(&self) -> Result<&'a str, Unreadable> {
        let rest = self.frame.strip_prefix(b"id: ").ok_or(Unreadable)?;
        let end = rest.iter().position(|&byte| byte == b'\n').ok_or(Unreadable)?;
        std::str::from_utf8(&rest[..end]).map_err(|_| Unreadable)
    }

    /// The entry itself; its topics' names come from `name`.
    pub(super) fn entry(&self, cursor: Cursor, topics: Box<[Topic]>) -> Result<Entry, Unreadable> {
        Ok(Entry {
            cursor,
            id: self.id()?.into(),
            topics,
            private: self.private,
            at: self.at,
            expires_at: self.expires_at,
            frame: Bytes::copy_from_slice(self.frame),
        })
    }
}

/// Writes an entry down for the archive.
pub(super) fn put_archived(out: &mut Vec<u8>, entry: &Entry, topics: &[u64]) {
    put_head(out, entry);
    out.extend((topics.len() as u32).to_le_bytes());
    for number in topics {
        out.extend(number.to_le_bytes());
    }
    out.extend_from_slice(&entry.frame);
}

/// Reads what [`put_archived`] wrote.
pub(super) fn archived(bytes: &[u8]) -> Result<Header<'_>, Unreadable> {
    let mut reader = Reader(bytes);
    let (private, at, expires_at) = reader.head()?;
    let topics = reader.u32()? as usize * 8;
    Ok(Header { private, at, expires_at, topics: reader.take(topics)?, frame: reader.0 })
}

/// Writes an entry down for the journal.
pub(super) fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    out.extend(entry.cursor.0.to_le_bytes());
    put_head(out, entry);
    out.extend((entry.topics.len() as u32).to_le_bytes());
    for topic in &entry.topics {
        put_bytes(out, topic.as_str().as_bytes());
    }
    put_bytes(out, &entry.frame);
}

/// Reads what [`put_entry`] wrote, one time after the other.
pub(super) fn entries(bytes: &[u8]) -> Result<Vec<Entry>, Unreadable> {
    let mut reader = Reader(bytes);
    let mut entries = Vec::new();
    while !reader.0.is_empty() {
        let cursor = Cursor(reader.u64()?);
        let (private, at, expires_at) = reader.head()?;
        let mut topics = Vec::new();
        for _ in 0..reader.u32()? {
            let topic = std::str::from_utf8(reader.bytes()?).map_err(|_| Unreadable)?;
            topics.push(Topic::parse(topic).map_err(|_| Unreadable)?);
        }
        let header = Header { private, at, expires_at, topics: &[], frame: reader.bytes()? };
        entries.push(header.entry(cursor, topics.into())?);
    }
    Ok(entries)
}

fn put_head(out: &mut Vec<u8>, entry: &Entry) {
    let flags = if entry.private { PRIVATE } else { 0 } | if entry.expires_at.is_some() { EXPIRES } else { 0 };
    out.push(flags);
    out.extend(entry.at.timestamp_millis().to_le_bytes());
    if let Some(at) = entry.expires_at {
        out.extend(at.timestamp_millis().to_le_bytes());
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

type Head = (bool, DateTime<Utc>, Option<DateTime<Utc>>);

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

    fn bytes(&mut self) -> Result<&'a [u8], Unreadable> {
        let bytes = self.u32()? as usize;
        self.take(bytes)
    }

    /// Whether it is private, when it was taken, when it has had its time.
    fn head(&mut self) -> Result<Head, Unreadable> {
        let [flags] = self.chunk()?;
        let at = self.time()?;
        let expires_at = if flags & EXPIRES == 0 { None } else { Some(self.time()?) };
        Ok((flags & PRIVATE != 0, at, expires_at))
    }

    fn time(&mut self) -> Result<DateTime<Utc>, Unreadable> {
        self.chunk().map(i64::from_le_bytes).ok().and_then(DateTime::from_timestamp_millis).ok_or(Unreadable)
    }
}
