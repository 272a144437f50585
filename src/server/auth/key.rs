//! A key, and the algorithms it verifies.

/// The algorithms that a token may name.
pub(super) const ALGORITHM_NAMES: [&str; 12] =
    ["EdDSA", "ES256", "ES384", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "HS256", "HS384", "HS512"];
