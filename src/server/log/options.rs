//! What a log is opened with, and what may keep it from opening. It reads no flags: the settings fill it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use chrono::{DateTime, TimeDelta, Utc};
use thiserror::Error;

/// How to open a log.
#[derive(Clone)]
pub struct LogOptions {
    /// Where it is kept.
    pub storage: Storage,
    /// When an update counts as kept. Of no effect in memory.
    pub durability: Durability,
    /// What it forgets.
    pub retention: Retention,
    /// What time it is.
    pub clock: Clock,
}

/// Where a log is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// In memory: it survives nothing.
    Memory,
    /// In a folder of its own, which is made where it is missing.
    Disk {
        /// The folder.
        folder: PathBuf,
    },
}

/// When an update counts as kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// When the disk has it: it survives a power cut.
    #[default]
    Fsync,
    /// When the operating system has it: it survives a crash of the process, not of the machine, which
    /// loses about the last second. The file stays whole either way.
    Os,
}

/// What the log forgets, in the background and soon rather than at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The limits of the whole log. The oldest updates go first.
    pub all: Limits,
    /// Limits of single topics; the first that matches a topic is its own. They can only shorten what
    /// `all` allows. An update on several topics goes as soon as one of them lets it go.
    pub topics: Vec<TopicLimits>,
    /// What does not count towards `all`, so that it can't push out what does.
    pub apart: Option<Allowance>,
}

/// Topics with an allowance of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Which topics: all of them together have the allowance. An update on several counts on each.
    pub pattern: TopicPattern,
    /// How much of theirs does not count towards the whole. What is beyond does, as everything else.
    pub size: Size,
}

/// How much there is of some updates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// How many updates.
    pub count: u64,
    /// How many bytes they have as they are stored.
    pub bytes: u64,
}

/// What is kept at most; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// How long.
    pub age: Option<Duration>,
    /// How many updates.
    pub count: Option<u64>,
    /// How many bytes of updates as they are stored. The file on disk is somewhat larger.
    pub bytes: Option<u64>,
}

/// Limits that each topic has for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicLimits {
    /// Which topics.
    pub pattern: TopicPattern,
    /// What is kept of each.
    pub limits: Limits,
}

/// One topic, or all that begin alike: `jobs/*`. Only a `*` that stands last means anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPattern(String);

/// Tells the time, to the millisecond or better.
pub type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

impl LogOptions {
    /// A log in memory, with the default retention.
    pub fn memory() -> Self {
        Self::new(Storage::Memory)
    }

    /// A log in this folder, flushed to disk, with the default retention.
    pub fn disk(folder: impl Into<PathBuf>) -> Self {
        Self::new(Storage::Disk { folder: folder.into() })
    }

    fn new(storage: Storage) -> Self {
        Self { storage, durability: Durability::default(), retention: Retention::default(), clock: Arc::new(Utc::now) }
    }
}

impl Retention {
    /// Seven days: a client may be away over a week-end and a bit.
    pub const DEFAULT_AGE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
    /// A million updates.
    pub const DEFAULT_COUNT: u64 = 1_000_000;
    /// 1 GiB.
    pub const DEFAULT_BYTES: u64 = 1 << 30;

    /// Keeps everything.
    pub fn unlimited() -> Self {
        Self::of(Limits::default())
    }

    /// Keeps the newest within these limits.
    pub fn of(all: Limits) -> Self {
        Self { all, topics: Vec::new(), apart: None }
    }

    /// Whether all that there is, of which so much is `apart`, is more than may be kept.
    pub(super) fn is_exceeded_by(&self, all: Size, apart: Size) -> bool {
        let allowed = self.apart.as_ref().map_or(Size::default(), |allowance| allowance.size);
        let count = all.count.saturating_sub(apart.count.min(allowed.count));
        let bytes = all.bytes.saturating_sub(apart.bytes.min(allowed.bytes));
        self.all.exceeded_by(count, bytes)
    }

    /// Whether what is on this topic has an allowance of its own.
    pub(super) fn is_apart(&self, topic: &str) -> bool {
        self.apart.as_ref().is_some_and(|allowance| allowance.pattern.matches(topic))
    }

    /// Which of the topics' limits are this topic's, as an index into `topics`.
    pub(super) fn of_topic(&self, topic: &str) -> Option<usize> {
        self.topics.iter().position(|limits| limits.pattern.matches(topic))
    }
}

impl Default for Retention {
    fn default() -> Self {
        let all =
            Limits { age: Some(Self::DEFAULT_AGE), count: Some(Self::DEFAULT_COUNT), bytes: Some(Self::DEFAULT_BYTES) };
        Self::of(all)
    }
}

impl Size {
    pub(super) fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
    }

    pub(super) fn remove(&mut self, bytes: u64) {
        self.count = self.count.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

impl Limits {
    /// Whether so much is more than may be kept.
    pub(super) fn exceeded_by(&self, count: u64, bytes: u64) -> bool {
        self.count.is_some_and(|max| count > max) || self.bytes.is_some_and(|max| bytes > max)
    }

    /// What was taken before this has had its time.
    pub(super) fn horizon(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        now.checked_sub_signed(TimeDelta::from_std(self.age?).ok()?)
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let age = self.age.map(|age| humantime::format_duration(age).to_string());
        let count = self.count.map(|count| format!("{count} updates"));
        let bytes = self.bytes.map(|bytes| ByteSize::b(bytes).to_string());
        let limits: Vec<_> = [age, count, bytes].into_iter().flatten().collect();
        if limits.is_empty() { f.write_str("everything") } else { write!(f, "at most {}", limits.join(", ")) }
    }
}

impl TopicPattern {
    /// The pattern with this text: a topic, or the beginning of topics and a `*`.
    pub fn new(pattern: impl Into<String>) -> Self {
        Self(pattern.into())
    }

    /// Whether it means this topic.
    pub fn matches(&self, topic: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(beginning) => topic.starts_with(beginning),
            None => topic == self.0,
        }
    }
}

/// Why a log could not be opened. Says which file it is about and what to do.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error(
        "the log in {} is open in another process: stop that one first, or give this one a folder of its own",
        .0.display()
    )]
    Locked(PathBuf),
    /// It can't be read, made or written.
    #[error("the log's file {} can't be used: {error}. Check that the folder exists and that this user may write in it", path.display())]
    NotWritable {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// There is no room to open it.
    #[error("there is no room for the log's file {}: make room on that disk and start again", .0.display())]
    Full(PathBuf),
    /// A newer program wrote it.
    #[error(
        "the log's file {} is of format {found}, newer than format {known} that this program knows: run the newer program, or bring the log over as docs/upgrade.md says",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format this program reads.
        known: u32,
    },
    /// It is damaged beyond what can be recovered.
    #[error(
        "the log's file {} is damaged: {reason}. Put a backup in its place; or move it away to begin without what it holds",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_topic_or_a_beginning() {
        assert!(TopicPattern::new("jobs/1").matches("jobs/1"));
        assert!(!TopicPattern::new("jobs/1").matches("jobs/12"));
        assert!(TopicPattern::new("jobs/*").matches("jobs/12"));
        assert!(!TopicPattern::new("jobs/*").matches("job"));
        assert!(TopicPattern::new("*").matches("anything"));
        assert!(!TopicPattern::new("a*b").matches("axb"));
    }
}
