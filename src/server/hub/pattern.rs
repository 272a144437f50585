//! Patterns, each compiled once, and which of them a topic matches, found once: URL patterns (WHATWG URL Pattern), and
//! the older protocol's URI templates.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock, Weak};

use thiserror::Error;
use url::Url;
use urlpattern::matcher::Matcher;
use urlpattern::quirks::{MatchInput, parse_match_input};
use urlpattern::{UrlPattern, UrlPatternInit, UrlPatternMatchInput, UrlPatternOptions};

use super::linear_regex::LinearRegex;
use super::uri_template::UriTemplate;
use crate::server::log::Topic;

/// Bytes that the regular expression of a URI template may take.
const TEMPLATE_SIZE: usize = 256 * 1024;
/// How many topics' matches are remembered: those of the newest topics, and of as many before them.
const KNOWN_TOPICS: usize = if cfg!(test) { 4 } else { 50_000 };
/// Patterns that nobody holds any more are forgotten when there are this many, and twice as many as were left.
const FORGET_ABOVE: usize = 1024;

/// A compiled pattern.
#[derive(Debug)]
pub struct Pattern {
    serial: Serial,
    base: Arc<Url>,
    test: Test,
}

/// How a pattern is written.
#[derive(Clone, Copy)]
enum Syntax {
    Url,
    Template,
}

/// How topics are compared with it.
#[derive(Debug)]
enum Test {
    /// As the URL that it is, seen from the hub's own.
    Url(Box<Components>),
    /// As the text that it is. The template's own text matches too.
    Template { text: Box<str>, template: UriTemplate },
}

/// Patterns are numbered as they are compiled; a number is never used again.
pub(super) type Serial = u64;

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("it is no {kind}: {reason}")]
pub struct PatternError {
    kind: &'static str,
    reason: String,
}

/// A topic as patterns see it.
pub struct Candidate<'a> {
    text: &'a str,
    base: &'a Url,
    /// Found when it is first needed; `None` where the topic is no URL, which no URL pattern matches.
    url: OnceCell<Option<MatchInput>>,
}

/// The patterns in use, and what they match.
pub struct Patterns {
    base: Arc<Url>,
    state: RwLock<State>,
}

struct State {
    /// For each syntax.
    by_text: [HashMap<Box<str>, Weak<Pattern>>; 2],
    by_serial: BTreeMap<Serial, Weak<Pattern>>,
    next_serial: Serial,
    forget_above: usize,
    /// Two generations: when the young one is full the old one goes.
    young: HashMap<Topic, Known>,
    old: HashMap<Topic, Known>,
}

/// Which patterns a topic matches.
struct Known {
    matched: Vec<Serial>,
    /// Those before this one have been tried.
    tried: Serial,
}

impl Patterns {
    /// Resolves relative patterns and topics against `base`, the hub's URL.
    pub fn new(base: Url) -> Self {
        let state = State {
            by_text: [HashMap::new(), HashMap::new()],
            by_serial: BTreeMap::new(),
            next_serial: 0,
            forget_above: FORGET_ABOVE,
            young: HashMap::new(),
            old: HashMap::new(),
        };
        Self { base: Arc::new(base), state: RwLock::new(state) }
    }

    /// The URL pattern that a text means: the same one for everybody who writes it alike.
    pub fn compile(&self, text: &str) -> Result<Arc<Pattern>, PatternError> {
        self.intern(Syntax::Url, text)
    }

    /// The URI template that a text means, as [`Patterns::compile`].
    pub(super) fn compile_template(&self, text: &str) -> Result<Arc<Pattern>, PatternError> {
        self.intern(Syntax::Template, text)
    }

    fn intern(&self, syntax: Syntax, text: &str) -> Result<Arc<Pattern>, PatternError> {
        if let Some(pattern) = self.read(|state| state.compiled(syntax, text)) {
            return Ok(pattern);
        }
        let test = Test::compile(syntax, text, &self.base)?;
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        // Somebody else may have compiled it meanwhile.
        if let Some(pattern) = state.compiled(syntax, text) {
            return Ok(pattern);
        }
        let pattern = Arc::new(Pattern { serial: state.next_serial, base: self.base.clone(), test });
        state.next_serial += 1;
        state.forget_unused();
        state.by_text[syntax as usize].insert(text.into(), Arc::downgrade(&pattern));
        state.by_serial.insert(pattern.serial, Arc::downgrade(&pattern));
        Ok(pattern)
    }

