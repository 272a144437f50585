//! What a subscriber says it wants.

use crate::server::log::{Entry, Topic, TopicFilter};

/// The matchers of one subscriber: it hears what any of them matches.
#[derive(Clone, Debug)]
pub struct Matchers {
    topics: Box<[Topic]>,
}

impl Matchers {
    /// Matches these topics, byte for byte.
    pub fn exact(topics: impl IntoIterator<Item = Topic>) -> Self {
        Self { topics: topics.into_iter().collect() }
    }

    /// The topics that are matched byte for byte.
    pub(super) fn topics(&self) -> &[Topic] {
        &self.topics
    }

    /// Whether the entry has a topic that is wanted.
    pub(super) fn want(&self, entry: &Entry) -> bool {
        entry.topics.iter().any(|topic| self.topics.contains(topic))
    }
}

impl TopicFilter for Matchers {
    fn wants(&self, topic: &str) -> bool {
        self.topics.iter().any(|wanted| wanted.as_str() == topic)
    }

    fn exact(&self) -> Option<&[Topic]> {
        Some(&self.topics)
    }
}
