//! The content of a message in the stream: JSON, so that an operator can read it.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::server::log::{Field, Topic, Update};

/// The format that this version writes, and the newest that it reads.
const FORMAT: u32 = 1;

/// Updates that were appended together, and control messages.
#[derive(Serialize, Deserialize)]
struct Message<'a> {
    format: u32,
    /// The name of the node that published the message.
    #[serde(borrow)]
    node: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    updates: Vec<UpdateText<'a>>,
    /// Control messages.
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    notes: Vec<Cow<'a, str>>,
}

/// The content of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct MessageContent {
    pub(super) updates: Vec<SubmittedUpdate>,
    /// Control messages, which become no entries.
    pub(super) notes: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct UpdateText<'a> {
    #[serde(borrow)]
    topics: Vec<Cow<'a, str>>,
    #[serde(borrow)]
    data: Cow<'a, str>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "type", skip_serializing_if = "Option::is_none")]
    event: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<u64>,
    #[serde(default, skip_serializing_if = "is_false")]
    private: bool,
    /// In milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<u64>,
    /// When the update was taken, for one that is imported.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<DateTime<Utc>>,
    /// Whether the update is an event of the hub itself.
    #[serde(default, skip_serializing_if = "is_false")]
    system: bool,
}

/// An update as it was submitted to the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SubmittedUpdate {
    pub(super) update: Update,
    /// When it was taken, for one that is imported.
    pub(super) at: Option<DateTime<Utc>>,
    /// Whether it is an event of the hub itself.
    pub(super) is_system: bool,
}

/// Why a message can't be decoded.
#[derive(Debug, Error)]
pub(super) enum MessageError {
    /// A newer version wrote it.
    #[error("its format is {0}, but this version reads formats up to {FORMAT}")]
    Newer(u32),
    /// Not a message of tidings.
    #[error("{0}")]
    Foreign(String),
}

impl<'a> From<&'a SubmittedUpdate> for UpdateText<'a> {
    fn from(SubmittedUpdate { update, at, is_system }: &'a SubmittedUpdate) -> Self {
        Self {
            topics: update.topics.iter().map(|topic| topic.as_str().into()).collect(),
            data: update.data.as_str().into(),
            id: update.id.as_ref().map(|id| id.as_str().into()),
            event: update.event.as_ref().map(|event| event.as_str().into()),
            retry: update.retry,
            private: update.private,
            ttl: update.ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)),
            at: *at,
            system: *is_system,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// Encodes a message.
pub(super) fn encode(node: &str, MessageContent { updates, notes }: &MessageContent) -> Bytes {
    let updates = updates.iter().map(UpdateText::from).collect();
    let notes = notes.iter().map(|note| note.as_str().into()).collect();
    let message = Message { format: FORMAT, node: node.into(), updates, notes };
    serde_json::to_vec(&message).unwrap_or_default().into()
}

/// Decodes a message of this format or an older one.
pub(super) fn decode(payload: &[u8]) -> Result<MessageContent, MessageError> {
    #[derive(Deserialize)]
    struct Head {
        format: u32,
    }
    let foreign = |error: serde_json::Error| MessageError::Foreign(error.to_string());
    // A newer format may have only its number in common with this one.
    let message: Message<'_> = match serde_json::from_slice(payload) {
        Ok(Message { format, .. }) if format > FORMAT => return Err(MessageError::Newer(format)),
        Ok(message) => message,
        Err(error) => match serde_json::from_slice(payload) {
            Ok(Head { format }) if format > FORMAT => return Err(MessageError::Newer(format)),
            _ => return Err(foreign(error)),
        },
    };
    let updates = message.updates.into_iter().map(submitted).collect::<Result<_, _>>()?;
    Ok(MessageContent { updates, notes: message.notes.into_iter().map(Cow::into_owned).collect() })
}

fn submitted(text: UpdateText<'_>) -> Result<SubmittedUpdate, MessageError> {
    let field = |text: Option<Cow<'_, str>>| text.map(|text| Field::parse(&text)).transpose();
    let update = || {
        Ok(Update {
            topics: text.topics.iter().map(|topic| Topic::parse(topic)).collect::<Result<_, _>>()?,
            data: text.data.into_owned(),
            id: field(text.id)?,
            event: field(text.event)?,
            retry: text.retry,
            private: text.private,
            ttl: text.ttl.map(Duration::from_millis),
        })
    };
    let update = update().map_err(|error: crate::server::log::FieldError| MessageError::Foreign(error.to_string()))?;
    if update.topics.is_empty() {
        return Err(MessageError::Foreign("an update without a topic".into()));
    }
    Ok(SubmittedUpdate { update, at: text.at, is_system: text.system })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fields() -> impl Strategy<Value = Option<Field>> {
        proptest::option::of("[^\\p{Cc}\\p{Cf}]{1,9}").prop_map(|text| text.and_then(|text| Field::parse(&text).ok()))
    }

    fn submissions() -> impl Strategy<Value = SubmittedUpdate> {
        let topics = proptest::collection::vec("[^\\p{Cc}\\p{Cf}]{1,9}", 1..4);
        let rest = (proptest::option::of(0..u64::MAX), any::<bool>(), proptest::option::of(0..u64::MAX), any::<bool>());
        let at = proptest::option::of(0..4_000_000_000_000i64);
        (topics, ".*", fields(), fields(), rest, at).prop_filter_map(
            "topics",
            |(topics, data, id, event, (retry, private, ttl, is_system), at)| {
                let topics = topics.iter().map(|topic| Topic::parse(topic).ok()).collect::<Option<_>>()?;
                let ttl = ttl.map(Duration::from_millis);
                let update = Update { topics, data, id, event, retry, private, ttl };
                Some(SubmittedUpdate { update, at: at.and_then(DateTime::from_timestamp_millis), is_system })
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(updates in proptest::collection::vec(submissions(), 0..4), notes: Vec<String>) {
            let content = MessageContent { updates, notes };
            prop_assert_eq!(decode(&encode("a node", &content)).expect("a message"), content);
        }

        #[test]
        fn whatever_else_is_there_is_refused(bytes: Vec<u8>) {
            prop_assert!(matches!(decode(&bytes), Err(MessageError::Foreign(_))));
        }
    }

    #[test]
    fn a_newer_format_is_told_from_what_is_not_ours() {
        for newer in [r#"{"format":2,"node":"n","updates":[]}"#, r#"{"format":7,"all":"different"}"#] {
            assert!(matches!(decode(newer.as_bytes()), Err(MessageError::Newer(_))), "{newer}");
        }
        for foreign in [
            r#"{"format":1}"#,
            r#"{"node":"n"}"#,
            "{}",
            r#"{"format":1,"node":"n","updates":[{"topics":[],"data":""}]}"#,
        ] {
            assert!(matches!(decode(foreign.as_bytes()), Err(MessageError::Foreign(_))), "{foreign}");
        }
    }

    #[test]
    fn fields_that_a_later_version_adds_are_ignored() {
        let text = r#"{"format":1,"node":"n","more":1,"updates":[{"topics":["a"],"data":"x","more":[]}]}"#;
        assert_eq!(decode(text.as_bytes()).expect("a message").updates.len(), 1);
    }
}
