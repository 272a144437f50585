//! The matchers in a query or a form body.

use super::Mercure;
use crate::server::http::error::ApiError;
use crate::server::http::params::Params;
use crate::server::hub::{EVERYTHING, MatchType, Matcher};

/// Most matchers of one request.
const MAX_MATCHERS: usize = 100;
/// Longest matcher, in bytes.
const MAX_LENGTH: usize = 4096;
/// Bytes that all patterns of one request may have together: each is compiled before the request is answered.
const MAX_PATTERNS_LENGTH: usize = 16 * 1024;
/// The name of URL patterns' parameters.
const URL_PATTERN: &str = "match_urlpattern";
/// What all the names of matchers begin with.
const PREFIX: &str = "match";

impl Mercure {
    /// Number of URL patterns in a request that would have to be compiled.
    pub(super) fn new_patterns(&self, params: &Params) -> usize {
        let patterns = params.iter().filter(|(name, value)| *name == URL_PATTERN && *value != EVERYTHING);
        patterns.filter(|(_, value)| self.hub.patterns().is_new(value)).take(MAX_MATCHERS).count()
    }

    /// All matchers of a request, each once. What looks like one and is none is refused: a subscriber that silently
    /// hears nothing is the worst answer.
    pub(super) fn matchers(&self, params: &Params) -> Result<Vec<Matcher>, ApiError> {
        let mut matchers: Vec<Matcher> = Vec::new();
        let mut patterns = 0;
        for (name, value) in params.iter() {
            let Some(match_type) = match_type(name)?.or_else(|| self.older_matcher(name)) else { continue };
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

/// The type that a parameter's name means; `None` where it is no matcher's.
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

/// The beginning of what a client sent, to be shown to it: visible, and not longer than a line.
pub(super) fn excerpt(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut shown: String = text.chars().take(LONGEST).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}
