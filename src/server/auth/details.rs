//! What a token grants: the claim `authorization_details` (RFC 9396; Mercure, "Authorization Details").
//!
//! One invalid detail of our type makes the whole token invalid: what its issuer meant is not guessed.

use serde_json::{Map, Value};
use thiserror::Error;

use crate::server::hub::{Grant, MatchType, Matcher, Patterns, Rights};

/// The type of Mercure's details. Details of other types are ignored.
pub const DETAIL_TYPE: &str = "https://mercure.rocks/authorization-detail";

/// The name of the claim.
pub(super) const CLAIM: &str = "authorization_details";

/// Maximum number of details in one token, of any type.
const MAX_DETAILS: usize = 100;
/// Maximum number of topics in all details of our type.
const MAX_TOPICS: usize = 100;
/// Maximum length of one topic's text, in bytes.
pub(super) const MAX_PATTERN: usize = 4096;

/// Why a token's rights are invalid. Details and topics are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DetailError {
    /// The claim is not an array of objects with a type.
    #[error("its `authorization_details` must be an array of objects, each with a `type`")]
    Shape,
    /// There are too many details.
    #[error("it has more than {limit} authorization details")]
    TooMany {
        /// The maximum.
        limit: usize,
    },
    /// All details together name too many topics.
    #[error("its authorization details name more than {limit} topics")]
    TooManyTopics {
        /// The maximum.
        limit: usize,
    },
    /// One detail is invalid.
    #[error("its authorization detail {number}: {reason}")]
    Detail {
        /// Its place in the array, from 1.
        number: usize,
        /// Why it is invalid.
        reason: Box<str>,
    },
    /// The claim of the legacy protocol is invalid.
    #[error("its claim `mercure`: {0}")]
    Legacy(Box<str>),
}

/// The rights that the claim grants: none if there is no claim.
pub(super) fn rights(claims: &Map<String, Value>, patterns: &Patterns) -> Result<Rights, DetailError> {
    match claims.get(CLAIM) {
        None => Ok(Rights::default()),
        Some(Value::Array(details)) => read(details, patterns),
        Some(_) => Err(DetailError::Shape),
    }
}

/// The rights that these details grant.
pub(super) fn read(details: &[Value], patterns: &Patterns) -> Result<Rights, DetailError> {
    if details.len() > MAX_DETAILS {
        return Err(DetailError::TooMany { limit: MAX_DETAILS });
    }
    let mut ours = Vec::new();
    for (detail, number) in details.iter().zip(1..) {
        let detail = detail.as_object().ok_or(DetailError::Shape)?;
        match detail.get("type") {
            Some(Value::String(kind)) if kind == DETAIL_TYPE => ours.push((number, detail)),
            Some(Value::String(_)) => {}
            _ => return Err(DetailError::Shape),
        }
    }
    let topics = |detail: &Map<String, Value>| detail.get("topics").and_then(Value::as_array).map_or(0, Vec::len);
    if ours.iter().map(|(_, detail)| topics(detail)).sum::<usize>() > MAX_TOPICS {
        return Err(DetailError::TooManyTopics { limit: MAX_TOPICS });
    }
    let read = |(number, detail)| {
        grant(detail, patterns).map_err(|reason| DetailError::Detail { number, reason: reason.into() })
    };
    ours.into_iter().map(read).collect::<Result<_, _>>().map(Rights::new)
}

fn grant(detail: &Map<String, Value>, patterns: &Patterns) -> Result<Grant, String> {
    let not_empty = |name| detail.get(name).and_then(Value::as_array).filter(|array| !array.is_empty());
    let actions = not_empty("actions").ok_or("`actions` must be an array that isn't empty")?;
    let actions: Option<Vec<_>> = actions.iter().map(Value::as_str).collect();
    let actions = actions.ok_or("each of `actions` must be text")?;
    let topics = not_empty("topics").ok_or("`topics` must be an array that isn't empty")?;
    let read = |(topic, number)| topic_of(topic, patterns).map_err(|reason| format!("topic {number}: {reason}"));
    let payload = match detail.get("payload") {
        None => None,
        Some(Value::Object(payload)) => Some(payload.clone()),
        Some(_) => return Err("`payload` must be an object".into()),
    };
    Ok(Grant {
        publish: actions.contains(&"publish"),
        subscribe: actions.contains(&"subscribe"),
        revoke: actions.contains(&"revoke"),
        topics: topics.iter().zip(1..).map(read).collect::<Result<_, _>>()?,
        payload,
    })
}

fn topic_of(topic: &Value, patterns: &Patterns) -> Result<Matcher, String> {
    let topic = topic.as_object().ok_or("it must be an object with `match`")?;
    let text = topic.get("match").and_then(Value::as_str).ok_or("its `match` must be text")?;
    let match_type = match topic.get("match_type") {
        None => MatchType::Exact,
        Some(name) => name.as_str().and_then(MatchType::named).ok_or_else(|| {
            let names = MatchType::ALL.map(MatchType::name);
            format!("its `match_type` must be one of {}", names.join(", "))
        })?,
    };
    matcher(match_type, text, patterns)
}

/// Parses one matcher of a token.
pub(super) fn matcher(match_type: MatchType, text: &str, patterns: &Patterns) -> Result<Matcher, String> {
    if text.len() > MAX_PATTERN {
        return Err(format!("it is longer than {MAX_PATTERN} bytes"));
    }
    Matcher::parse(match_type, text, patterns).map_err(|error| error.to_string())
}
