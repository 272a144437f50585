//! What a log is opened with. It reads no flags: the settings fill it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;

use super::{ClusterOptions, Lane, TimeSource, Topic};

/// How to open a log.
#[derive(Clone)]
pub struct LogOptions {
    /// Where it is kept.
    pub storage: Storage,
    /// When an update counts as kept. Of no effect in memory, and in a cluster, whose stream keeps it.
    pub durability: Durability,
    /// What it keeps.
    pub retention: Retention,
    /// What time it is.
    pub clock: TimeSource,
    /// The cluster whose log it is a copy of; `None` for a log of its own.
    pub cluster: Option<ClusterOptions>,
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

/// What the log keeps. The rest is evicted in the background, soon rather than at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The limits of the whole log. The oldest updates go first.
    pub all: Limits,
    /// Limits of single topics; the first that matches a topic is its own. They can only shorten what
    /// `all` allows. An update on several topics goes as soon as one of them lets it go.
    pub topics: Vec<TopicLimits>,
    /// Topics with a quota of their own. Updates on them alone don't count towards `all`, and evict only each other.
    pub quota: Option<Quota>,
    /// How much is kept of what the hub itself says. It does not count towards `all` either.
    pub system: Size,
}

/// A quota for topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Which topics: all of them together have the quota.
    pub pattern: TopicPattern,
    /// How much is kept of them.
    pub size: Size,
}

/// How much there is of some updates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// How many updates.
    pub count: u64,
    /// How many bytes they count for, as [`Entry::size`](super::Entry::size) has it.
    pub bytes: u64,
}

/// What is kept at most; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// How long.
    pub age: Option<Duration>,
    /// How many updates.
    pub count: Option<u64>,
    /// How many bytes of updates, with their ids and topics. The file on disk is somewhat larger.
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
        Self {
            storage,
            durability: Durability::default(),
            retention: Retention::default(),
            clock: TimeSource::system(),
            cluster: None,
        }
    }
}

impl Retention {
    /// Seven days: a client may be away over a week-end and a bit.
    pub const DEFAULT_AGE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
    /// A million updates.
    pub const DEFAULT_COUNT: u64 = 1_000_000;
    /// 1 GiB.
    pub const DEFAULT_BYTES: u64 = 1 << 30;
    /// What is kept of what the hub itself says.
    pub const SYSTEM: Size = Size { count: 100_000, bytes: 64 << 20 };

    /// Keeps everything.
    pub fn unlimited() -> Self {
        Self::of(Limits::default())
    }

    /// Keeps the newest within these limits.
    pub fn of(all: Limits) -> Self {
        Self { all, topics: Vec::new(), quota: None, system: Self::SYSTEM }
    }

    /// Which lane an update on these topics belongs to.
    pub(super) fn lane_of(&self, topics: &[Topic]) -> Lane {
        let is_quota = |quota: &Quota| topics.iter().all(|topic| quota.pattern.matches(topic.as_str()));
        if self.quota.as_ref().is_some_and(is_quota) { Lane::Quota } else { Lane::Main }
    }

    /// Whether a lane that has grown to this size must evict its oldest entry.
    pub(super) fn is_exceeded(&self, lane: Lane, size: Size) -> bool {
        let max = match lane {
            Lane::Main => return self.all.exceeded_by(size.count, size.bytes),
            Lane::System => self.system,
            // Without a quota, updates of one that was are kept until they are too old.
            Lane::Quota => match &self.quota {
                Some(quota) => quota.size,
                None => return false,
            },
        };
        size.count > max.count || size.bytes > max.bytes
    }

    /// Which of the topics' limits are this topic's, as an index into `topics`.
    pub fn of_topic(&self, topic: &str) -> Option<usize> {
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

    /// Of both together.
    pub(super) fn and(self, other: Self) -> Self {
        Self { count: self.count + other.count, bytes: self.bytes + other.bytes }
    }
}

impl Limits {
    /// Whether so much is more than may be kept.
    pub(super) fn exceeded_by(&self, count: u64, bytes: u64) -> bool {
        self.count.is_some_and(|max| count > max) || self.bytes.is_some_and(|max| bytes > max)
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

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
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
