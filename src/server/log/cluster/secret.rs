//! The secret that all nodes share, and the keys derived from it. The secret and the keys are never sent.

use std::fmt;

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};

/// Minimum length: 32 hexadecimal digits are 128 bits.
const MIN_BYTES: usize = 32;

/// A cluster's secret.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterSecret(Box<str>);

impl ClusterSecret {
    /// Parses a secret; `None` if it is shorter than 32 characters.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        (text.len() >= MIN_BYTES).then(|| Self(text.into()))
    }

    /// Derives the key for a purpose (HKDF, RFC 5869). It reveals nothing about other keys.
    pub fn key(&self, purpose: &str) -> [u8; 32] {
        struct Bytes32;
        impl KeyType for Bytes32 {
            fn len(&self) -> usize {
                32
            }
        }
        let mut key = [0; 32];
        let derived = Salt::new(HKDF_SHA256, b"tidings cluster").extract(self.0.as_bytes());
        derived
            .expand(&[purpose.as_bytes()], Bytes32)
            .and_then(|okm| okm.fill(&mut key))
            .unwrap_or_else(|_| unreachable!("a key of 32 bytes"));
        key
    }
}

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterSecret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_purpose_has_a_key_of_its_own() {
        let secret = ClusterSecret::parse(&"0123456789abcdef".repeat(2)).expect("a secret");
        assert_eq!(secret.key("ids"), secret.key("ids"));
        assert_ne!(secret.key("ids"), secret.key("tickets"));
        assert_ne!(secret.key("ids"), ClusterSecret::parse(&"x".repeat(32)).expect("a secret").key("ids"));
        assert_eq!(ClusterSecret::parse("  short\n"), None);
        assert_eq!(format!("{secret:?}"), "ClusterSecret");
    }
}
