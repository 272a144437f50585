//! A verified token, and why a token is refused.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use thiserror::Error;

use super::details::DetailError;
use crate::server::hub::{Holder, Rights};

/// What a token is used for. Each role has keys of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// To publish.
    Publisher,
    /// To subscribe, and for everything else that isn't publishing.
    Subscriber,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Publisher => "publisher",
            Self::Subscriber => "subscriber",
        })
    }
}

/// A token that has been verified.
#[derive(Clone, Debug)]
pub struct Token {
    /// Who issued it: one of the trusted issuers.
    pub issuer: Box<str>,
    /// The subject (`sub`); empty if it names none.
    pub subject: Box<str>,
    /// The id (`jti`) by which it is revoked; empty if it has none, and then it can't be revoked.
    pub id: Box<str>,
    /// When it expires, by the wall clock; `None`, never, only in the legacy protocol.
    pub expires: Option<DateTime<Utc>>,
    /// What it grants.
    pub rights: Arc<Rights>,
}

impl Holder for Token {
    fn issuer(&self) -> &str {
        &self.issuer
    }

    fn subject(&self) -> &str {
        &self.subject
    }

    fn token_id(&self) -> &str {
        &self.id
    }
}

/// Why a token is refused. The text is for its holder: it repeats nothing of the token, and tells nothing of keys.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TokenError {
    /// It is longer than any token may be.
    #[error("it is longer than {limit} bytes")]
    TooLong {
        /// The maximum, in bytes.
        limit: usize,
    },
    /// It is not a JWT in compact serialization (RFC 7515, section 7.1).
    #[error("it is not a JWT: {0}")]
    Malformed(&'static str),
    /// Its type is not that of an access token (RFC 9068, section 2.1).
    #[error("it is not an access token: the `typ` of its header must be at+jwt")]
    Type,
    /// It is a legacy token, which this hub doesn't accept.
    #[error("it is a token of Mercure 0.x (it has the claim `mercure`), which the operator can allow with --legacy")]
    Legacy,
    /// Its header names an extension that must be understood (RFC 7515, section 4.1.11).
    #[error("its header requires an extension (`crit`) that isn't supported")]
    Critical,
    /// Its algorithm is not allowed.
    #[error("its algorithm (`alg`) must be one of {}", super::key::algorithm_names())]
    Algorithm,
    /// No key of its issuer is of the type that its algorithm needs.
    #[error("its issuer has no key that fits its algorithm (`alg`)")]
    NoKey,
    /// Its issuer has no keys for this role.
    #[error("its issuer's tokens are not accepted from a {0}")]
    Use(Role),
    /// Its issuer is not trusted.
    #[error("its issuer (`iss`) is not trusted: expected {expected}")]
    Issuer {
        /// Some of the trusted issuers.
        expected: Box<str>,
    },
    /// No key of its issuer made its signature.
    #[error("its signature was not made with a key of its issuer")]
    Signature,
    /// A claim that every token must have is missing.
    #[error("it has no `{0}`")]
    Missing(&'static str),
    /// A claim has the wrong type.
    #[error("its `{claim}` must be {expected}")]
    Claim {
        /// The claim's name.
        claim: &'static str,
        /// What it must be instead.
        expected: &'static str,
    },
    /// It has expired.
    #[error("it expired at {}", date(.since))]
    Expired {
        /// When it expired.
        since: DateTime<Utc>,
    },
    /// It isn't valid yet.
    #[error("it is not valid before {}", date(.until))]
    NotYet {
        /// When it becomes valid.
        until: DateTime<Utc>,
    },
    /// It is for another audience.
    #[error("it is not for this hub: its `aud` must contain {expected}")]
    Audience {
        /// The hub's resource identifier.
        expected: Box<str>,
    },
    /// It has been revoked.
    #[error("it has been revoked")]
    Revoked,
    /// Its rights are invalid.
    #[error(transparent)]
    Details(#[from] DetailError),
    /// Its issuer's keys can't be fetched at the moment. The token may be valid.
    #[error("the keys of its issuer can't be fetched at the moment: try again later")]
    KeysUnavailable,
}

fn date(at: &DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
