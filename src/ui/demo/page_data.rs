//! What the server gives the page: the data of its first render.

use serde::{Deserialize, Serialize};

use crate::wire::message::{DEFAULT_MAX_BYTES, Message};
use crate::wire::problem::Problem;

/// The data of the page. The server renders from it and writes it into the document, and the browser hydrates from
/// that copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageData {
    /// The recent messages, newest first.
    pub messages: Vec<Message>,
    /// Whether the server has older messages than these.
    pub has_older: bool,
    /// A refused form post, which comes back with its text.
    pub draft: Option<Refused>,
    /// Scheme, host and port by which the visitor reaches this server, for the `curl` lines.
    pub origin: String,
    /// The maximum length of a message, in UTF-8 bytes.
    pub max_bytes: usize,
    /// The number of arrivals of a burst.
    pub repeat: u32,
    /// The server's version.
    pub version: String,
}

/// A text that the server would not publish, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The text as it was submitted.
    pub text: String,
    /// What was wrong with it.
    pub problem: Problem,
}

impl Default for PageData {
    fn default() -> Self {
        Self {
            messages: Vec::new(),
            has_older: false,
            draft: None,
            origin: "http://127.0.0.1:3000".to_owned(),
            max_bytes: DEFAULT_MAX_BYTES,
            repeat: 3,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}
