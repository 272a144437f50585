//! Patterns: URL patterns (WHATWG URL Pattern), and the older protocol's URI templates. Each text is compiled once.

use std::cell::OnceCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;
use url::Url;
use urlpattern::matcher::{InnerMatcher, Matcher};
use urlpattern::quirks::{MatchInput, parse_match_input};
use urlpattern::{UrlPattern, UrlPatternInit, UrlPatternMatchInput, UrlPatternOptions};

use super::linear_regex::LinearRegex;
use super::uri_template::UriTemplate;
use super::weak_map::WeakMap;

/// Maximum bytes of a URI template's regular expression.
const TEMPLATE_SIZE: usize = 256 * 1024;
/// Maximum number of patterns that subscribers may use at a time: each new topic is compared with all of them.
const MAX_IN_USE: usize = 10_000;

/// Identifies a compiled pattern; an id is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PatternId(u64);

/// A compiled pattern.
#[derive(Debug)]
pub struct Pattern {
    id: PatternId,
    base: Arc<Url>,
    strategy: Strategy,
}

/// How a pattern is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Syntax {
    /// A URL pattern.
    Url,
    /// A URI template.
    Template,
}

/// How topics are compared with a pattern.
#[derive(Debug)]
enum Strategy {
    /// As a URL, resolved against the hub's URL.
    Url(Box<Components>),
    /// As text. The template's own text matches too.
    Template { text: Box<str>, template: UriTemplate },
}

/// Why a pattern can't be compiled.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("it is not a valid {kind}: {reason}")]
pub struct PatternError {
    kind: &'static str,
    reason: String,
}

/// A topic that is compared with patterns. It is parsed as a URL once, when a URL pattern first asks for it.
pub struct Candidate<'a> {
    text: &'a str,
    /// `None` inside for a topic that is not a URL: no URL pattern matches it.
    url: OnceCell<Option<MatchInput>>,
}

/// Compiles patterns. Identical texts share one compiled pattern for as long as somebody holds it.
pub struct Patterns {
    base: Arc<Url>,
    compiled: WeakMap<(Syntax, Box<str>), Pattern>,
    next_id: AtomicU64,
}

impl Patterns {
    /// Resolves relative patterns and topics against `base`, the hub's URL.
    pub fn new(base: Url) -> Self {
        Self { base: Arc::new(base), compiled: WeakMap::default(), next_id: AtomicU64::new(0) }
    }

    /// Whether nobody uses this pattern: compiling it takes much longer than finding it.
    pub(super) fn is_new(&self, syntax: Syntax, text: &str) -> bool {
        self.compiled.get(&(syntax, text.into())).is_none()
    }

    /// Whether this many new patterns may be used beside those that are in use.
    pub fn has_room_for(&self, count: usize) -> bool {
        self.compiled.has_room_for(count, MAX_IN_USE)
    }

    /// Compiles a pattern. Identical texts share one compiled pattern.
    pub(super) fn compile(&self, syntax: Syntax, text: &str) -> Result<Arc<Pattern>, PatternError> {
        let key = (syntax, Box::from(text));
        if let Some(pattern) = self.compiled.get(&key) {
            return Ok(pattern);
        }
        let strategy = Strategy::compile(syntax, text, &self.base)?;
        let id = PatternId(self.next_id.fetch_add(1, Ordering::Relaxed));
        Ok(self.compiled.share(key, Arc::new(Pattern { id, base: self.base.clone(), strategy })))
    }
}

impl Strategy {
    fn compile(syntax: Syntax, text: &str, base: &Url) -> Result<Self, PatternError> {
        match syntax {
            Syntax::Url => {
                let explain =
                    |error: urlpattern::Error| PatternError { kind: "URL pattern", reason: error.to_string() };
                let init = UrlPatternInit::parse_constructor_string::<LinearRegex>(text, Some(base.clone()));
                let pattern = init.and_then(|init| UrlPattern::parse(init, UrlPatternOptions::default()));
                pattern.map(|pattern| Self::Url(Box::new(pattern.into()))).map_err(explain)
            }
            Syntax::Template => {
                let template = UriTemplate::parse(text, TEMPLATE_SIZE);
                let template = template.map_err(|reason| PatternError { kind: "URI template", reason })?;
                Ok(Self::Template { text: text.into(), template })
            }
        }
    }
}

