//! A verified token, and why a token is refused.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use thiserror::Error;

use super::details::DetailError;
use crate::server::hub::{Holder, Rights};

/// What a token is to be used for. The keys of the two are kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// To publish.
    Publisher,
    /// To subscribe, and for all that is not publishing.
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
    /// Whom it was issued to, as its issuer names them; empty where it doesn't say.
    pub subject: Box<str>,
    /// What it is revoked by; empty where it has none, which can't be revoked.
    pub id: Box<str>,
    /// When its rights end; `None`, for ever, only in the older protocol.
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

/// Why a token is refused, in words for whoever holds it. It tells nothing of the token's text and of keys.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TokenError {
    /// It is longer than any token may be.
    #[error("it is longer than {limit} bytes")]
    TooLong {
        /// Bytes it may have.
        limit: usize,
    },
    /// It is no JWT in compact form (RFC 7515, section 7.1).
    #[error("it is no JWT: {0}")]
    Malformed(&'static str),
    /// Its type is not that of an access token (RFC 9068, section 2.1).
    #[error("it is no access token: the `typ` of its header must be at+jwt")]
    Type,
    /// It is a token of Mercure 0.x, which is not spoken here.
    #[error("it is a token of Mercure 0.x (its claim `mercure`), which the operator turns on with --legacy")]
    Legacy,
    /// Its header names an extension that must be understood (RFC 7515, section 4.1.11).
    #[error("its header demands an extension (`crit`) that is unknown here")]
    Critical,
    /// Its algorithm is none of those that are allowed.
    #[error("its algorithm (`alg`) must be one of {}", super::key::algorithm_names())]
    Algorithm,
    /// No key of its issuer is of the type that its algorithm needs.
    #[error("its issuer has no key that fits its algorithm (`alg`)")]
    NoKey,
    /// Its issuer has no keys for this use.
    #[error("its issuer's tokens are not accepted from a {0}")]
    Use(Role),
    /// Its issuer is not trusted.
    #[error("its issuer (`iss`) is not trusted: expected {expected}")]
    Issuer {
        /// The trusted issuers, some of them at least.
        expected: Box<str>,
    },
    /// No key of its issuer made its signature.
    #[error("its signature was not made with a key of its issuer")]
    Signature,
    /// A claim that every token must have is missing.
    #[error("it has no `{0}`")]
    Missing(&'static str),
    /// A claim is not what it must be.
    #[error("its `{claim}` must be {expected}")]
    Claim {
        /// Which claim.
        claim: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// Its time is over.
    #[error("it has expired at {}", date(.since))]
    Expired {
        /// Since when.
        since: DateTime<Utc>,
    },
    /// Its time has not come.
    #[error("it is not valid before {}", date(.until))]
    NotYet {
        /// Until when.
        until: DateTime<Utc>,
    },
    /// It is for somebody else.
    #[error("it is not for this hub: its `aud` must contain {expected}")]
    Audience {
        /// The hub's resource identifier.
        expected: Box<str>,
    },
    /// It has been revoked.
    #[error("it has been revoked")]
    Revoked,
    /// What it grants can't be read.
    #[error(transparent)]
    Details(#[from] DetailError),
    /// Its issuer's keys can't be fetched just now: it may be right.
    #[error("the keys of its issuer can't be fetched at the moment: try again later")]
    KeysUnavailable,
}

fn date(at: &DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
