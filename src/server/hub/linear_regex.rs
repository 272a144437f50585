//! The regular expressions of URL patterns: matched in linear time and bounded in size, whatever a client sends.

use regex::bytes::{Regex, RegexBuilder};
use urlpattern::RegexSyntax;
use urlpattern::regexp::RegExp;

/// Maximum bytes of a regular expression's program; a URL pattern has up to eight. `((a{99}){99}){99}` is short to send
/// and large once compiled. The automata built from a program take several times as much.
const REGEX_SIZE: usize = 32 * 1024;

/// A regular expression for ASCII.
#[derive(Debug)]
pub(super) struct LinearRegex(Regex);

impl RegExp for LinearRegex {
    fn syntax() -> RegexSyntax {
        RegexSyntax::Rust
    }

    fn parse(pattern: &str, _: &str, _: bool) -> Result<Self, ()> {
        // URLs are ASCII, and so are `\w` and `\d` in browsers. With all of Unicode these would take a hundred times the
        // memory. `\p{…}` is refused.
        let mut builder = RegexBuilder::new(pattern);
        let regex = builder.unicode(false).size_limit(REGEX_SIZE).dfa_size_limit(REGEX_SIZE).build();
        regex.map(Self).map_err(|_| ())
    }

    /// Whether it matches: captures are never used.
    fn matches<'a>(&self, text: &'a str) -> Option<Vec<Option<&'a str>>> {
        self.0.is_match(text.as_bytes()).then(Vec::new)
    }

    fn pattern_string(&self) -> &str {
        self.0.as_str()
    }
}
