//! The checks that a token must pass, in their order (Mercure, "Token Validation"; RFC 9068, section 4).
//!
//! What costs little comes first, and what a token grants is read last: patterns are compiled only for those who have
//! a key.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::Algorithm;

use super::compact::Compact;
use super::issuer::Issuer;
use super::key;
use super::key_set::Signed;
use super::{Auth, Role, Token, TokenError, details, legacy};
use crate::server::hub::Rights;

/// How far an issuer's clock may be ahead of ours: for `nbf` alone, since who issues a token often means "from now
/// on" with it. What has expired has expired.
const NOT_BEFORE_LEEWAY: TimeDelta = TimeDelta::seconds(5);

/// Maximum number of issuers that an error names.
const MAX_NAMED_ISSUERS: usize = 3;

/// What the type of an access token is written like, in whatever case.
const TYPES: [&str; 2] = ["at+jwt", "application/at+jwt"];

/// What is wrong with a token: the first thing, where that is enough, or all of it.
pub(super) enum Findings {
    First,
    All(Vec<TokenError>),
}

impl Findings {
    /// Takes the outcome of a check: if it failed, that ends the checks, or is written down.
    fn take<T>(&mut self, outcome: Result<T, TokenError>) -> Result<Option<T>, TokenError> {
        match (outcome, self) {
            (Ok(value), _) => Ok(Some(value)),
            (Err(error), Self::First) => Err(error),
            (Err(error), Self::All(found)) => {
                if !found.contains(&error) {
                    found.push(error);
                }
                Ok(None)
            }
        }
    }
}

/// A token that has passed, and what it was verified with.
pub(super) struct Checked {
    pub(super) token: Token,
    /// The place of its issuer among the trusted ones.
    pub(super) issuer: usize,
    /// The number of the keys.
    pub(super) keys: u64,
}

/// Which rules apply.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Protocol {
    #[default]
    Current,
    Legacy,
}

impl Auth {
    /// Checks a token as of a time. With [`Findings::All`] it answers `None` instead of an error.
    pub(super) async fn check(
        &self,
        compact: &Compact<'_>,
        role: Role,
        now: DateTime<Utc>,
        findings: &mut Findings,
    ) -> Result<Option<Checked>, TokenError> {
        let protocol = findings.take(self.protocol(compact))?.unwrap_or_default();
        let algorithm = findings.take(algorithm(compact))?;
        let key_id = findings.take(compact.header("kid"))?;
        let issuer = findings.take(self.issuer(compact, protocol))?;
        let expires = findings.take(expires(compact, protocol, now))?;
        findings.take(not_before(compact, now))?;
        findings.take(self.audience(compact, protocol))?;
        findings.take(compact.date("iat"))?;
        findings.take(compact.text("client_id"))?;
        let subject = findings.take(compact.text("sub"))?;
        let id = findings.take(compact.text("jti"))?.map(|id| id.unwrap_or_default());
        let mut keys = None;
        if let (Some(algorithm), Some(key_id), Some((_, issuer))) = (algorithm, key_id, issuer) {
            let signed = Signed { algorithm, key_id, message: compact.message, signature: compact.signature };
            keys = findings.take(issuer.verify(role, &signed).await)?;
        }
        if let (Some((_, issuer)), Some(id)) = (issuer, id) {
            findings.take(self.not_revoked(&issuer.name, id, now))?;
        }
        let rights = findings.take(self.rights(compact, protocol))?;
        let (Some((place, issuer)), Some(expires), Some(subject), Some(id), Some(keys), Some(rights)) =
            (issuer, expires, subject, id, keys, rights)
        else {
            return Ok(None);
        };
        let token = Token {
            issuer: issuer.name.clone(),
            subject: subject.unwrap_or_default().into(),
            id: id.into(),
            expires,
            rights: Arc::new(rights),
        };
        Ok(Some(Checked { token, issuer: place, keys }))
    }

    /// Which rules apply to a token; where that can't be told, it will not be accepted.
    pub(super) fn protocol(&self, compact: &Compact<'_>) -> Result<Protocol, TokenError> {
        if compact.header.contains_key("crit") {
            return Err(TokenError::Critical);
        }
        let named = compact.header("typ")?.unwrap_or_default();
        if TYPES.iter().any(|known| named.eq_ignore_ascii_case(known)) {
            Ok(Protocol::Current)
        } else if !legacy::is_legacy(&compact.claims) {
            Err(TokenError::Type)
        } else if self.options.legacy {
            Ok(Protocol::Legacy)
        } else {
            Err(TokenError::Legacy)
        }
    }

    /// What a token grants by these rules.
    pub(super) fn rights(&self, compact: &Compact<'_>, protocol: Protocol) -> Result<Rights, TokenError> {
        let rights = match protocol {
            Protocol::Current => details::rights(&compact.claims, &self.patterns),
            Protocol::Legacy => legacy::rights(&compact.claims, &self.patterns),
        };
        rights.map_err(TokenError::from)
    }

    /// Who issued it, and their place. In the older protocol there is only the first.
    fn issuer(&self, compact: &Compact<'_>, protocol: Protocol) -> Result<(usize, &Issuer), TokenError> {
        let mut trusted = self.issuers.iter().enumerate();
        if protocol == Protocol::Legacy {
            return trusted.next().ok_or_else(|| self.untrusted());
        }
        let named = compact.text("iss")?.ok_or(TokenError::Missing("iss"))?;
        trusted.find(|(_, issuer)| *issuer.name == *named).ok_or_else(|| self.untrusted())
    }

    fn untrusted(&self) -> TokenError {
        let names: Vec<_> = self.issuers().take(MAX_NAMED_ISSUERS).collect();
        TokenError::Issuer { expected: names.join(" or ").into() }
    }

    fn audience(&self, compact: &Compact<'_>, protocol: Protocol) -> Result<(), TokenError> {
        if protocol == Protocol::Legacy {
            return Ok(());
        }
        let resource = &self.options.resource;
        match compact.has("aud", resource)?.ok_or(TokenError::Missing("aud"))? {
            true => Ok(()),
            false => Err(TokenError::Audience { expected: resource.as_str().into() }),
        }
    }

    /// That a token with this id has not been revoked.
    pub(super) fn not_revoked(&self, issuer: &str, id: &str, now: DateTime<Utc>) -> Result<(), TokenError> {
        if self.revoked.contains(issuer, id, now) { Err(TokenError::Revoked) } else { Ok(()) }
    }
}

impl Token {
    /// That its time is not over.
    pub(super) fn not_expired(&self, now: DateTime<Utc>) -> Result<(), TokenError> {
        match self.expires {
            Some(since) if since <= now => Err(TokenError::Expired { since }),
            _ => Ok(()),
        }
    }
}

fn algorithm(compact: &Compact<'_>) -> Result<Algorithm, TokenError> {
    compact.header("alg")?.and_then(key::algorithm).ok_or(TokenError::Algorithm)
}

fn expires(compact: &Compact<'_>, protocol: Protocol, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, TokenError> {
    match compact.date("exp")? {
        None if protocol == Protocol::Current => Err(TokenError::Missing("exp")),
        Some(since) if since <= now => Err(TokenError::Expired { since }),
        expires => Ok(expires),
    }
}

fn not_before(compact: &Compact<'_>, now: DateTime<Utc>) -> Result<(), TokenError> {
    match compact.date("nbf")? {
        Some(until) if until > now + NOT_BEFORE_LEEWAY => Err(TokenError::NotYet { until }),
        _ => Ok(()),
    }
}
