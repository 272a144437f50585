//! The checks that a token must pass, in their order (Mercure, "Token Validation"; RFC 9068, section 4).

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};

use super::key::{self, Key};
use super::{Auth, Issuer, Keys, Role, Token, TokenError, details};

/// Longest token, in bytes: it fits into the headers that servers take.
const MAX_LENGTH: usize = 16 * 1024;

/// How far an issuer's clock may be ahead of ours. An expired token gets no such grace.
const NOT_BEFORE_LEEWAY: TimeDelta = TimeDelta::seconds(5);

/// The types of an access token, in lower case.
const TYPES: [&str; 2] = ["at+jwt", "application/at+jwt"];

type Object = Map<String, Value>;

impl Auth {
    /// The token, if nothing is wrong with it; whether it has been revoked is not looked at.
    pub(super) async fn check(&self, token: &str, role: Role) -> Result<Token, TokenError> {
        if token.len() > MAX_LENGTH {
            return Err(TokenError::TooLong { limit: MAX_LENGTH });
        }
        let mut parts = token.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Malformed("it must have three parts, separated by dots"));
        };
        let message = &token[..header.len() + 1 + claims.len()];
        let header = object(header).ok_or(TokenError::Malformed("its header is no JSON object in base64url"))?;
        let claims = object(claims).ok_or(TokenError::Malformed("its claims are no JSON object in base64url"))?;

        let is_access_token =
            header.get("typ").and_then(Value::as_str).is_some_and(|name| TYPES.contains(&&*name.to_ascii_lowercase()));
        let is_legacy = !is_access_token && self.legacy && claims.contains_key("mercure");
        if !is_access_token && !is_legacy {
            return Err(TokenError::Type);
        }
        if header.contains_key("crit") {
            return Err(TokenError::Critical);
        }
        let algorithm =
            header.get("alg").and_then(Value::as_str).and_then(key::algorithm).ok_or(TokenError::Algorithm)?;

        // Its issuer is believed only to find the keys that its signature must be made with.
        let issuer = match text(&claims, "iss")? {
            _ if is_legacy => self.issuers.first().ok_or(TokenError::Issuer)?,
            Some(name) => self.issuers.iter().find(|issuer| *issuer.name == *name).ok_or(TokenError::Issuer)?,
            None => return Err(TokenError::Missing("iss")),
        };
        let named = header.get("kid").and_then(Value::as_str);
        let verifies = |keys: &[Key]| {
            let fitting = || keys.iter().filter(|key| key.fits(algorithm));
            let is_named = |key: &&Key| named.is_some_and(|id| key.has_id(id));
            let mut in_order = fitting().filter(is_named).chain(fitting().filter(|key| !is_named(key)));
            in_order.any(|key| key.verify(algorithm, message, signature))
        };
        issuer.verify(role, named, verifies).await?;

        let now = Utc::now();
        let expires = match time(&claims, "exp")? {
            Some(at) if at <= now => return Err(TokenError::Expired { since: at }),
            None if !is_legacy => return Err(TokenError::Missing("exp")),
            at => at,
        };
        if let Some(until) = time(&claims, "nbf")?.filter(|at| *at > now + NOT_BEFORE_LEEWAY) {
            return Err(TokenError::NotYet { until });
        }
        if !is_legacy && !self.is_audience(claims.get("aud"))? {
            return Err(TokenError::Audience { expected: self.resource.clone() });
        }
        let rights = match claims.get("mercure").filter(|_| is_legacy) {
            Some(claim) => details::legacy(claim, &self.patterns)?,
            None => details::rights(claims.get("authorization_details"), &self.patterns)?,
        };
        Ok(Token {
            issuer: issuer.name.clone(),
            subject: text(&claims, "sub")?.unwrap_or_default().into(),
            id: text(&claims, "jti")?.unwrap_or_default().into(),
            expires,
            rights: rights.into(),
        })
    }

    fn is_audience(&self, audience: Option<&Value>) -> Result<bool, TokenError> {
        let wrong = TokenError::Claim { claim: "aud", expected: "a string or an array of strings" };
        match audience {
            None => Err(TokenError::Missing("aud")),
            Some(Value::String(one)) => Ok(**one == *self.resource),
            Some(Value::Array(many)) => {
                let many: Vec<_> = many.iter().map(Value::as_str).collect::<Option<_>>().ok_or(wrong)?;
                Ok(many.contains(&&*self.resource))
            }
            Some(_) => Err(wrong),
        }
    }
}

impl Issuer {
    async fn verify(
        &self,
        role: Role,
        named: Option<&str>,
        verifies: impl Fn(&[Key]) -> bool,
    ) -> Result<(), TokenError> {
        let keys = match role {
            Role::Publisher => &self.publisher,
            Role::Subscriber => &self.subscriber,
        };
        let verified = match keys {
            Keys::Fixed(keys) if keys.is_empty() => return Err(TokenError::Use(role)),
            Keys::Fixed(keys) => verifies(keys),
            Keys::Published(published) => {
                let keys = published.keys(named).await.ok_or(TokenError::KeysUnavailable)?;
                verifies(&keys)
            }
        };
        if verified { Ok(()) } else { Err(TokenError::Signature) }
    }
}

fn object(part: &str) -> Option<Object> {
    match serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).ok()?).ok()? {
        Value::Object(object) => Some(object),
        _ => None,
    }
}

fn text<'a>(claims: &'a Object, claim: &'static str) -> Result<Option<&'a str>, TokenError> {
    match claims.get(claim) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(TokenError::Claim { claim, expected: "a string" }),
    }
}

/// A time in seconds since 1970, perhaps with a fraction (RFC 7519, section 2, "NumericDate").
fn time(claims: &Object, claim: &'static str) -> Result<Option<DateTime<Utc>>, TokenError> {
    let wrong = TokenError::Claim { claim, expected: "a number of seconds since 1970" };
    let Some(value) = claims.get(claim) else { return Ok(None) };
    let seconds = value.as_f64().filter(|seconds| seconds.is_finite()).ok_or(wrong)?;
    // What is beyond the years that can be written is as good as never, or always.
    let limit = DateTime::<Utc>::MAX_UTC.timestamp() as f64;
    Ok(DateTime::from_timestamp(seconds.clamp(-limit / 2.0, limit - 1.0) as i64, 0))
}
