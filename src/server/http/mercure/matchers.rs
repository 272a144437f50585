//! The matchers in a query or a form body.

use super::Mercure;
use crate::server::http::error::ApiError;
use crate::server::http::params::Params;
use crate::server::hub::{MatchType, Matcher};

/// Maximum number of matchers of one request.
const MAX_MATCHERS: usize = 100;
/// Maximum length of a matcher, in bytes.
const MAX_LENGTH: usize = 4096;
/// Maximum total length of the patterns of one request, in bytes: each is compiled before the request is answered.
const MAX_PATTERNS_LENGTH: usize = 16 * 1024;
/// The prefix of every matcher parameter.
const PREFIX: &str = "match";

impl Mercure {
    /// Number of patterns in a request that would have to be compiled.
    pub(super) fn new_patterns(&self, params: &Params) -> usize {
        let is_new = |name: &str, value: &str| {
            let match_type = match_type(name).ok().flatten().or_else(|| self.older_matcher(name));
            match_type.is_some_and(|match_type| Matcher::is_new_pattern(match_type, value, self.hub.patterns()))
        };
        let values = params.iter().filter_map(|(name, value)| Some((name, value.ok()?)));
        values.filter(|(name, value)| is_new(name, value)).take(MAX_MATCHERS).count()
    }

    /// All matchers of a request, without duplicates. A parameter that looks like a matcher and is none is refused:
    /// otherwise a misspelt subscription would silently hear nothing.
    pub(super) fn matchers(&self, params: &Params) -> Result<Vec<Matcher>, ApiError> {
        let mut matchers: Vec<Matcher> = Vec::new();
        let mut patterns = 0;
        for (name, value) in params.iter() {
            let Some(match_type) = match_type(name)?.or_else(|| self.older_matcher(name)) else { continue };
            let value = value?;
            if value.len() > MAX_LENGTH {
                return Err(malformed(format!("A matcher has more than {MAX_LENGTH} bytes. Use a shorter one.")));
            }
            if match_type != MatchType::Exact {
                patterns += value.len();
            }
            if patterns > MAX_PATTERNS_LENGTH {
                let detail = format!(
                    "The patterns have more than {MAX_PATTERNS_LENGTH} bytes together. Use fewer, or several streams."
                );
                return Err(malformed(detail));
            }
            // The address of such a subscription would lead to another one: a URL's dot-segments are removed, even where
            // they are percent-encoded.
            if matches!(value, "." | "..") {
                let detail =
                    format!("`{name}={value}` can't be used: it can't stand in the address of a subscription.");
                return Err(malformed(detail));
            }
            let matcher = Matcher::parse(match_type, value, self.hub.patterns())
                .map_err(|error| malformed(format!("`{name}={}` can't be used: {error}.", excerpt(value))))?;
            if !matchers.contains(&matcher) {
                matchers.push(matcher);
            }
            if matchers.len() > MAX_MATCHERS {
                let detail = format!("There are more than {MAX_MATCHERS} matchers. Use patterns, or several streams.");
                return Err(malformed(detail));
            }
        }
        if matchers.is_empty() {
            let detail = "There is no matcher. Say what to subscribe to: `match` with a topic, `match_urlpattern` with a \
                          URL pattern, or `match=*` for everything.";
            return Err(malformed(detail.into()));
        }
        Ok(matchers)
    }
}

/// The matcher type that a parameter's name stands for; `None` if the parameter is no matcher.
fn match_type(name: &str) -> Result<Option<MatchType>, ApiError> {
    let is_meant = name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX));
    if !is_meant {
        return Ok(None);
    }
    let known = match name.strip_prefix(PREFIX) {
        Some("") => Some(MatchType::Exact),
        Some(rest) => rest.strip_prefix('_').and_then(MatchType::named),
        None => None,
    };
    let unknown = || {
        let detail = format!("`{}` is no matcher type. Use match, match_exact or match_urlpattern.", excerpt(name));
        malformed(detail)
    };
    known.map(Some).ok_or_else(unknown)
}

fn malformed(detail: String) -> ApiError {
    ApiError::Malformed(detail)
}

/// The beginning of a client's text for an error message: printable, and at most one line.
pub(super) fn excerpt(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut shown: String = text.chars().take(LONGEST).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}
