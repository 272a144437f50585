//! A key that verifies tokens, and the algorithms it may be used with.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RsaPublicKeyComponents,
};
use jsonwebtoken::{Algorithm, DecodingKey, crypto};

use super::key_error::KeyError;

/// The algorithms that a token may name, and their names.
const ALGORITHMS: [(&str, Algorithm); 12] = [
    ("EdDSA", Algorithm::EdDSA),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("HS256", Algorithm::HS256),
    ("HS384", Algorithm::HS384),
    ("HS512", Algorithm::HS512),
];

/// Bits that an RSA key may have.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The algorithm of this name, if it is allowed.
pub(super) fn algorithm(name: &str) -> Option<Algorithm> {
    ALGORITHMS.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm)
}

/// The names of the algorithms that are allowed.
pub(super) fn algorithm_names() -> String {
    ALGORITHMS.map(|(name, _)| name).join(", ")
}

/// What a key is, and so which algorithms it can verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyKind {
    Secret,
    Rsa,
    P256,
    P384,
    Ed25519,
}

impl KeyKind {
    fn verifies(self, algorithm: Algorithm) -> bool {
        use Algorithm::{ES256, ES384, EdDSA, HS256, HS384, HS512, PS256, PS384, PS512, RS256, RS384, RS512};
        match self {
            Self::Secret => matches!(algorithm, HS256 | HS384 | HS512),
            Self::Rsa => matches!(algorithm, RS256 | RS384 | RS512 | PS256 | PS384 | PS512),
            Self::P256 => matches!(algorithm, ES256),
            Self::P384 => matches!(algorithm, ES384),
            Self::Ed25519 => matches!(algorithm, EdDSA),
        }
    }
}

/// A key that verifies tokens: a public one, or a shared secret. It is known to be whole.
pub(super) struct Key {
    kind: KeyKind,
    id: Option<Box<str>>,
    /// The one algorithm it is for, if that is said.
    only: Option<Algorithm>,
    material: DecodingKey,
}

impl Key {
    /// A shared secret, for one algorithm.
    pub(super) fn secret(secret: &[u8], algorithm: Algorithm) -> Result<Self, KeyError> {
        check_secret(secret, algorithm)?;
        Ok(Self { kind: KeyKind::Secret, id: None, only: Some(algorithm), material: DecodingKey::from_secret(secret) })
    }

    /// An RSA key's modulus and exponent, big-endian.
    pub(super) fn rsa(n: &[u8], e: &[u8]) -> Result<Self, KeyError> {
        let [n, e] = [n, e].map(|number| &number[number.iter().take_while(|&&byte| byte == 0).count()..]);
        let bits = n.len() * 8 - n.first().map_or(0, |byte| byte.leading_zeros() as usize);
        if !RSA_BITS.contains(&bits) {
            return Err(KeyError::Unsupported);
        }
        RsaPublicKeyComponents { n, e }
            .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
            .map_err(|_| KeyError::Damaged("RSA key"))?;
        Ok(Self::new(KeyKind::Rsa, DecodingKey::from_rsa_raw_components(n, e)))
    }

    /// A point on a curve: uncompressed (0x04, x, y), or of Ed25519.
    pub(super) fn point(kind: KeyKind, point: &[u8]) -> Result<Self, KeyError> {
        let (parsed, material) = match kind {
            KeyKind::P256 => (ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point), DecodingKey::from_ec_der(point)),
            KeyKind::P384 => (ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point), DecodingKey::from_ec_der(point)),
            KeyKind::Ed25519 => (ParsedPublicKey::new(&ED25519, point), DecodingKey::from_ed_der(point)),
            KeyKind::Rsa | KeyKind::Secret => return Err(KeyError::Unsupported),
        };
        parsed.map_err(|_| KeyError::Damaged("point on the curve"))?;
        Ok(Self::new(kind, material))
    }

    fn new(kind: KeyKind, material: DecodingKey) -> Self {
        Self { kind, id: None, only: None, material }
    }

    /// The key, with an id that tokens may name it by.
    pub(super) fn with_id(self, id: Option<Box<str>>) -> Self {
        Self { id, ..self }
    }

    /// The key, for one algorithm alone.
    pub(super) fn only_for(self, algorithm: Algorithm) -> Result<Self, KeyError> {
        if !self.kind.verifies(algorithm) {
            return Err(KeyError::Mismatch);
        }
        Ok(Self { only: Some(algorithm), ..self })
    }

    /// Whether it is a shared secret.
    pub(super) fn is_secret(&self) -> bool {
        self.kind == KeyKind::Secret
    }

    /// Whether tokens name it by this id.
    pub(super) fn has_id(&self, id: &str) -> bool {
        self.id.as_deref() == Some(id)
    }

    /// Whether it may verify signatures of this algorithm.
    pub(super) fn fits(&self, algorithm: Algorithm) -> bool {
        self.kind.verifies(algorithm) && self.only.is_none_or(|only| only == algorithm)
    }

    /// Whether it made the signature (in base64url) of the message with this algorithm.
    pub(super) fn verify(&self, algorithm: Algorithm, message: &str, signature: &str) -> bool {
        self.fits(algorithm)
            && crypto::verify(signature, message.as_bytes(), &self.material, algorithm).unwrap_or(false)
    }
}

/// A secret must have as many bits as its hash (RFC 7518, section 3.2).
pub(super) fn check_secret(secret: &[u8], algorithm: Algorithm) -> Result<(), KeyError> {
    let needed = match algorithm {
        Algorithm::HS384 => 48,
        Algorithm::HS512 => 64,
        _ => 32,
    };
    match secret.len() {
        0 => Err(KeyError::Empty),
        found if found < needed => Err(KeyError::ShortSecret { found, needed, algorithm }),
        _ => Ok(()),
    }
}
