//! Keys that sign tokens, and the tokens they make (RFC 9068).

use std::path::{Path, PathBuf};

use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING as P256, ECDSA_P384_SHA384_FIXED_SIGNING as P384, EcdsaKeyPair, Ed25519KeyPair,
};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, AlgorithmFamily, EncodingKey, Header};
use serde::Serialize;
use serde_json::Value;

use super::jwk::{self, Jwk};
use super::key::{KeyKind, algorithm, check_secret};
use super::key_error::KeyError;
use super::key_file::{self, Content};
use super::{AuthError, DetailError, IssuerOptions, KeySource, Role, details, pem};
use crate::server::hub::{Patterns, Rights};

/// What makes tokens: a private key or a shared secret.
#[derive(Debug)]
pub struct SigningKey {
    algorithm: Algorithm,
    id: Option<Box<str>>,
    material: EncodingKey,
}

/// What a new token says.
#[derive(Clone, Debug, Serialize)]
pub struct Claims {
    /// Who issues it.
    #[serde(rename = "iss")]
    pub issuer: String,
    /// Whom it is issued to.
    #[serde(rename = "sub")]
    pub subject: String,
    /// Which program asked for it.
    pub client_id: String,
    /// For whom it is: the hub.
    #[serde(rename = "aud")]
    pub audience: String,
    /// When it was issued.
    #[serde(rename = "iat", with = "chrono::serde::ts_seconds")]
    pub issued: DateTime<Utc>,
    /// When it expires.
    #[serde(rename = "exp", with = "chrono::serde::ts_seconds")]
    pub expires: DateTime<Utc>,
    /// What it can be revoked by.
    #[serde(rename = "jti")]
    pub id: String,
    /// What it grants.
    pub authorization_details: Vec<Value>,
}

impl Claims {
    /// What the token will grant, read as the hub reads it.
    pub fn rights(&self, patterns: &Patterns) -> Result<Rights, DetailError> {
        details::read(&self.authorization_details, patterns)
    }
}

impl SigningKey {
    /// The key in a file: a private key as PEM or JWK, or a shared secret.
    pub fn read(path: &Path) -> Result<Self, AuthError> {
        let file = key_file::bytes(path)?;
        Self::parse(&file).map_err(|source| AuthError::Key { path: path.into(), source })
    }

    /// The key that an issuer's tokens for this use are verified with, and its file; `None` if they aren't verified with
    /// a key in a file. It makes no key: see [`SigningKey::make`].
    pub fn of(issuer: &IssuerOptions, role: Role, data: &Path) -> Result<Option<(Self, PathBuf)>, AuthError> {
        let source = match role {
            Role::Publisher => &issuer.publisher,
            Role::Subscriber => &issuer.subscriber,
        };
        let path = match source {
            KeySource::Generated => key_file::generated(data),
            KeySource::File(path) => path.clone(),
            KeySource::Url { .. } | KeySource::Nowhere => return Ok(None),
        };
        if *source == KeySource::Generated && !path.exists() {
            return Err(AuthError::NoKey { path });
        }
        Ok(Some((Self::read(&path)?, path)))
    }

    /// Makes the generated key if there is none. Answers whether it has: of several that try at once, one does.
    pub fn make(data: &Path) -> Result<bool, AuthError> {
        key_file::make_secret(&key_file::generated(data), None)
    }

    fn parse(file: &[u8]) -> Result<Self, KeyError> {
        match key_file::content(file)? {
            Content::Pem(text) => Self::pem(text),
            Content::Json(document) => Self::jwk(&jwk::parse(document)?),
            Content::Secret(secret) => Self::secret(secret, Algorithm::HS256),
        }
    }

    fn secret(secret: &[u8], algorithm: Algorithm) -> Result<Self, KeyError> {
        check_secret(secret, algorithm)?;
        Ok(Self { algorithm, id: None, material: EncodingKey::from_secret(secret) })
    }

    /// The first private key of a PEM file: PKCS #8, or what older tools write, PKCS #1 and SEC 1.
    fn pem(text: &str) -> Result<Self, KeyError> {
        let labelled = |block| pem::label(block).filter(|label| label.ends_with("PRIVATE KEY")).map(|l| (l, block));
        let (label, block) = pem::blocks(text).find_map(labelled).ok_or(KeyError::Public)?;
        if label.starts_with("ENCRYPTED") || block.contains("ENCRYPTED") {
            return Err(KeyError::Encrypted);
        }
        if label == "RSA PRIVATE KEY" {
            return Self::rsa_pem(block);
        }
        let body = block.split("-----").nth(2).unwrap_or_default();
        let body: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        let der = BASE64_STANDARD.decode(body).map_err(|_| KeyError::Damaged("PEM"))?;
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8(&der) {
            return Self::ed25519(&pair);
        }
        if let Ok(pair) = EcdsaKeyPair::from_private_key_der(&P256, &der) {
            return Self::curve(Algorithm::ES256, &pair);
        }
        if let Ok(pair) = EcdsaKeyPair::from_private_key_der(&P384, &der) {
            return Self::curve(Algorithm::ES384, &pair);
        }
        Self::rsa_pem(block)
    }

    fn rsa_pem(block: &str) -> Result<Self, KeyError> {
        let key = EncodingKey::from_rsa_pem(block.as_bytes()).map_err(|_| KeyError::Unsupported)?;
        Self::rsa(key.as_bytes())
    }

