//! A message: what a visitor or a script submits to the demo.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The topic of the hub that all messages are published on.
pub const TOPIC: &str = "messages";

/// The default of the longest message, in bytes of UTF-8.
pub const DEFAULT_MAX_BYTES: usize = 4 * 1024;

/// A published message, as the REST API and the live feed return it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// A UUID that the server generates.
    pub id: String,
    /// The text, exactly as it was submitted.
    pub message: String,
    /// When the server published it.
    #[serde(deserialize_with = "super::utc::deserialize")]
    pub published_at: DateTime<Utc>,
    /// The address of this message's own burst, relative to the server.
    pub stream: String,
}

/// A page of messages, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageList {
    /// The messages of this page.
    pub messages: Vec<Message>,
    /// The address of the next older page; `None` on the last one.
    pub next: Option<String>,
}

/// What a client submits: the body of `POST /api/messages`, as JSON or as form fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    /// The text to publish.
    pub message: String,
}

/// A text that may be published: it has a visible character, no NUL, and at most the allowed bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageText(String);

/// Why a text can't be published. Its `Display` is written for the person who typed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageTextError {
    /// Empty, or nothing but white space.
    Empty,
    /// Longer than `max` bytes of UTF-8.
    TooLong {
        /// Its length in bytes.
        bytes: usize,
        /// The longest that is allowed, in bytes.
        max: usize,
    },
    /// U+0000, which databases and C strings down the line can't carry.
    Nul,
}

impl MessageText {
    /// Parses a text of at most `max` bytes of UTF-8. The text is kept exactly as it is.
    pub fn parse(text: String, max: usize) -> Result<Self, MessageTextError> {
        if text.trim().is_empty() {
            return Err(MessageTextError::Empty);
        }
        if text.len() > max {
            return Err(MessageTextError::TooLong { bytes: text.len(), max });
        }
        if text.contains('\0') {
            return Err(MessageTextError::Nul);
        }
        Ok(Self(text))
    }

    /// The text itself.
    pub fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Display for MessageTextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "The message is empty. Write something to send."),
            Self::TooLong { bytes, max } => {
                write!(f, "The message has {bytes} bytes, {} more than the {max} it may have. Shorten it.", bytes - max)
            }
            Self::Nul => write!(f, "The message contains a NUL character (U+0000). Remove it."),
        }
    }
}

impl std::error::Error for MessageTextError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_kept_to_the_letter() {
        let text = "  \u{feff}data: a\r\nb\u{7}  ";
        assert_eq!(MessageText::parse(text.into(), 64).map(MessageText::into_string), Ok(text.into()));
    }

    #[test]
    fn white_space_alone_is_empty() {
        assert_eq!(MessageText::parse(" \t\r\n\u{a0}".into(), 64), Err(MessageTextError::Empty));
    }

    #[test]
    fn length_is_counted_in_bytes_of_utf_8() {
        assert!(MessageText::parse("é".repeat(32), 64).is_ok());
        assert_eq!(MessageText::parse("é".repeat(33), 64), Err(MessageTextError::TooLong { bytes: 66, max: 64 }));
    }

    #[test]
    fn nul_is_refused() {
        assert_eq!(MessageText::parse("a\0b".into(), 64), Err(MessageTextError::Nul));
    }
}
