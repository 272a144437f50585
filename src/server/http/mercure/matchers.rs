//! The matchers in a query or a form body.

use tokio::task::spawn_blocking;

use super::Mercure;
use crate::server::http::error::ApiError;
use crate::server::http::params::Params;
use crate::server::hub::{ClientKey, MatchType, Matcher};

/// Maximum length of a matcher, in bytes.
const MAX_LENGTH: usize = 4096;
/// Maximum total length of the patterns of one request, in bytes: each is compiled before the request is answered.
const MAX_PATTERNS_LENGTH: usize = 16 * 1024;
/// The prefix of every matcher parameter.
const PREFIX: &str = "match";

impl Mercure {
    /// Compiles the patterns of a request that nobody uses yet, as far as `client` may have more of them. They are shared
    /// with whoever asks for them while the result is held.
    pub(super) async fn compile_patterns(&self, client: &ClientKey, params: &Params) -> Result<Vec<Matcher>, ApiError> {
        let patterns = self.hub.patterns().clone();
        let new: Vec<_> = self.new_patterns(params).map(|(match_type, text)| (match_type, text.to_owned())).collect();
        self.opening.check_patterns(client, new.len(), &patterns)?;
        if new.is_empty() {
            return Ok(Vec::new());
        }
        let _turn = self.opening.compiling().await;
        // A hundred of them take tens of milliseconds. What is wrong with one is said when it is read.
        let compile =
            move || new.iter().filter_map(|(kind, text)| Matcher::parse(*kind, text, &patterns).ok()).collect();
        Ok(spawn_blocking(compile).await.unwrap_or_default())
    }

    fn new_patterns<'a>(&self, params: &'a Params) -> impl Iterator<Item = (MatchType, &'a str)> {
        let patterns = params.iter().filter_map(|(name, value)| {
            let match_type = match_type(name).ok().flatten().or_else(|| self.older_matcher(name))?;
            let value = value.ok()?;
            Matcher::is_new_pattern(match_type, value, self.hub.patterns()).then_some((match_type, value))
        });
        // Beyond that the request is refused when they are read.
        let mut left = MAX_PATTERNS_LENGTH;
        patterns.take(self.limits.max_matchers).map_while(move |(match_type, value)| {
            left = left.checked_sub(value.len())?;
            Some((match_type, value))
        })
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
            let most = self.limits.max_matchers;
            if matchers.len() > most {
                let detail = format!("There are more than {most} matchers. Use patterns, or several streams.");
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
