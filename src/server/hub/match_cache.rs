//! Which subscribed patterns each topic matches: found once for a topic, and remembered.

use std::collections::HashMap;

use super::sessions::{SubscribedPatterns, TopicMatches};
use crate::server::log::Topic;

/// Maximum bytes of the topics' names in one generation.
const NAME_BYTES: usize = 4 << 20;

/// The matches of the newest topics. It belongs to the fan-out alone, so no lock is held while a topic is compared
/// with patterns.
pub(super) struct MatchCache {
    capacity: usize,
    /// Of the names in the young generation.
    bytes: usize,
    /// Two generations: when the young one is full, the old one is dropped.
    young: HashMap<Topic, TopicMatches>,
    old: HashMap<Topic, TopicMatches>,
}

impl MatchCache {
    /// Remembers at least the `capacity` topics that were asked for last, and at most twice as many: fewer if their
    /// names are long.
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, bytes: 0, young: HashMap::new(), old: HashMap::new() }
    }

    /// The patterns that the topic matches now.
    pub(super) fn matches(&mut self, topic: &Topic, patterns: &SubscribedPatterns) -> TopicMatches {
        if patterns.is_empty() && self.young.is_empty() {
            return patterns.matches(topic);
        }
        if let Some(matches) = self.young.get_mut(topic) {
            patterns.update(topic, matches);
            return matches.clone();
        }
        let mut matches = self.old.remove(topic).unwrap_or_default();
        patterns.update(topic, &mut matches);
        if self.young.len() >= self.capacity || self.bytes >= NAME_BYTES {
            self.old = std::mem::take(&mut self.young);
            self.bytes = 0;
        }
        self.bytes += topic.as_str().len();
        self.young.insert(topic.clone(), matches.clone());
        matches
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use url::Url;

    use super::super::sessions::Index;
    use super::super::{MatchType, Matcher, Matchers, Patterns};
    use super::*;

    fn topic(name: &str) -> Topic {
        Topic::parse(name).expect("a topic")
    }

    fn matchers(pattern: &str, patterns: &Patterns) -> Matchers {
        let matcher = Matcher::parse(MatchType::UrlPattern, pattern, patterns).expect("a matcher");
        Matchers::new(&[matcher], Arc::default())
    }

    #[test]
    fn a_topics_matches_are_right_however_patterns_come_and_go_and_topics_are_dropped() {
        let patterns = Patterns::new(Url::parse("https://hub.example/.well-known/mercure").expect("a URL"));
        let mut index = Index::default();
        let mut cache = MatchCache::new(4);
        let found = |cache: &mut MatchCache, index: &Index, name: &str| {
            let topic = topic(name);
            let mut sessions = Vec::new();
            index.select(&topic, &cache.matches(&topic, index.subscribed()), |session| sessions.push(session));
            sessions
        };
        let first = matchers("/a/:x", &patterns);
        let first_keys = index.insert(&first, 1);
        assert_eq!(found(&mut cache, &index, "/a/1"), [1]);
        index.insert(&matchers("/:x/1", &patterns), 2);
        assert_eq!(found(&mut cache, &index, "/a/1"), [1, 2]);
        assert_eq!(found(&mut cache, &index, "/b/1"), [2]);
        for n in 0..12 {
            assert_eq!(found(&mut cache, &index, &format!("/a/{n}")).first(), Some(&1));
        }
        index.remove(&first, &first_keys);
        assert_eq!(found(&mut cache, &index, "/a/1"), [2]);
        index.insert(&first, 3);
        assert_eq!(found(&mut cache, &index, "/a/1"), [2, 3], "a pattern that is subscribed to again");
    }
}
