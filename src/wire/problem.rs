//! Errors on the wire.

use serde::{Deserialize, Serialize};

/// The media type of a [`Problem`].
pub const MEDIA_TYPE: &str = "application/problem+json";

/// A problem document (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The HTTP status code.
    pub status: u16,
    /// What is wrong in general: the same for every problem of this kind.
    pub title: String,
    /// What was wrong this time, and what to do.
    pub detail: String,
}
