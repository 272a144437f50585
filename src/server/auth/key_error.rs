//! Why a file or a document holds no key that can be used.

use std::fmt;

use jsonwebtoken::Algorithm;
use thiserror::Error;

/// Why a text is no key for us.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// It holds nothing.
    #[error("it is empty: expected a PEM, JWK or JWKS document, or a shared secret of 32 random bytes or more")]
    Empty,
    /// It is longer than any key.
    #[error("it is larger than {limit} bytes: expected a PEM, JWK or JWKS document, or a shared secret")]
    TooLarge {
        /// Bytes it may have.
        limit: usize,
    },
    /// It holds too many keys.
    #[error("it holds more than {limit} keys: remove those that aren't used any more")]
    TooMany {
        /// How many there may be.
        limit: usize,
    },
    /// It is in another form, or could be.
    #[error(
        "it looks like {0}. Expected PEM, a JWK, a JWKS document or a shared secret in one line of text. If it is a \
         shared secret, say so by writing it as a JWK: {{\"kty\":\"oct\",\"k\":\"<the secret in base64url>\"}}"
    )]
    Form(KeyForm),
    /// It can't be read.
    #[error("it is no {expected}: {reason}")]
    Syntax {
        /// What it looked like.
        expected: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A secret can be guessed.
    #[error(
        "a shared secret of {found} bytes is too short for {algorithm:?}, which needs {needed}: make one with \
         `openssl rand -base64 {needed}`"
    )]
    ShortSecret {
        /// Bytes it has.
        found: usize,
        /// Bytes it must have.
        needed: usize,
        /// What it is for.
        algorithm: Algorithm,
    },
    /// A secret stands where everybody can read it.
    #[error("it publishes a shared secret, with which everybody can make tokens")]
    PublicSecret,
    /// A private key where a public one is enough.
    #[error(
        "it holds a private key, which a hub must not have: it needs only the public one, which \
         `openssl pkey -in FILE -pubout` writes (of a JWK, leave out `d`)"
    )]
    Private,
    /// A certificate.
    #[error("it is a certificate: write its public key to a file with `openssl x509 -in FILE -noout -pubkey`")]
    Certificate,
    /// A kind of key that no allowed algorithm uses.
    #[error("it is of a kind that isn't supported: use Ed25519, P-256, P-384, RSA of 2048 to 8192 bits or a secret")]
    Unsupported,
    /// It is not for this.
    #[error("none of its keys is for verifying signatures (`use`, `key_ops`, `alg`)")]
    Purpose,
    /// Its `alg` is for another type of key.
    #[error("its `alg` is for another type of key")]
    Mismatch,
    /// The parts of the key don't make one.
    #[error("its {0} is missing or damaged")]
    Damaged(&'static str),
    /// A key that can't sign, where a token is to be signed.
    #[error("it holds no private key to sign with: name a file that does with --key")]
    Public,
    /// A private key that is encrypted.
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
