//! Why a file or a document holds no key that can be used.

use std::fmt;

use jsonwebtoken::Algorithm;
use thiserror::Error;

/// Why a key can't be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// It is empty.
    #[error("it is empty: expected a PEM, JWK or JWKS document, or a shared secret of 32 random bytes or more")]
    Empty,
    /// It is larger than any key.
    #[error("it is larger than {limit} bytes: expected a PEM, JWK or JWKS document, or a shared secret")]
    TooLarge {
        /// The maximum, in bytes.
        limit: usize,
    },
    /// It contains too many keys.
    #[error("it contains more than {limit} keys: remove the unused ones")]
    TooMany {
        /// The maximum.
        limit: usize,
    },
    /// It is in another form, or could be.
    #[error(
        "it looks like {0}. Expected PEM, a JWK, a JWKS document or a shared secret in one line of text. If it is a \
         shared secret, say so by writing it as a JWK: {{\"kty\":\"oct\",\"k\":\"<the secret in base64url>\"}}"
    )]
    Form(KeyForm),
    /// It can't be parsed.
    #[error("it is not a valid {expected}: {reason}")]
    Syntax {
        /// The format it seems to have.
        expected: &'static str,
        /// Why it is invalid.
        reason: String,
    },
    /// A secret is too short.
    #[error(
        "a shared secret of {found} bytes is too short for {algorithm:?}, which needs {needed}: make one with \
         `openssl rand -base64 {needed}`"
    )]
    ShortSecret {
        /// Its length in bytes.
        found: usize,
        /// The minimum, in bytes.
        needed: usize,
        /// The algorithm it is used with.
        algorithm: Algorithm,
    },
    /// A secret is published.
    #[error("it publishes a shared secret, with which everybody can make tokens")]
    PublicSecret,
    /// It is a private key where a public one is enough.
    #[error(
        "it contains a private key, which a hub must not have: it needs only the public one, which \
         `openssl pkey -in FILE -pubout` writes (of a JWK, leave out `d`)"
    )]
    Private,
    /// It is a certificate.
    #[error("it is a certificate: write its public key to a file with `openssl x509 -in FILE -noout -pubkey`")]
    Certificate,
    /// It is a key that no supported algorithm uses.
    #[error("its type isn't supported: use Ed25519, P-256, P-384, RSA of 2048 to 8192 bits or a secret")]
    Unsupported,
    /// It is for another purpose.
    #[error("none of its keys is for verifying signatures (`use`, `key_ops`, `alg`)")]
    Purpose,
    /// Its `alg` is for another type of key.
    #[error("its `alg` is for another type of key")]
    Mismatch,
    /// A part of it is missing or invalid.
    #[error("its {0} is missing or damaged")]
    Damaged(&'static str),
    /// It can't sign.
    #[error("it contains no private key to sign with: name a file that does with --key")]
    Public,
    /// It is encrypted.
    #[error("it is encrypted: decrypt it with `openssl pkey -in FILE`")]
    Encrypted,
}

/// A form that is neither PEM, JWK nor JWKS, and not a shared secret either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyForm {
    /// A line of `authorized_keys` or of a `.pub` file, or its base64 part alone.
    OpenSsh,
    /// A key or certificate in DER, or encoded DER, such as PEM without its first and last line.
    Der,
    /// JSON or PEM that is encoded once more.
    Encoded,
    /// A text that begins with a byte order mark, or is UTF-16.
    ByteOrderMark,
    /// A JSON array.
    Array,
    /// XML.
    Xml,
    /// A token instead of a key.
    Token,
    /// The address of a key instead of the key.
    Url,
    /// Several lines that aren't base64.
    Lines,
    /// Bytes that aren't text.
    Binary,
}

impl fmt::Display for KeyForm {
    /// Completes "it looks like", and says what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenSsh => {
                "an OpenSSH public key: convert it to PEM, for RSA and ECDSA with `ssh-keygen -e -m PKCS8 -f FILE`"
            }
            Self::Der => "DER: convert it to PEM with `openssl pkey -pubin -inform DER -in FILE`",
            Self::Encoded => "a key that is encoded in base64: decode it with `base64 -d FILE`",
            Self::ByteOrderMark => "a text with a byte order mark or in UTF-16: save it as UTF-8 without the mark",
            Self::Array => "a JSON array: write keys as a JWKS, {\"keys\": [...]}",
            Self::Xml => "XML: convert the key to PEM or JWK",
            Self::Token => "a token: name the file with the key that its issuer signs with",
            Self::Url => "an address: set it as `jwks-url` of an [[issuer]] in the TOML file",
            Self::Lines => "a text of several lines",
            Self::Binary => "binary data",
        })
    }
}
