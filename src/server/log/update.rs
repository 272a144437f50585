//! What is published: the update and the rules of its fields.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

/// What is published to the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// What it is addressed to: at least one; the first is canonical, the rest are alternates.
    pub topics: Vec<Topic>,
    /// Any text.
    pub data: String,
    /// Becomes the event's id and the subscriber's `Last-Event-ID`; where there is none the log makes one.
    pub id: Option<Field>,
    /// The event's name; `None` is `message`.
    pub event: Option<Field>,
    /// The reconnection time to tell subscribers, in milliseconds.
    pub retry: Option<u64>,
    /// Whether only authorized subscribers may have it.
    pub private: bool,
    /// How long it is worth having; `None` is as long as the log keeps it.
    pub ttl: Option<Duration>,
}

/// A string that addresses updates, often a URL. It has no control and no format characters.
///
/// Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(Arc<str>);

/// A value of an SSE field that stands on one line: an id or an event name. Not empty, no control and
/// no format characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Field(Box<str>);

/// Why a string can't be a topic or a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FieldError {
    /// It has no character.
    #[error("it is empty")]
    Empty,
    /// It holds a control or format character: a line end would inject fields into the stream.
    #[error("it holds the control character U+{:04X}", *.0 as u32)]
    Control(char),
}

impl Topic {
    /// Parses a topic.
    pub fn parse(topic: &str) -> Result<Self, FieldError> {
        check(topic)?;
        Ok(Self(topic.into()))
    }

    /// The topic's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where its text is in memory: its clones share it. No other topic, not even an equal one, has its text there while
    /// one of them lives. An update keeps its topics from its publish up to the log's tail.
    pub fn address(&self) -> usize {
        self.0.as_ptr().addr()
    }
}

impl AsRef<str> for Topic {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Topic {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Field {
    /// Parses a field's value.
    pub fn parse(value: &str) -> Result<Self, FieldError> {
        check(value)?;
        Ok(Self(value.into()))
    }

    /// The value's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Field> for Box<str> {
    fn from(field: Field) -> Self {
        field.0
    }
}

fn check(value: &str) -> Result<(), FieldError> {
    if value.is_empty() {
        return Err(FieldError::Empty);
    }
    // Most are ASCII, and long: presence makes a topic for each stream.
    if value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Ok(());
    }
    match value.chars().find(|&c| c.is_control() || is_format(c)) {
        Some(c) => Err(FieldError::Control(c)),
        None => Ok(()),
    }
}

/// Unicode's general category Cf (format), as of Unicode 16.
fn is_format(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}'
        | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}'
        | '\u{2066}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}'
        | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0001}'
        | '\u{e0020}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_may_hold_any_visible_text() {
        for topic in ["messages", "https://example.com/books/1?a=b#c", "日本 語", " "] {
            assert_eq!(Topic::parse(topic).map(|t| t.to_string()), Ok(topic.into()));
        }
    }

    #[test]
    fn line_ends_controls_and_format_characters_are_refused() {
        for c in ['\n', '\r', '\0', '\u{7f}', '\u{85}', '\u{200d}', '\u{feff}', '\u{e0041}'] {
            assert_eq!(Field::parse(&format!("a{c}b")), Err(FieldError::Control(c)));
        }
        assert_eq!(Field::parse(""), Err(FieldError::Empty));
    }
}
