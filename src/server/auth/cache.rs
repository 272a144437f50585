//! Tokens that have been verified, so that a publisher's next request need not have its signature checked again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::{Role, Token};

/// What stands for a token in memory.
pub(super) type Fingerprint = [u8; 32];

/// A token and what it was verified with. It is as good as that: whoever takes it looks whether it still is.
#[derive(Clone)]
pub(super) struct Verified {
    pub(super) token: Arc<Token>,
    /// The place of its issuer among the trusted ones.
    pub(super) issuer: usize,
    /// The number of the keys.
    pub(super) keys: u64,
}

/// Two generations: when the young one is full the old one goes, so what is used stays.
pub(super) struct Cache {
    generations: Mutex<Generations>,
}

struct Generations {
    /// Maximum number of tokens in each of the two.
    size: usize,
    young: HashMap<Fingerprint, Verified>,
    old: HashMap<Fingerprint, Verified>,
}

/// The fingerprint of a token in its use: what one use's keys have verified is not good for the other.
pub(super) fn fingerprint(token: &str, role: Role) -> Fingerprint {
    let role = match role {
        Role::Publisher => b'p',
        Role::Subscriber => b's',
    };
    Sha256::new().chain_update([role]).chain_update(token).finalize().into()
}

impl Cache {
    /// Holds up to twice `size` tokens.
    pub(super) fn new(size: usize) -> Self {
        Self { generations: Mutex::new(Generations { size, young: HashMap::new(), old: HashMap::new() }) }
    }

    pub(super) fn get(&self, fingerprint: &Fingerprint) -> Option<Verified> {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(verified) = generations.young.get(fingerprint) {
            return Some(verified.clone());
        }
        let verified = generations.old.remove(fingerprint)?;
        generations.insert(*fingerprint, verified.clone());
        Some(verified)
    }

    pub(super) fn insert(&self, fingerprint: Fingerprint, verified: Verified) {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner).insert(fingerprint, verified);
    }

    pub(super) fn forget(&self, fingerprint: &Fingerprint) {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        generations.young.remove(fingerprint);
        generations.old.remove(fingerprint);
    }
}

impl Generations {
    fn insert(&mut self, fingerprint: Fingerprint, verified: Verified) {
        if self.young.len() >= self.size {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(fingerprint, verified);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verified(number: u64) -> Verified {
        let token =
            Token { issuer: "".into(), subject: "".into(), id: "".into(), expires: None, rights: Arc::default() };
        Verified { token: Arc::new(token), issuer: 0, keys: number }
    }

    #[test]
    fn a_token_that_is_used_stays_and_the_others_go() {
        let cache = Cache::new(8);
        let print = |n: u64| fingerprint(&n.to_string(), Role::Publisher);
        for n in 0..100 {
            cache.insert(print(n), verified(n));
            assert_eq!(cache.get(&print(0)).map(|verified| verified.keys), Some(0));
        }
        let left = (0..100).filter(|&n| cache.get(&print(n)).is_some()).count();
        assert!((2..=16).contains(&left), "{left}");
        cache.forget(&print(99));
        assert!(cache.get(&print(99)).is_none());
    }

    #[test]
    fn a_token_is_another_one_in_another_use() {
        assert_ne!(fingerprint("a.b.c", Role::Publisher), fingerprint("a.b.c", Role::Subscriber));
    }
}
