//! What a token grants: the claim `authorization_details` (RFC 9396; Mercure, "Authorization Details").

use thiserror::Error;

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
