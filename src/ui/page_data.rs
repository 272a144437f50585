//! What the server gives a page: the data in its first render, and the addresses of its files.

use serde::{Deserialize, Serialize};

use crate::wire::message::{DEFAULT_MAX_BYTES, Message};
use crate::wire::problem::Problem;

/// The data of the page, the same on both sides: the server renders from it and writes it into the
/// document, and the browser hydrates from what stands there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageData {
    /// The recent messages, newest first.
    pub messages: Vec<Message>,
    /// A form post that was refused: it comes back with its text.
    pub draft: Option<Refused>,
    /// Scheme, host and port that the visitor reaches this server at, for the `curl` lines.
    pub origin: String,
    /// How long a message may be, in UTF-8 bytes.
    pub max_bytes: usize,
    /// How many arrivals a burst has.
    pub repeat: u32,
    /// The server's version.
    pub version: String,
}

/// A text that the server would not publish, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The text as it was sent.
    pub text: String,
    /// What was wrong with it.
    pub problem: Problem,
}

impl Default for PageData {
    fn default() -> Self {
        Self {
            messages: Vec::new(),
            draft: None,
            origin: "http://127.0.0.1:3000".to_owned(),
            max_bytes: DEFAULT_MAX_BYTES,
            repeat: 3,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// The addresses of the page's files, with their hashes: `/pkg/tidings.<hash>.js`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assets {
    /// The module that loads the WASM and hydrates.
    pub script: String,
    /// The WASM.
    pub wasm: String,
    /// The style sheet.
    pub style: String,
}