    /// Calls `see` with the numbers of the patterns that the topic matches, in order, and perhaps of some that are gone.
    pub(super) fn matching<T>(&self, topic: &Topic, see: impl FnOnce(&[Serial]) -> T) -> T {
        {
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = state.known(topic).filter(|known| known.tried == state.next_serial) {
                return see(&known.matched);
            }
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        see(&state.learn(topic, &self.base).matched)
    }

    /// Whether the topic matches the pattern: remembered, or else tried.
    pub(super) fn matches(&self, topic: &Topic, pattern: &Pattern) -> bool {
        let remembered = self.read(|state| {
            let known = state.known(topic).filter(|known| pattern.serial < known.tried)?;
            Some(known.matched.binary_search(&pattern.serial).is_ok())
        });
        remembered.unwrap_or_else(|| pattern.matches(&pattern.candidate(topic.as_str())))
    }

    fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn compiled(&self, syntax: Syntax, text: &str) -> Option<Arc<Pattern>> {
        self.by_text[syntax as usize].get(text).and_then(Weak::upgrade)
    }

    fn known(&self, topic: &Topic) -> Option<&Known> {
        self.young.get(topic).or_else(|| self.old.get(topic))
    }

    /// Tries the patterns that are newer than what is known of the topic.
    fn learn(&mut self, topic: &Topic, base: &Url) -> &Known {
        let known = self.young.remove(topic).or_else(|| self.old.remove(topic));
        let mut known = known.unwrap_or(Known { matched: Vec::new(), tried: 0 });
        known.matched.retain(|serial| self.by_serial.contains_key(serial));
        let candidate = Candidate::new(topic.as_str(), base);
        let newer = self.by_serial.range(known.tried..).filter_map(|(_, pattern)| pattern.upgrade());
        known.matched.extend(newer.filter(|pattern| pattern.matches(&candidate)).map(|pattern| pattern.serial));
        known.tried = self.next_serial;
        if self.young.len() >= KNOWN_TOPICS {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.entry(topic.clone()).or_insert(known)
    }

    fn forget_unused(&mut self) {
        if self.by_serial.len() < self.forget_above {
            return;
        }
        self.by_text.iter_mut().for_each(|texts| texts.retain(|_, pattern| pattern.strong_count() > 0));
        self.by_serial.retain(|_, pattern| pattern.strong_count() > 0);
        self.forget_above = FORGET_ABOVE.max(2 * self.by_serial.len());
    }
}

impl Test {
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
    /// A topic, to be matched with this pattern and others of the same hub.
    pub fn candidate<'a>(&'a self, topic: &'a str) -> Candidate<'a> {
        Candidate::new(topic, &self.base)
    }

    /// Whether it matches the topic. The whole topic must match, and the case of its letters (except the host's).
    pub fn matches(&self, topic: &Candidate<'_>) -> bool {
        match &self.test {
            Test::Url(pattern) => topic.url().is_some_and(|url| pattern.match_all(url)),
            Test::Template { text, template } => **text == *topic.text || template.matches(topic.text),
        }
    }

    pub(super) fn serial(&self) -> Serial {
        self.serial
    }
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
    fn new(text: &'a str, base: &'a Url) -> Self {
        Self { text, base, url: OnceCell::new() }
    }

    fn url(&self) -> Option<&MatchInput> {
        let parse = |url| parse_match_input(UrlPatternMatchInput::Url(url));
        self.url.get_or_init(|| self.base.join(self.text).ok().and_then(parse)).as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns() -> Patterns {
        Patterns::new(Url::parse("https://hub.example/.well-known/mercure").expect("a URL"))
    }

    fn topic(topic: &str) -> Topic {
        Topic::parse(topic).expect("a topic")
    }

    #[track_caller]
    fn check(pattern: &str, topic: &str, expected: bool) {
        let pattern = patterns().compile(pattern).expect(pattern);
        assert_eq!(pattern.matches(&pattern.candidate(topic)), expected, "{topic}");
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
            patterns().compile(text).expect_err(text);
        }
    }

    #[test]
    fn a_uri_template_is_compared_with_the_topics_text_and_is_its_own_topic_too() {
        let patterns = patterns();
        let template = patterns.compile_template("/books/{id}").expect("a template");
        let matches = |topic: &str| template.matches(&template.candidate(topic));
        assert!(matches("/books/1") && matches("/books/{id}"));
        assert!(!matches("https://hub.example/books/1") && !matches("/books/1/2"));
        let error = patterns.compile_template("/books/{").expect_err("a refusal");
        assert_eq!(error.to_string(), "it is no URI template: a { without its }");
    }

    #[test]
    fn what_is_written_alike_as_a_url_pattern_and_as_a_uri_template_is_two_patterns() {
        let patterns = patterns();
        let url = patterns.compile("/books/:id").expect("a pattern");
        let template = patterns.compile_template("/books/:id").expect("a template");
        let matching = |name: &str| patterns.matching(&topic(name), <[Serial]>::to_vec);
        assert_eq!(matching("/books/1"), [url.serial()]);
        assert_eq!(matching("/books/:id"), [url.serial(), template.serial()]);
        assert!(patterns.matches(&topic("/books/1"), &url) && !patterns.matches(&topic("/books/1"), &template));
    }

    #[test]
    fn a_pattern_is_compiled_once_for_all_who_write_it_alike() {
        let patterns = patterns();
        let (one, two) = (patterns.compile("/a/:b"), patterns.compile("/a/:b"));
        assert!(Arc::ptr_eq(&one.expect("a pattern"), &two.expect("a pattern")));
    }

    #[test]
    fn a_topics_matches_are_right_however_patterns_come_and_go_and_topics_are_forgotten() {
        let patterns = patterns();
        let first = patterns.compile("/a/:x").expect("a pattern");
        let matching = |name: &str| patterns.matching(&topic(name), <[Serial]>::to_vec);
        assert_eq!(matching("/a/1"), [first.serial()]);
        let second = patterns.compile("/:x/1").expect("a pattern");
        assert_eq!(matching("/a/1"), [first.serial(), second.serial()]);
        assert_eq!(matching("/b/1"), [second.serial()]);
        for n in 0..3 * KNOWN_TOPICS {
            assert_eq!(matching(&format!("/a/{n}")).first(), Some(&first.serial()));
        }
        assert!(patterns.matches(&topic("/b/1"), &second) && !patterns.matches(&topic("/b/1"), &first));
        drop(first);
        let third = patterns.compile("/a/:x").expect("a pattern");
        assert!(matching("/a/1").contains(&third.serial()));
    }
}
