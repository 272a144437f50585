//! The regular expressions of URL patterns: matched in linear time, and small, whatever somebody writes.

use regex::bytes::{Regex, RegexBuilder};
use urlpattern::RegexSyntax;
use urlpattern::regexp::RegExp;

/// Bytes that the program of a regular expression may take, of which a URL pattern may have eight:
/// `((a{99}){99}){99}` is short to write and long to hold. What is built from the program takes several times as much.
const REGEX_SIZE: usize = 32 * 1024;

/// A regular expression for ASCII.
#[derive(Debug)]
pub(super) struct LinearRegex(Regex);

impl RegExp for LinearRegex {
    fn syntax() -> RegexSyntax {
        RegexSyntax::Rust
    }

    fn parse(pattern: &str, _: &str, _: bool) -> Result<Self, ()> {
        // A URL is ASCII, and so are `\w` and `\d` in a browser: with all of Unicode in them they take a hundred times
        // the room. `\p{…}` is refused.
        let mut builder = RegexBuilder::new(pattern);
        let regex = builder.unicode(false).size_limit(REGEX_SIZE).dfa_size_limit(REGEX_SIZE).build();
        regex.map(Self).map_err(|_| ())
    }

    /// Says whether it matches: nobody asks for the captures.
    fn matches<'a>(&self, text: &'a str) -> Option<Vec<Option<&'a str>>> {
        self.0.is_match(text.as_bytes()).then(Vec::new)
    }

    fn pattern_string(&self) -> &str {
        self.0.as_str()
    }
}
