//! A JWT as it is written (RFC 7515, section 7.1): its parts, of which nothing is verified here.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::TokenError;

/// Bytes of a token.
const MAX_TOKEN: usize = 16 * 1024;

/// A token that can be read; whether it is right is another question.
#[derive(Debug)]
pub(super) struct Compact<'a> {
    /// What is signed: the first two parts.
    pub(super) message: &'a str,
    /// The third part, in base64url.
    pub(super) signature: &'a str,
    pub(super) header: Map<String, Value>,
    pub(super) claims: Map<String, Value>,
}

impl<'a> Compact<'a> {
    pub(super) fn parse(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::TooLong { limit: MAX_TOKEN });
        }
        let shape = TokenError::Malformed("it must have three parts, separated by dots");
        let (message, signature) = token.rsplit_once('.').ok_or(shape.clone())?;
        let (header, claims) = message.split_once('.').filter(|(_, claims)| !claims.contains('.')).ok_or(shape)?;
        Ok(Self {
            message,
            signature,
            header: object(header).ok_or(TokenError::Malformed("its header is no JSON object in base64url"))?,
            claims: object(claims).ok_or(TokenError::Malformed("its claims are no JSON object in base64url"))?,
        })
    }

    /// A token in three quarters of its size. `None` if it doesn't have three parts in base64url.
    pub(super) fn pack(token: &str) -> Option<Vec<u8>> {
        let mut packed = Vec::new();
        let mut parts = 0;
        for part in token.split('.') {
            let part = BASE64_URL_SAFE_NO_PAD.decode(part).ok()?;
            packed.extend(u16::try_from(part.len()).ok()?.to_be_bytes());
            packed.extend(part);
            parts += 1;
        }
        (parts == 3).then_some(packed)
    }

    /// The token that [`Compact::pack`] was given.
    pub(super) fn unpack(mut packed: &[u8]) -> Option<String> {
        let mut parts = Vec::new();
        while let Some((length, rest)) = packed.split_first_chunk() {
            let (part, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
            parts.push(BASE64_URL_SAFE_NO_PAD.encode(part));
            packed = rest;
        }
        (packed.is_empty() && parts.len() == 3).then(|| parts.join("."))
    }

    /// A text in the header; `None` where there is none.
    pub(super) fn header(&self, name: &str) -> Result<Option<&str>, TokenError> {
        match self.header.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(TokenError::Malformed("what its header says of `typ`, `alg` and `kid` must be text")),
        }
    }

    /// A claim that is a text; `None` where there is none.
    pub(super) fn text(&self, claim: &'static str) -> Result<Option<&str>, TokenError> {
        match self.claims.get(claim) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(TokenError::Claim { claim, expected: "text" }),
        }
    }

    /// A claim that is a point in time (RFC 7519, `NumericDate`), to the second before it; `None` where there is none.
    pub(super) fn date(&self, claim: &'static str) -> Result<Option<DateTime<Utc>>, TokenError> {
        let Some(value) = self.claims.get(claim) else { return Ok(None) };
        let seconds = value.as_number().and_then(|seconds| match seconds.as_i64() {
            Some(seconds) => Some(seconds),
            // A cast takes the nearest there is.
            None => seconds.as_f64().map(|seconds| seconds.floor() as i64),
        });
        let expected = "a time in seconds since 1970, as a number";
        let seconds = seconds.ok_or(TokenError::Claim { claim, expected })?;
        // What lies beyond all calendars is as far as they go.
        let (first, last) = (DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC);
        let date = DateTime::from_timestamp(seconds, 0).unwrap_or(if seconds < 0 { first } else { last });
        Ok(Some(date))
    }

    /// Whether a claim that is one text or an array of texts has this one; `None` where there is no claim.
    pub(super) fn has(&self, claim: &'static str, wanted: &str) -> Result<Option<bool>, TokenError> {
        let wrong = TokenError::Claim { claim, expected: "text, or an array of texts" };
        match self.claims.get(claim) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text == wanted)),
            Some(Value::Array(texts)) => {
                if !texts.iter().all(Value::is_string) {
                    return Err(wrong);
                }
                Ok(Some(texts.iter().any(|text| text.as_str() == Some(wanted))))
            }
            Some(_) => Err(wrong),
        }
    }
}

fn object(part: &str) -> Option<Map<String, Value>> {
    let json = BASE64_URL_SAFE_NO_PAD.decode(part).ok()?;
    serde_json::from_slice(&json).ok()
}
