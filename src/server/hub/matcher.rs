//! What a subscriber says it wants, and what it may have.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use super::Rights;
use super::pattern::{Pattern, PatternError, Patterns};
use crate::server::log::{Entry, FieldError, Topic, TopicFilter};

/// The matcher value that means every topic, whatever its type.
pub const EVERYTHING: &str = "*";

/// How a matcher's text is compared with topics (Mercure, "Matcher Types").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MatchType {
    /// Byte for byte.
    Exact,
    /// As a WHATWG URL Pattern.
    UrlPattern,
    /// As a topic or a URI template (RFC 6570): only of the older protocol, so nobody can ask for it by its name.
    UriTemplate,
}

impl MatchType {
    /// Every type that has a name.
    pub const ALL: [Self; 2] = [Self::Exact, Self::UrlPattern];

    /// Its name in parameters and tokens.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::UrlPattern => "urlpattern",
            Self::UriTemplate => "uritemplate",
        }
    }

    /// The type of this name, among those that may be asked for. Case counts.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// One thing that a subscriber wants, or that a token grants: all topics that its text matches.
#[derive(Clone, Debug)]
pub struct Matcher {
    match_type: MatchType,
    text: Topic,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    Everything,
    Exact,
    Pattern(Arc<Pattern>),
}

/// Why a matcher can't be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MatcherError {
    /// Its text could be no topic's.
    #[error(transparent)]
    Text(#[from] FieldError),
    /// Its text is no pattern.
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

impl Matcher {
    /// Reads a matcher of a type.
    pub fn parse(match_type: MatchType, text: &str, patterns: &Patterns) -> Result<Self, MatcherError> {
        let topic = Topic::parse(text)?;
        let test = match match_type {
            _ if text == EVERYTHING => Test::Everything,
            MatchType::Exact => Test::Exact,
            // The index of topics finds it then.
            MatchType::UriTemplate if !text.contains('{') => Test::Exact,
            MatchType::UrlPattern => Test::Pattern(patterns.compile(text)?),
            MatchType::UriTemplate => Test::Pattern(patterns.compile_template(text)?),
        };
        Ok(Self { match_type, text: topic, test })
    }

    /// Matches this topic alone, byte for byte.
    pub fn exact(topic: Topic) -> Self {
        Self { match_type: MatchType::Exact, text: topic, test: Test::Exact }
    }

    /// Its type, as it was asked for.
    pub fn match_type(&self) -> MatchType {
        self.match_type
    }

    /// Its text, as it was asked for.
    pub fn text(&self) -> &str {
        self.text.as_str()
    }

    /// Whether it matches every topic.
    pub fn is_everything(&self) -> bool {
        matches!(self.test, Test::Everything)
    }

    /// Whether it matches the topic.
    pub fn matches(&self, topic: &str) -> bool {
        match &self.test {
            Test::Everything => true,
            Test::Exact => self.text.as_str() == topic,
            Test::Pattern(pattern) => pattern.matches(&pattern.candidate(topic)),
        }
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        self.match_type == other.match_type && self.text == other.text
    }
}

impl Eq for Matcher {}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.match_type.name(), self.text)
    }
}

/// The matchers of one subscriber, and what it may read: it hears what any of them matches, of private updates
/// only those it has a right to.
#[derive(Clone, Debug)]
pub struct Matchers {
    everything: bool,
    /// In order, each once.
    topics: Box<[Topic]>,
    patterns: Box<[Arc<Pattern>]>,
    rights: Arc<Rights>,
}

impl Matchers {
    /// What these matchers match, for a reader with these rights.
    pub fn new(matchers: &[Matcher], rights: Arc<Rights>) -> Self {
        let mut topics: Vec<Topic> = Vec::new();
        let mut patterns: Vec<Arc<Pattern>> = Vec::new();
        for matcher in matchers {
            match &matcher.test {
                Test::Everything => {}
                Test::Exact => topics.push(matcher.text.clone()),
                Test::Pattern(pattern) => patterns.push(pattern.clone()),
            }
        }
        topics.sort_unstable();
        topics.dedup();
        patterns.sort_unstable_by_key(|pattern| pattern.serial());
        patterns.dedup_by_key(|pattern| pattern.serial());
        let everything = matchers.iter().any(Matcher::is_everything);
        Self { everything, topics: topics.into(), patterns: patterns.into(), rights }
    }

    /// Matches these topics, byte for byte, for a reader without rights.
    pub fn exact(topics: impl IntoIterator<Item = Topic>) -> Self {
        let matchers: Vec<_> = topics.into_iter().map(Matcher::exact).collect();
        Self::new(&matchers, Arc::default())
    }

    /// Whether every topic is matched.
    pub(super) fn everything(&self) -> bool {
        self.everything
    }

    /// The topics that are matched byte for byte.
    pub(super) fn topics(&self) -> &[Topic] {
        &self.topics
    }

    /// The patterns that topics are matched with.
    pub(super) fn patterns(&self) -> &[Arc<Pattern>] {
        &self.patterns
    }

    /// Whether the entry has a topic that is wanted, and may be read.
    pub(super) fn want(&self, entry: &Entry, known: &Patterns) -> bool {
        let matched = |topic: &Topic| {
            self.topics.binary_search(topic).is_ok()
                || self.patterns.iter().any(|pattern| known.matches(topic, pattern))
        };
        (self.everything || entry.topics.iter().any(matched)) && self.may_read(entry)
    }

    /// Whether the reader may have this entry, if it wants it.
    pub(super) fn may_read(&self, entry: &Entry) -> bool {
        !entry.private || self.rights.may_read(&entry.topics)
    }
}

impl TopicFilter for Matchers {
    fn wants(&self, topic: &str) -> bool {
        let by_pattern = || {
            let Some(first) = self.patterns.first() else { return false };
            let candidate = first.candidate(topic);
            self.patterns.iter().any(|pattern| pattern.matches(&candidate))
        };
        self.everything || self.topics.binary_search_by(|wanted| wanted.as_str().cmp(topic)).is_ok() || by_pattern()
    }

    fn exact(&self) -> Option<&[Topic]> {
        (!self.everything && self.patterns.is_empty()).then_some(&self.topics)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_protocols_templates_cant_be_asked_for_by_name() {
        assert_eq!(MatchType::named(MatchType::UriTemplate.name()), None);
        assert!(MatchType::ALL.iter().all(|kind| MatchType::named(kind.name()) == Some(*kind)));
    }
}
