//! What a subscriber says it wants, and what it may have.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use super::Rights;
use super::pattern::{Candidate, Pattern, PatternError, Patterns, Syntax};
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

    /// How a text of this type is written; `None` if it stands for itself.
    fn syntax(self, text: &str) -> Option<Syntax> {
        match self {
            Self::Exact => None,
            Self::UrlPattern => Some(Syntax::Url),
            // Without an expression the index of topics finds it.
            Self::UriTemplate => text.contains('{').then_some(Syntax::Template),
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
    kind: Kind,
}

/// How topics are compared with a matcher.
#[derive(Clone, Debug)]
enum Kind {
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
        let kind = match match_type.syntax(text) {
            _ if text == EVERYTHING => Kind::Everything,
            None => Kind::Exact,
            Some(syntax) => Kind::Pattern(patterns.compile(syntax, text)?),
        };
        Ok(Self { match_type, text: topic, kind })
    }

    /// Whether [`Matcher::parse`] would have to compile a pattern that nobody uses.
    pub fn is_new_pattern(match_type: MatchType, text: &str, patterns: &Patterns) -> bool {
        text != EVERYTHING && match_type.syntax(text).is_some_and(|syntax| patterns.is_new(syntax, text))
    }

    /// Matches this topic alone, byte for byte.
    pub fn exact(topic: Topic) -> Self {
        Self { match_type: MatchType::Exact, text: topic, kind: Kind::Exact }
    }

    /// Its type, as it was asked for.
    pub fn match_type(&self) -> MatchType {
        self.match_type
    }

    /// Its text, as it was asked for.
    pub fn text(&self) -> &str {
        self.text.as_str()
    }

    /// Its text, shared.
    pub(super) fn topic(&self) -> &Topic {
        &self.text
    }

    /// Whether it matches every topic.
    pub fn is_everything(&self) -> bool {
        matches!(self.kind, Kind::Everything)
    }

    /// Whether it matches the topic.
    pub fn matches(&self, topic: &Candidate<'_>) -> bool {
        match &self.kind {
            Kind::Everything => true,
            Kind::Exact => self.text.as_str() == topic.text(),
            Kind::Pattern(pattern) => pattern.matches(topic),
        }
    }

    /// Whether it could match a topic whose path begins with `path`: true where that can't be ruled out.
    pub(super) fn may_match_below(&self, path: &str) -> bool {
        match &self.kind {
            Kind::Everything => true,
            Kind::Exact => self.text.as_str().starts_with(path),
            Kind::Pattern(pattern) => pattern.may_match_below(path),
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

/// What a session wants, and what it may have: it hears every update that one of its matchers matches, private ones
/// only where its rights grant them.
#[derive(Clone, Debug)]
pub struct Matchers {
    everything: bool,
    /// Sorted, each once.
    topics: Box<[Topic]>,
    /// Sorted by id, each once.
    patterns: Box<[Arc<Pattern>]>,
    rights: Arc<Rights>,
    /// Whether presence events may be among what is matched and may be read.
    presence: bool,
}

impl Matchers {
    /// The union of these matchers, for a reader with these rights.
    pub fn new(matchers: &[Matcher], rights: Arc<Rights>) -> Self {
        let mut topics: Vec<Topic> = Vec::new();
        let mut patterns: Vec<Arc<Pattern>> = Vec::new();
        for matcher in matchers {
            match &matcher.kind {
                Kind::Everything => {}
                Kind::Exact => topics.push(matcher.text.clone()),
                Kind::Pattern(pattern) => patterns.push(pattern.clone()),
            }
        }
        topics.sort_unstable();
        topics.dedup();
        patterns.sort_unstable_by_key(|pattern| pattern.id());
        patterns.dedup_by_key(|pattern| pattern.id());
        let everything = matchers.iter().any(Matcher::is_everything);
        let presence = rights.may_read_private();
        Self { everything, topics: topics.into(), patterns: patterns.into(), rights, presence }
    }

    /// Looks whether presence events may be matched, which are on topics whose path begins with `root`.
    pub(super) fn with_presence_below(self, root: &str) -> Self {
        Self { presence: self.below(root).is_some(), ..self }
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

    /// The patterns that topics are compared with.
    pub(super) fn patterns(&self) -> &[Arc<Pattern>] {
        &self.patterns
    }

    /// What the reader may have.
    pub(super) fn rights(&self) -> &Arc<Rights> {
        &self.rights
    }

    /// Whether the entry has a topic that is wanted, and may be read.
    pub(super) fn want(&self, entry: &Entry) -> bool {
        if entry.private && !self.rights.may_read_private() {
            return false;
        }
        let candidates: Vec<_> = entry.topics.iter().map(|topic| Candidate::new(topic.as_str())).collect();
        candidates.iter().any(|topic| self.match_topic(topic))
            && (!entry.private || self.rights.may_read_any_of(&candidates))
    }

    /// Whether the reader may have this entry, if it wants it.
    pub(super) fn may_read(&self, entry: &Entry) -> bool {
        !entry.private || self.rights.may_read(&entry.topics)
    }

    /// Those that could match a topic whose path begins with `path`, if the reader may read anything there.
    pub(super) fn below(&self, path: &str) -> Option<Self> {
        if !self.rights.may_read_below(path) {
            return None;
        }
        let topics = self.topics.iter().filter(|topic| topic.as_str().starts_with(path)).cloned().collect();
        let patterns = self.patterns.iter().filter(|pattern| pattern.may_match_below(path)).cloned().collect();
        let below = Self { everything: self.everything, topics, patterns, rights: self.rights.clone(), presence: true };
        (below.everything || !below.topics.is_empty() || !below.patterns.is_empty()).then_some(below)
    }

    /// Whether one of the matchers matches this topic.
    pub(super) fn match_topic(&self, topic: &Candidate<'_>) -> bool {
        self.everything
            || self.topics.binary_search_by(|wanted| wanted.as_str().cmp(topic.text())).is_ok()
            || self.patterns.iter().any(|pattern| pattern.matches(topic))
    }
}

impl TopicFilter for Matchers {
    fn wants(&self, topic: &str) -> bool {
        self.match_topic(&Candidate::new(topic))
    }

    fn exact(&self) -> Option<&[Topic]> {
        (!self.everything && self.patterns.is_empty()).then_some(&self.topics)
    }

    fn wants_private(&self) -> bool {
        self.rights.may_read_private()
    }

    fn wants_system(&self) -> bool {
        self.presence
    }
}

#[cfg(test)]
mod tests {
    use super::super::Grant;
    use super::*;

    #[test]
    fn presence_is_looked_for_only_where_it_may_be_matched_and_read() {
        let patterns = Patterns::new("https://example.com/hub".parse().expect("a URL"));
        let exact = |text: &str| Matcher::parse(MatchType::Exact, text, &patterns).expect("a matcher");
        let grant = |topic: &str| {
            let topics = vec![exact(topic)];
            Grant { publish: false, subscribe: true, revoke: false, topics, payload: None }
        };
        let wants = |wanted: &str, granted: &[&str]| {
            let rights = Rights::new(granted.iter().map(|topic| grant(topic)).collect());
            Matchers::new(&[exact(wanted)], Arc::new(rights)).with_presence_below("/hub/subscriptions").wants_system()
        };
        assert!(wants("*", &["*"]) && wants("/hub/subscriptions/exact/a/b", &["*"]));
        assert!(!wants("*", &[]) && !wants("*", &["news"]) && !wants("news", &["*"]));
    }

    #[test]
    fn the_older_protocols_templates_cant_be_asked_for_by_name() {
        assert_eq!(MatchType::named(MatchType::UriTemplate.name()), None);
        assert!(MatchType::ALL.iter().all(|kind| MatchType::named(kind.name()) == Some(*kind)));
    }
}
