//! The operator's options for tokens.

use std::path::PathBuf;

use url::Url;

/// Which tokens are accepted.
#[derive(Clone, Debug)]
pub struct AuthOptions {
    /// The hub's identifier, which a token's `aud` must contain.
    pub resource: String,
    /// The trusted issuers, each with its own keys. `tidings token` signs with the first one's.
    pub issuers: Vec<IssuerOptions>,
    /// The data folder, for the generated keys and the list of revoked tokens.
    pub data: PathBuf,
    /// A secret that all nodes of a cluster share. The generated keys are derived from it; they are random without it.
    pub shared: Option<[u8; 32]>,
    /// Whether legacy tokens are accepted too, whose rights are in the claim `mercure`.
    pub legacy: bool,
}

/// One trusted issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerOptions {
    /// The `iss` of its tokens.
    pub issuer: String,
    /// The keys that verify publishers' tokens.
    pub publisher: KeySource,
    /// The keys that verify subscribers' tokens.
    pub subscriber: KeySource,
}

/// Where keys come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeySource {
    /// The random secret in the data folder, generated if there is none.
    Generated,
    /// A file: PEM, JWK, JWKS, or a shared secret in one line of text, which means HS256.
    File(PathBuf),
    /// A JWKS document that is fetched, and refreshed before it is stale.
    Url {
        /// Its address.
        url: Url,
        /// Whether it may be at an internal address.
        internal: bool,
    },
    /// No keys: this issuer's tokens are not accepted in this role.
    Nowhere,
}