impl Pattern {
    /// Whether the pattern matches the topic. The whole topic must match; letters match in their case, except in the
    /// host.
    pub fn matches(&self, topic: &Candidate<'_>) -> bool {
        match &self.strategy {
            Strategy::Url(pattern) => topic.url(&self.base).is_some_and(|url| pattern.match_all(url)),
            Strategy::Template { text, template } => **text == *topic.text || template.matches(topic.text),
        }
    }

    /// Whether the pattern could match a topic whose path begins with `path`: true where that can't be ruled out.
    pub(super) fn may_match_below(&self, path: &str) -> bool {
        match &self.strategy {
            Strategy::Url(components) => components.may_match_below(path),
            Strategy::Template { text, .. } => share_a_prefix(text.split('{').next().unwrap_or_default(), path),
        }
    }

    pub(super) fn id(&self) -> PatternId {
        self.id
    }
}

/// Whether one of the two begins with the other.
fn share_a_prefix(one: &str, other: &str) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

/// What is compared with each component of a URL. What differs most between patterns comes first.
#[derive(Debug)]
struct Components([Matcher<LinearRegex>; 8]);

impl From<UrlPattern<LinearRegex>> for Components {
    /// The rest of the pattern has each regular expression once more.
    fn from(pattern: UrlPattern<LinearRegex>) -> Self {
        Self([
            pattern.pathname.matcher,
            pattern.hostname.matcher,
            pattern.protocol.matcher,
            pattern.search.matcher,
            pattern.hash.matcher,
            pattern.port.matcher,
            pattern.username.matcher,
            pattern.password.matcher,
        ])
    }
}

impl Components {
    fn may_match_below(&self, path: &str) -> bool {
        let [pathname, ..] = &self.0;
        let beginning = match &pathname.inner {
            InnerMatcher::Literal { literal } => pathname.prefix.clone() + literal,
            InnerMatcher::SingleCapture { .. } | InnerMatcher::RegExp { .. } => pathname.prefix.clone(),
        };
        share_a_prefix(&beginning, path)
    }

    fn match_all(&self, url: &MatchInput) -> bool {
        let values = [
            &url.pathname,
            &url.hostname,
            &url.protocol,
            &url.search,
            &url.hash,
            &url.port,
            &url.username,
            &url.password,
        ];
        self.0.iter().zip(values).all(|(matcher, value)| matcher.matches(value).is_some())
    }
}

impl<'a> Candidate<'a> {
    /// A topic, to be compared with any number of patterns of one hub.
    pub fn new(topic: &'a str) -> Self {
        Self { text: topic, url: OnceCell::new() }
    }

