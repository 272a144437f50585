//! What a token of the legacy protocol grants: the claim `mercure` (draft-dunglas-mercure-07, section 6).

use serde_json::{Map, Value};

use super::details::{self, DetailError};
use crate::server::hub::{Grant, MatchType, Matcher, Patterns, Rights};

/// The name of the claim.
pub(super) const CLAIM: &str = "mercure";

/// Maximum number of topics to publish, and to subscribe to.
const MAX_TOPICS: usize = 1000;

/// Whether these are the claims of a legacy token.
pub(super) fn is_legacy(claims: &Map<String, Value>) -> bool {
    claims.get(CLAIM).is_some_and(Value::is_object)
}

/// The rights that the claim grants. A payload that isn't an object becomes the `value` of one.
pub(super) fn rights(claims: &Map<String, Value>, patterns: &Patterns) -> Result<Rights, DetailError> {
    let Some(Value::Object(claim)) = claims.get(CLAIM) else { return Ok(Rights::default()) };
    let read = |name| matchers(claim, name, patterns).map_err(|reason| DetailError::Legacy(reason.into()));
    let nothing = Grant { publish: false, subscribe: false, revoke: false, topics: Vec::new(), payload: None };
    let publish = Grant { publish: true, topics: read("publish")?, ..nothing.clone() };
    let payload = match claim.get("payload") {
        None | Some(Value::Null) => None,
        Some(Value::Object(payload)) => Some(payload.clone()),
        // Payloads of the current protocol are objects.
        Some(other) => Some(Map::from_iter([("value".to_owned(), other.clone())])),
    };
    let subscribe = Grant { subscribe: true, topics: read("subscribe")?, payload, ..nothing };
    Ok(Rights::new([publish, subscribe].into_iter().filter(|grant| !grant.topics.is_empty()).collect()))
}

/// The matchers of one list: topics, URI templates, and `*` for all topics.
fn matchers(claim: &Map<String, Value>, name: &str, patterns: &Patterns) -> Result<Vec<Matcher>, String> {
    let texts = match claim.get(name) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(texts)) => texts,
        Some(_) => return Err(format!("`{name}` must be an array")),
    };
    if texts.len() > MAX_TOPICS {
        return Err(format!("`{name}` names more than {MAX_TOPICS} topics"));
    }
    let read = |(text, number): (&Value, usize)| {
        let text = text.as_str().ok_or(format!("`{name}`: topic {number} must be text"))?;
        let match_type = if text.contains('{') { MatchType::UriTemplate } else { MatchType::Exact };
        details::matcher(match_type, text, patterns).map_err(|reason| format!("`{name}`: topic {number}: {reason}"))
    };
    texts.iter().zip(1..).map(read).collect()
}
