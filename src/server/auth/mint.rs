//! Makes tokens: for `tidings token`, with the key in the data folder or another one.

use std::path::Path;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::Value;

use super::key::{KeyError, check_secret};
use super::key_file::{self, Content};
use super::{AuthError, AuthOptions, KeySource};

/// What signs tokens.
pub struct Signer {
    key: EncodingKey,
    algorithm: Algorithm,
}

impl Signer {
    /// The key in this file: a secret or a private key in PEM.
    pub fn from_file(path: &Path) -> Result<Self, AuthError> {
        let file = key_file::bytes(path)?;
        let signer = key_file::content(&file).and_then(|content| match content {
            Content::Secret(secret) => Self::secret(secret),
            Content::Pem(text) => Self::pem(text),
            Content::Json(_) => Err(KeyError::Public),
        });
        signer.map_err(|source| AuthError::Key { path: path.into(), source })
    }

    /// What a server with these options takes: the key made in its data folder, which is made now if it isn't there, or the
    /// file it is told to use, if that holds a secret.
    pub fn of_server(options: &AuthOptions, publisher: bool) -> Result<Self, AuthError> {
        let own = options.issuers.first().map(|issuer| if publisher { &issuer.publisher } else { &issuer.subscriber });
        match own {
            Some(KeySource::File(path)) => Self::from_file(path),
            _ => {
                key_file::generate(&options.data)?;
                Self::from_file(&key_file::generated(&options.data))
            }
        }
    }

    /// Signs the claims as an access token (RFC 9068).
    pub fn sign(&self, claims: &Value) -> Result<String, jsonwebtoken::errors::Error> {
        let header = Header { typ: Some("at+jwt".into()), ..Header::new(self.algorithm) };
        jsonwebtoken::encode(&header, claims, &self.key)
    }

    fn secret(secret: &[u8]) -> Result<Self, KeyError> {
        check_secret(secret, Algorithm::HS256)?;
        Ok(Self { key: EncodingKey::from_secret(secret), algorithm: Algorithm::HS256 })
    }

    fn pem(text: &str) -> Result<Self, KeyError> {
        if !text.contains("PRIVATE KEY-----") {
            return Err(KeyError::Public);
        }
        if text.contains("ENCRYPTED") {
            return Err(KeyError::Encrypted);
        }
        let pem = text.as_bytes();
        let ed = || EncodingKey::from_ed_pem(pem).map(|key| Self { key, algorithm: Algorithm::EdDSA });
        // The curve is told by the length: the key of P-384 is half as long again.
        let curve = if text.len() < 300 { Algorithm::ES256 } else { Algorithm::ES384 };
        let ec = |_| EncodingKey::from_ec_pem(pem).map(|key| Self { key, algorithm: curve });
        let rsa = |_| EncodingKey::from_rsa_pem(pem).map(|key| Self { key, algorithm: Algorithm::RS256 });
        ed().or_else(ec).or_else(rsa).map_err(|_| KeyError::Damaged("PEM"))
    }
}