    /// The topic as it was published.
    pub(super) fn text(&self) -> &'a str {
        self.text
    }

    fn url(&self, base: &Url) -> Option<&MatchInput> {
        let parse = |url| parse_match_input(UrlPatternMatchInput::Url(url));
        self.url.get_or_init(|| base.join(self.text).ok().and_then(parse)).as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns() -> Patterns {
        Patterns::new(Url::parse("https://hub.example/.well-known/mercure").expect("a URL"))
    }

    #[track_caller]
    fn check(pattern: &str, topic: &str, expected: bool) {
        let pattern = patterns().compile(Syntax::Url, pattern).expect(pattern);
        assert_eq!(pattern.matches(&Candidate::new(topic)), expected, "{topic}");
    }

    #[test]
    fn patterns_and_topics_are_seen_from_the_hubs_url() {
        check("https://example.com/books/:id", "https://example.com/books/1", true);
        check("https://example.com/books/:id", "https://example.com/books/1/2", false);
        check("https://example.com/books/:id", "https://other.example/books/1", false);
        check("/books/:id", "/books/1", true);
        check("/books/:id", "https://hub.example/books/1", true);
        check("https://hub.example/books/:id", "/books/1", true);
        check("/books/:id(\\d+)", "/books/x", false);
        check("/books/:id(\\d+)", "/books/12", true);
        check("/.well-known/mercure/subscriptions/*", "/.well-known/mercure/subscriptions/exact/a/b", true);
    }

    #[test]
    fn words_and_digits_are_those_of_ascii_and_take_little_room() {
        check("/:id(\\w{50})", &format!("/{}", "a".repeat(50)), true);
        check("/:id(\\w{50})", &format!("/{}", "é".repeat(50)), false);
        check("/:id([^a]+)", "/é", true);
        check("/:id(\\d)", "/٣", false);
    }

    #[test]
    fn the_case_of_letters_counts_but_not_in_the_host() {
        check("https://example.com/Books/:id", "https://example.com/books/1", false);
        check("https://EXAMPLE.com/books/:id", "https://example.COM/books/1", true);
    }

    #[test]
    fn a_topic_that_is_no_url_matches_no_pattern() {
        check("*://*:*/*", "http://[", false);
        check("/*", "https://", false);
    }

    #[test]
    fn what_is_no_pattern_or_too_large_a_one_is_refused() {
        for text in
            ["/books/(", "https://[/", "https://]", "/:id(((((a{99}){99}){99}){99}){99})", "/((?u:\\w{3}))", "/(\\pL)"]
        {
            patterns().compile(Syntax::Url, text).expect_err(text);
        }
    }

    #[test]
    fn a_uri_template_is_compared_with_the_topics_text_and_is_its_own_topic_too() {
        let patterns = patterns();
        let template = patterns.compile(Syntax::Template, "/books/{id}").expect("a template");
        let matches = |topic: &str| template.matches(&Candidate::new(topic));
        assert!(matches("/books/1") && matches("/books/{id}"));
        assert!(!matches("https://hub.example/books/1") && !matches("/books/1/2"));
        let error = patterns.compile(Syntax::Template, "/books/{").expect_err("a refusal");
        assert_eq!(error.to_string(), "it is not a valid URI template: a { without its }");
    }

    #[test]
    fn what_is_written_alike_as_a_url_pattern_and_as_a_uri_template_is_two_patterns() {
        let patterns = patterns();
        let url = patterns.compile(Syntax::Url, "/books/:id").expect("a pattern");
        let template = patterns.compile(Syntax::Template, "/books/:id").expect("a template");
        assert_ne!(url.id(), template.id());
        assert!(url.matches(&Candidate::new("/books/1")) && !template.matches(&Candidate::new("/books/1")));
    }

    #[test]
    fn a_pattern_that_can_match_below_a_path_is_never_ruled_out() {
        let patterns = patterns();
        let root = "/.well-known/mercure/subscriptions";
        for (text, expected) in [
            ("/.well-known/mercure/subscriptions/*", true),
            ("/.well-known/mercure/subscriptions/exact/a/:subscriber", true),
            ("/.well-known/*", true),
            ("*", true),
            ("/:first/*", true),
            ("https://hub.example/.well-known/mercure/subscriptions/exact/a/b", true),
            ("/books/:id", false),
            ("/books/1", false),
            ("https://example.com/books/*", false),
        ] {
            assert_eq!(patterns.compile(Syntax::Url, text).expect(text).may_match_below(root), expected, "{text}");
        }
        let template = |text: &str| patterns.compile(Syntax::Template, text).expect(text).may_match_below(root);
        assert!(template("/.well-known/mercure/subscriptions{/topic}{/subscriber}") && template("{any}"));
        assert!(!template("https://example.com/{id}"));
    }

    #[test]
    fn a_pattern_is_compiled_once_for_all_who_write_it_alike() {
        let patterns = patterns();
        let (one, two) = (patterns.compile(Syntax::Url, "/a/:b"), patterns.compile(Syntax::Url, "/a/:b"));
        assert!(Arc::ptr_eq(&one.expect("a pattern"), &two.expect("a pattern")));
        assert!(patterns.is_new(Syntax::Url, "/a/:b"), "nobody holds it any more");
    }

    #[test]
    fn only_so_many_patterns_are_used_at_a_time() {
        let patterns = patterns();
        let used = ["/a/:b", "/b/:a"].map(|text| patterns.compile(Syntax::Url, text).expect("a pattern"));
        assert!(patterns.has_room_for(MAX_IN_USE - 2) && !patterns.has_room_for(MAX_IN_USE - 1));
        drop(used);
        assert!(patterns.has_room_for(MAX_IN_USE));
    }
}
