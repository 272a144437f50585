//! What a token grants: the claim `authorization_details` (RFC 9396; Mercure, "Authorization Details").

use serde_json::{Map, Value};
use thiserror::Error;

use crate::server::hub::{EVERYTHING, Grant, MatchType, Matcher, Patterns, Rights};

/// The type of the details that grant rights here. It is compared byte by byte.
pub const DETAIL_TYPE: &str = "https://mercure.rocks/authorization-detail";

/// Details of one token, of any type.
const MAX_DETAILS: usize = 100;
/// Topics of one token, summed over its details.
const MAX_TOPICS: usize = 100;
/// Longest topic, in bytes.
const MAX_LENGTH: usize = 4096;
/// Entries of the older protocol's lists, summed.
const MAX_LEGACY: usize = 1000;

/// Why what a token grants can't be read. Details and topics are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DetailError {
    /// The claim is no array of objects with a type.
    #[error("its `authorization_details` must be an array of objects, each with a `type`")]
    Shape,
    /// There are too many details.
    #[error("it has more than {limit} authorization details")]
    TooMany {
        /// How many there may be.
        limit: usize,
    },
    /// The details name too many topics, all together.
    #[error("its authorization details name more than {limit} topics")]
    TooManyTopics {
        /// How many there may be.
        limit: usize,
    },
    /// One detail is not what it must be.
    #[error("its authorization detail {number}: {reason}")]
    Detail {
        /// Which one.
        number: usize,
        /// What is wrong.
        reason: Box<str>,
    },
    /// The older protocol's claim is not what it must be.
    #[error("its claim `mercure`: {0}")]
    Legacy(Box<str>),
}

/// What the claim grants; nothing where there is none. One bad detail spoils the token.
pub(super) fn rights(claim: Option<&Value>, patterns: &Patterns) -> Result<Rights, DetailError> {
    let details = match claim {
        None => return Ok(Rights::default()),
        Some(claim) => claim.as_array().ok_or(DetailError::Shape)?,
    };
    if details.len() > MAX_DETAILS {
        return Err(DetailError::TooMany { limit: MAX_DETAILS });
    }
    let (mut grants, mut topics) = (Vec::new(), 0);
    for (n, detail) in details.iter().enumerate() {
        let detail = detail.as_object().ok_or(DetailError::Shape)?;
        let kind = detail.get("type").and_then(Value::as_str).ok_or(DetailError::Shape)?;
        if kind != DETAIL_TYPE {
            continue;
        }
        // Counted before they are compiled: that is what the limit is for.
        topics += detail.get("topics").and_then(Value::as_array).map_or(0, Vec::len);
        if topics > MAX_TOPICS {
            return Err(DetailError::TooManyTopics { limit: MAX_TOPICS });
        }
        grants.push(
            grant(detail, patterns).map_err(|reason| DetailError::Detail { number: n + 1, reason: reason.into() })?,
        );
    }
    Ok(Rights::new(grants))
}

fn grant(detail: &Map<String, Value>, patterns: &Patterns) -> Result<Grant, String> {
    let actions = entries(detail, "actions")?;
    let actions: Vec<_> =
        actions.iter().map(Value::as_str).collect::<Option<_>>().ok_or("its `actions` must be strings")?;
    let topic = |(n, topic): (usize, &Value)| {
        matcher(topic, patterns).map_err(|reason| format!("its topic {}: {reason}", n + 1))
    };
    let topics = entries(detail, "topics")?.iter().enumerate().map(topic).collect::<Result<_, _>>()?;
    let payload = match detail.get("payload") {
        None => None,
        Some(payload) => Some(payload.as_object().ok_or("its `payload` must be an object")?.clone()),
    };
    let has = |action| actions.contains(&action);
    Ok(Grant { publish: has("publish"), subscribe: has("subscribe"), revoke: has("revoke"), topics, payload })
}

fn entries<'a>(detail: &'a Map<String, Value>, name: &str) -> Result<&'a [Value], String> {
    match detail.get(name).and_then(Value::as_array) {
        Some(entries) if !entries.is_empty() => Ok(entries),
        _ => Err(format!("its `{name}` must be an array that is not empty")),
    }
}

fn matcher(topic: &Value, patterns: &Patterns) -> Result<Matcher, String> {
    let topic = topic.as_object().ok_or("it must be an object with `match`")?;
    let text = topic.get("match").and_then(Value::as_str).ok_or("its `match` must be a string")?;
    let match_type = match topic.get("match_type") {
        None => MatchType::Exact,
        Some(name) => {
            name.as_str().and_then(MatchType::named).ok_or("its `match_type` must be `exact` or `urlpattern`")?
        }
    };
    read(match_type, text, patterns)
}

fn read(match_type: MatchType, text: &str, patterns: &Patterns) -> Result<Matcher, String> {
    if text.len() > MAX_LENGTH {
        return Err(format!("it has more than {MAX_LENGTH} bytes"));
    }
    Matcher::parse(match_type, text, patterns).map_err(|error| error.to_string())
}

/// What the older protocol's claim `mercure` grants: lists of topics and URI templates.
pub(super) fn legacy(claim: &Value, patterns: &Patterns) -> Result<Rights, DetailError> {
    let refuse = |reason: &str| DetailError::Legacy(reason.into());
    let claim = claim.as_object().ok_or(refuse("it must be an object"))?;
    let payload = match claim.get("payload") {
        None | Some(Value::Null) => None,
        // The newer protocol knows only objects.
        Some(Value::Object(payload)) => Some(payload.clone()),
        Some(other) => Some(Map::from_iter([("value".to_owned(), other.clone())])),
    };
    let mut grants = Vec::new();
    for action in ["publish", "subscribe"] {
        let entries = match claim.get(action) {
            None | Some(Value::Null) => continue,
            Some(entries) => entries.as_array().ok_or(refuse("`publish` and `subscribe` must be arrays of strings"))?,
        };
        if entries.len() > MAX_LEGACY {
            return Err(refuse("it has more than 1000 entries"));
        }
        let matcher = |entry: &Value| {
            let text = entry.as_str().ok_or(refuse("`publish` and `subscribe` must be arrays of strings"))?;
            legacy_matcher(text, patterns).map_err(|reason| refuse(&reason))
        };
        let topics = entries.iter().map(matcher).collect::<Result<_, _>>()?;
        let (publish, subscribe) = (action == "publish", action == "subscribe");
        grants.push(Grant {
            publish,
            subscribe,
            revoke: false,
            topics,
            payload: payload.clone().filter(|_| subscribe),
        });
    }
    Ok(Rights::new(grants))
}

fn legacy_matcher(text: &str, patterns: &Patterns) -> Result<Matcher, String> {
    let is_template = text != EVERYTHING && text.contains('{');
    read(if is_template { MatchType::UriTemplate } else { MatchType::Exact }, text, patterns)
}