    fn jwk(jwk: &Jwk) -> Result<Self, KeyError> {
        let damaged = KeyError::Damaged("private key");
        let named = jwk.alg.as_deref().map(|name| algorithm(name).ok_or(KeyError::Unsupported)).transpose()?;
        if jwk.kty == "oct" {
            let secret = Self::secret(&jwk::decode(&jwk.k, "`k`")?, named.unwrap_or(Algorithm::HS256))?;
            return secret.with(jwk.kid.clone(), named);
        }
        if jwk.d.is_none() {
            return Err(KeyError::Public);
        }
        let d = jwk::decode(&jwk.d, "`d`")?;
        let key = match (&*jwk.kty, jwk.curve()) {
            ("RSA", _) => Self::rsa(&pkcs1(jwk)?)?,
            (_, Some(kind @ KeyKind::Ed25519)) => {
                let pair = Ed25519KeyPair::from_seed_and_public_key(&d, &jwk.point(kind)?);
                Self::ed25519(&pair.map_err(|_| damaged)?)?
            }
            (_, Some(kind)) => {
                let (curve, algorithm) =
                    if kind == KeyKind::P384 { (&P384, Algorithm::ES384) } else { (&P256, Algorithm::ES256) };
                let pair = EcdsaKeyPair::from_private_key_and_public_key(curve, &d, &jwk.point(kind)?);
                Self::curve(algorithm, &pair.map_err(|_| damaged)?)?
            }
            _ => return Err(KeyError::Unsupported),
        };
        key.with(jwk.kid.clone(), named)
    }

    fn curve(algorithm: Algorithm, pair: &EcdsaKeyPair) -> Result<Self, KeyError> {
        let der = pair.to_pkcs8v1().map_err(|_| KeyError::Damaged("private key"))?;
        Ok(Self { algorithm, id: None, material: EncodingKey::from_ec_der(der.as_ref()) })
    }

    fn ed25519(pair: &Ed25519KeyPair) -> Result<Self, KeyError> {
        let der = pair.to_pkcs8v1().map_err(|_| KeyError::Damaged("private key"))?;
        Ok(Self { algorithm: Algorithm::EdDSA, id: None, material: EncodingKey::from_ed_der(der.as_ref()) })
    }

    /// An RSA key as PKCS #1 has it.
    fn rsa(der: &[u8]) -> Result<Self, KeyError> {
        let pair = RsaKeyPair::from_der(der).map_err(|_| KeyError::Damaged("private key"))?;
        if pair.public_modulus_len() < 256 {
            return Err(KeyError::Unsupported);
        }
        Ok(Self { algorithm: Algorithm::RS256, id: None, material: EncodingKey::from_rsa_der(der) })
    }

    /// The key with its id, for the algorithm that is said with it.
    fn with(self, id: Option<Box<str>>, named: Option<Algorithm>) -> Result<Self, KeyError> {
        match named {
            Some(named) if named.family() != self.material.family() => Err(KeyError::Mismatch),
            Some(named) if named.family() != AlgorithmFamily::Rsa && named != self.algorithm => Err(KeyError::Mismatch),
            named => Ok(Self { algorithm: named.unwrap_or(self.algorithm), id, ..self }),
        }
    }

    /// How the algorithm is called that it signs with.
    pub fn algorithm(&self) -> String {
        format!("{:?}", self.algorithm)
    }

    /// Whether two keys make the same tokens.
    pub fn is_same(&self, other: &Self) -> bool {
        self.algorithm == other.algorithm && self.material.as_bytes() == other.material.as_bytes()
    }

    /// Makes a token.
    pub fn sign(&self, claims: &Claims) -> Result<String, KeyError> {
        let header = Header {
            typ: Some("at+jwt".into()),
            kid: self.id.as_deref().map(str::to_owned),
            ..Header::new(self.algorithm)
        };
        jsonwebtoken::encode(&header, claims, &self.material).map_err(|_| KeyError::Damaged("private key"))
    }
}

/// An RSA key's numbers as PKCS #1 has them (RFC 8017, appendix A.1.2), in DER.
fn pkcs1(jwk: &Jwk) -> Result<Vec<u8>, KeyError> {
    let numbers = [(&jwk.n, "`n`"), (&jwk.e, "`e`"), (&jwk.d, "`d`"), (&jwk.p, "`p`"), (&jwk.q, "`q`")];
    let more = [(&jwk.dp, "`dp`"), (&jwk.dq, "`dq`"), (&jwk.qi, "`qi`")];
    // The version of a key with two primes.
    let mut content = integer(&[0]);
    for (number, name) in numbers.into_iter().chain(more) {
        content.extend(integer(&jwk::decode(number, name)?));
    }
    Ok(element(SEQUENCE, &content))
}

const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;

/// A number without a sign, which its first bit would be.
fn integer(number: &[u8]) -> Vec<u8> {
    let number = &number[number.iter().take_while(|&&byte| byte == 0).count()..];
    let sign: &[u8] = if number.first().is_none_or(|byte| byte & 0x80 != 0) { &[0] } else { &[] };
    element(INTEGER, &[sign, number].concat())
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let length = &length[length.iter().take_while(|&&byte| byte == 0).count()..];
    let mut der = vec![tag];
    if content.len() >= 0x80 {
        der.push(0x80 | length.len() as u8);
        der.extend_from_slice(length);
    } else {
        der.push(content.len() as u8);
    }
    der.extend_from_slice(content);
    der
}
