//! What the text of a matcher can do to us: nothing, whatever it is written like.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use chrono::Utc;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use url::Url;

use super::sessions::Index;
use super::*;
use crate::fuzz::{Slowest, fuzz, say};
use crate::server::log::{Cursor, Topic, TopicFilter};

/// Bytes of a topic and of a matcher that somebody may send.
const LONGEST: usize = 4096;

/// What URL patterns and URI templates are made of, and what breaks them.
const TOKENS: &[&str] = &[
    "/",
    "/a",
    ":id",
    ":id(\\d+)",
    "(",
    ")",
    "(.*)",
    "([^/]+)",
    "(a*)*",
    "(a|aa)+",
    "((a{99}){99})",
    "(\\w{50})",
    "(\\pL{200})",
    "(?i:a)",
    "(?P<n>a)",
    "((((((((",
    "[a-z]",
    "{",
    "}",
    "{/:x}?",
    "{a}+",
    "*",
    "?",
    "+",
    "#",
    "\\",
    "\\(",
    "^",
    "$",
    "|",
    "https://",
    "http{s}?://",
    "*://",
    "data:",
    "example.com",
    "user:pass@",
    ":80",
    "[::1]",
    "[",
    "]",
    "xn--",
    "xn--a-ecp",
    "%",
    "%41",
    "%zz",
    "/../",
    "é",
    "İ",
    "😀",
    " ",
    "{id}",
    "{+a}",
    "{#a,b}",
    "{/a*}",
    "{?a:9999}",
    "{&a*,b*,c*,d*}",
    "{a:9999,b:9999,c:9999}",
    "{;x:3,y}",
    ",",
    ".",
    "-",
    "a",
];

/// Texts, an eighth of them as long as they may be.
fn texts() -> impl Strategy<Value = String> {
    let token = prop_oneof![12 => select(TOKENS).prop_map(str::to_owned), 1 => any::<char>().prop_map(String::from)];
    let tokens = || vec(token.clone(), 0..12).prop_map(|tokens| tokens.concat());
    let long = (vec(token.clone(), 1..4), vec(token.clone(), 0..4)).prop_map(|(unit, end)| {
        let (unit, end) = (unit.concat(), end.concat());
        cut(&(unit.repeat(LONGEST / unit.len()) + &end)).to_owned()
    });
    let rooted = tokens().prop_map(|text| format!("/{text}"));
    let absolute = tokens().prop_map(|text| format!("https://example.com/{text}"));
    prop_oneof![3 => tokens(), 2 => rooted, 1 => absolute, 1 => long, 1 => any::<String>()]
}

/// The end of the text, where it is too long.
fn cut(text: &str) -> &str {
    let from = (text.len().saturating_sub(LONGEST)..).find(|&at| text.is_char_boundary(at));
    &text[from.unwrap_or_default()..]
}

fn patterns() -> Patterns {
    Patterns::new(Url::parse("https://hub.example/.well-known/mercure").expect("a URL"))
}

fn timed<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    let begun = Instant::now();
    (run(), begun.elapsed())
}

/// What is printed for people: a busy machine makes figures worse, so nothing is asserted of them.
#[derive(Default)]
struct Figures {
    compiled: u64,
    compiling: Slowest,
    matching: Slowest,
    growth: f64,
}

impl Figures {
    /// How much longer a topic takes that is twice as long, where it is long enough to be told.
    fn double(&mut self, matcher: &Matcher, unit: &str) {
        const TELLING: Duration = Duration::from_micros(100);
        let (half, whole) = (unit.repeat(LONGEST / 2 / unit.len()), unit.repeat(LONGEST / unit.len()));
        let best =
            |topic: &str| (0..3).map(|_| timed(|| matcher.matches(&Candidate::new(topic))).1).min().unwrap_or_default();
        let (once, twice) = (best(&half), best(&whole));
        self.matching.see(twice, &(matcher.to_string(), unit));
        if once > TELLING {
            self.growth = self.growth.max(twice.as_secs_f64() / once.as_secs_f64());
        }
    }
}

#[test]
fn any_text_is_a_matcher_that_every_way_of_matching_agrees_on_or_is_refused() {
    let figures = RefCell::new(Figures::default());
    let inputs = (texts(), vec(texts(), 1..4), "[a-c/%.]{1,3}|\\PC");
    fuzz("matchers", inputs, |(text, topics, unit)| {
        let figures = &mut *figures.borrow_mut();
        for match_type in [MatchType::Exact, MatchType::UrlPattern, MatchType::UriTemplate] {
            let (known, others) = (patterns(), patterns());
            let (matcher, time) = timed(|| Matcher::parse(match_type, text, &known));
            figures.compiling.see(time, &(match_type, text));
            let again = Matcher::parse(match_type, text, &others);
            prop_assert_eq!(&matcher, &again);
            let (Ok(matcher), Ok(again)) = (matcher, again) else { continue };
            figures.compiled += 1;
            figures.double(&matcher, unit);
            for topic in topics.iter().chain([text]) {
                agree(&matcher, &again, topic)?;
            }
        }
        Ok(())
    });
    let Figures { compiled, compiling, matching, growth } = figures.into_inner();
    assert!(compiled > 0, "no text was a matcher");
    say("matchers", &format!("{compiled} could be compiled; the slowest to compile took {compiling}"));
    say("matchers", &format!("a topic twice as long took {growth:.1} times as long at most; the slowest {matching}"));
}

/// The same topics are matched by a matcher that was compiled again, for a stream that is behind, for a page of the log,
/// and by the fan-out.
fn agree(matcher: &Matcher, again: &Matcher, topic: &str) -> Result<(), TestCaseError> {
    let Ok(parsed) = Topic::parse(topic) else { return Ok(()) };
    let expected = matcher.matches(&Candidate::new(topic));
    prop_assert_eq!(again.matches(&Candidate::new(topic)), expected, "compiled again, {}", topic);
    if matcher.match_type() == MatchType::Exact {
        prop_assert_eq!(expected, matcher.text() == topic || matcher.is_everything(), "{}", topic);
    }
    let update = Update {
        topics: vec![parsed.clone()],
        data: String::new(),
        id: None,
        event: None,
        retry: None,
        private: false,
        ttl: None,
    };
    let entry = Entry::new(Cursor(1), Utc::now(), update);
    let matchers = Matchers::new(std::slice::from_ref(matcher), Arc::default());
    prop_assert_eq!(matchers.wants(topic), expected, "in the log, {}", topic);
    prop_assert_eq!(matchers.want(&entry), expected, "behind, {}", topic);
    let index = Index::of(&matchers);
    prop_assert_eq!(index.finds(&parsed), expected, "fan-out, {}", topic);
    Ok(())
}
