//! What the operator says about tokens.

use std::path::PathBuf;

use url::Url;

/// Whose tokens are trusted, and for what.
#[derive(Clone, Debug)]
pub struct AuthOptions {
    /// The hub's identifier, which must be among a token's `aud`.
    pub resource: String,
    /// The trusted issuers, each with its own keys. The first one's are also what `tidings token` signs with.
    pub issuers: Vec<IssuerOptions>,
    /// The folder for the generated key and the list of revoked tokens.
    pub data: PathBuf,
    /// Whether tokens of the older protocol are taken too: their rights stand in the claim `mercure`.
    pub legacy: bool,
}

/// One trusted issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerOptions {
    /// What stands in its tokens' `iss`.
    pub issuer: String,
    /// Where the keys are that verify publishers' tokens.
    pub publisher: KeySource,
    /// Where the keys are that verify subscribers' tokens.
    pub subscriber: KeySource,
}

/// Where keys come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeySource {
    /// The random secret in the data folder, made where there is none.
    Generated,
    /// A file: PEM, JWK, JWKS, or a shared secret in one line of text, which means HS256.
    File(PathBuf),
    /// A JWKS document that is fetched and refreshed.
    Url {
        /// Its address.
        url: Url,
        /// Whether it may be at an internal address.
        internal: bool,
    },
    /// There is none: no token of this issuer has this use.
    Nowhere,
}
