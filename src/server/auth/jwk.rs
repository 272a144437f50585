//! JSON Web Keys and sets of them (RFC 7517, RFC 7518 section 6, RFC 8037).

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde_json::Value;
use tracing::warn;

use super::key::{Key, KeyKind, algorithm};
use super::key_error::KeyError;

/// Keys in one document. Each of them may be tried with a token that names none.
const MAX_KEYS: usize = 64;

/// Base64url, as some write it: with padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// One key as it is written. What else stands in it doesn't matter.
#[derive(Deserialize)]
pub(super) struct Jwk {
    pub(super) kty: String,
    pub(super) kid: Option<Box<str>>,
    pub(super) alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    pub(super) crv: Option<String>,
    pub(super) x: Option<String>,
    pub(super) y: Option<String>,
    pub(super) n: Option<String>,
    pub(super) e: Option<String>,
    pub(super) k: Option<String>,
    pub(super) d: Option<String>,
    pub(super) p: Option<String>,
    pub(super) q: Option<String>,
    pub(super) dp: Option<String>,
    pub(super) dq: Option<String>,
    pub(super) qi: Option<String>,
}

/// Reads a document of one key or of a set. Keys that are for something else, or of a kind that is unknown here, are
/// left out; a private key is refused.
pub(super) fn read(document: Value) -> Result<Vec<Key>, KeyError> {
    let mut keys = Vec::new();
    for jwk in keys_of(document)? {
        keys.extend(parse(jwk)?.verifying()?);
    }
    if keys.is_empty() { Err(KeyError::Purpose) } else { Ok(keys) }
}

/// Reads a set that was fetched: a key in it that can't be used is left out too, and said. A secret never is a key,
/// since everybody can read it.
pub(super) fn read_published(document: Value) -> Result<Vec<Key>, KeyError> {
    let public = |key: Key| if key.is_secret() { Err(KeyError::PublicSecret) } else { Ok(key) };
    let read = |jwk| parse(jwk)?.verifying()?.map(public).transpose();
    let mut keys = Vec::new();
    for jwk in keys_of(document)? {
        match read(jwk) {
            Ok(key) => keys.extend(key),
            Err(error) => warn!(%error, "a published key is left out"),
        }
    }
    if keys.is_empty() { Err(KeyError::Purpose) } else { Ok(keys) }
}

/// Reads a document of one key, whatever it is for.
pub(super) fn parse(jwk: Value) -> Result<Jwk, KeyError> {
    Jwk::deserialize(jwk).map_err(|error| KeyError::Syntax { expected: "JWK", reason: error.to_string() })
}

fn keys_of(document: Value) -> Result<Vec<Value>, KeyError> {
    let syntax = |reason: &str| KeyError::Syntax { expected: "JWK or JWKS document", reason: reason.into() };
    let Value::Object(mut object) = document else { return Err(syntax("it is no object")) };
    let keys = match object.remove("keys") {
        Some(Value::Array(keys)) => keys,
        Some(_) => return Err(syntax("its `keys` are no array")),
        None => vec![Value::Object(object)],
    };
    if keys.len() > MAX_KEYS { Err(KeyError::TooMany { limit: MAX_KEYS }) } else { Ok(keys) }
}

impl Jwk {
    /// The key that verifies tokens; `None` if it is for something else.
    fn verifying(self) -> Result<Option<Key>, KeyError> {
        if self.is_private() {
            return Err(KeyError::Private);
        }
        let other_use = self.usage.as_deref().is_some_and(|usage| usage != "sig");
        let other_operations = self.key_ops.iter().any(|operations| !operations.iter().any(|name| name == "verify"));
        let named = self.alg.as_deref().map(algorithm);
        if other_use || other_operations || named == Some(None) {
            return Ok(None);
        }
        let named = named.flatten();
        let key = match &*self.kty {
            "oct" => {
                let secret = decode(&self.k, "`k`")?;
                Key::secret(&secret, named.unwrap_or(Algorithm::HS256))?
            }
            "RSA" => Key::rsa(&decode(&self.n, "`n`")?, &decode(&self.e, "`e`")?)?,
            "EC" | "OKP" => match self.curve() {
                Some(kind) => Key::point(kind, &self.point(kind)?)?,
                None => return Ok(None),
            },
            _ => return Ok(None),
        };
        let key = key.with_id(self.kid);
        Ok(Some(match named {
            Some(algorithm) => key.only_for(algorithm)?,
            None => key,
        }))
    }

    fn is_private(&self) -> bool {
        [&self.d, &self.p, &self.q, &self.dp, &self.dq, &self.qi].into_iter().any(Option::is_some)
    }

    /// The curve, if it is one that is supported.
    pub(super) fn curve(&self) -> Option<KeyKind> {
        match (&*self.kty, self.crv.as_deref()) {
            ("EC", Some("P-256")) => Some(KeyKind::P256),
            ("EC", Some("P-384")) => Some(KeyKind::P384),
            ("OKP", Some("Ed25519")) => Some(KeyKind::Ed25519),
            _ => None,
        }
    }

    /// The public point, as [`Key::point`] wants it.
    pub(super) fn point(&self, kind: KeyKind) -> Result<Vec<u8>, KeyError> {
        let x = decode(&self.x, "`x`")?;
        let length = match kind {
            KeyKind::P256 => 32,
            KeyKind::P384 => 48,
            _ => return Ok(x),
        };
        let y = decode(&self.y, "`y`")?;
        if (x.len(), y.len()) != (length, length) {
            return Err(KeyError::Damaged("point on the curve"));
        }
        Ok([&[4], &*x, &*y].concat())
    }
}

/// A number or secret in base64url.
pub(super) fn decode(text: &Option<String>, name: &'static str) -> Result<Vec<u8>, KeyError> {
    let text = text.as_deref().ok_or(KeyError::Damaged(name))?;
    LENIENT.decode(text).map_err(|_| KeyError::Damaged(name))
}
