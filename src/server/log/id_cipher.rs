//! Event ids that carry their cursor, encrypted: they need no index and tell a stranger neither how many updates
//! there are nor which came first.

use aes::Aes128;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use uuid::Uuid;

use super::Cursor;

/// How long the key is.
pub(super) const KEY_BYTES: usize = 32;

/// The key of an [`IdCipher`].
pub(super) type IdKey = [u8; KEY_BYTES];

/// A UUID has 122 bits of its own, a half of them is 61.
const HALF: u32 = 61;
const MASK: u64 = (1 << HALF) - 1;

/// Encrypts cursors into ids, and decrypts them. The key is the log's own and stays in it.
pub(super) struct IdCipher {
    permutation: Aes128,
    digest: Aes128,
}

impl IdCipher {
    pub(super) fn new(key: &IdKey) -> Self {
        let mut halves = [[0; 16]; 2];
        halves[0].copy_from_slice(&key[..16]);
        halves[1].copy_from_slice(&key[16..]);
        Self { permutation: Aes128::new(&halves[0].into()), digest: Aes128::new(&halves[1].into()) }
    }

    /// The id of the update at this cursor: a UUID of version 8.
    pub(super) fn encrypt(&self, cursor: Cursor) -> String {
        // A Feistel network of four rounds over the UUID's own 122 bits. The left half is the cursor,
        // the right one is zero, which no forger can bring about.
        let (mut left, mut right) = (cursor.0 & MASK, 0);
        for round in 0..4 {
            (left, right) = (right, left ^ self.round(round, right));
        }
        let bits = u128::from(left) << HALF | u128::from(right);
        let (high, middle, low) = (bits >> 74, bits >> 62 & 0xfff, bits & ((1 << 62) - 1));
        Uuid::from_u128(high << 80 | 8 << 76 | middle << 64 | 2 << 62 | low).urn().to_string()
    }

    /// The cursor that an id of [`IdCipher::encrypt`] carries; `None` for any other.
    pub(super) fn decrypt(&self, id: &str) -> Option<Cursor> {
        let uuid = Uuid::try_parse(id.strip_prefix("urn:uuid:")?).ok()?.as_u128();
        let bits = uuid >> 80 << 74 | (uuid >> 64 & 0xfff) << 62 | uuid & ((1 << 62) - 1);
        let mut right = u64::try_from(bits & u128::from(MASK)).ok()?;
        let mut left = u64::try_from(bits >> HALF).ok()?;
        for round in (0..4).rev() {
            (left, right) = (right ^ self.round(round, left), left);
        }
        (right == 0).then_some(Cursor(left))
    }

    /// Whether this is the id that the cipher makes for a cursor.
    pub(super) fn has_made(&self, id: &str, cursor: Cursor) -> bool {
        self.decrypt(id) == Some(cursor)
    }

    /// A number for an id that a publisher gave. Ids may share one, but nobody outside can tell which.
    pub(super) fn digest(&self, id: &str) -> u64 {
        let mut block = [0; 16];
        block[8..].copy_from_slice(&(id.len() as u64).to_le_bytes());
        for chunk in id.as_bytes().chunks(16) {
            self.digest.encrypt_block((&mut block).into());
            for (byte, text) in block.iter_mut().zip(chunk) {
                *byte ^= text;
            }
        }
        self.digest.encrypt_block((&mut block).into());
        first_half(&block)
    }

    fn round(&self, round: u8, half: u64) -> u64 {
        let mut block = [0; 16];
        block[..8].copy_from_slice(&half.to_le_bytes());
        block[15] = round;
        self.permutation.encrypt_block((&mut block).into());
        first_half(&block) & MASK
    }
}

fn first_half(block: &[u8; 16]) -> u64 {
    let mut half = [0; 8];
    half.copy_from_slice(&block[..8]);
    u64::from_le_bytes(half)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_id_is_decrypted_to_its_cursor_with_its_key_only(cursor in 0..=MASK, key: [u8; KEY_BYTES], other: [u8; KEY_BYTES]) {
            let id = IdCipher::new(&key).encrypt(Cursor(cursor));
            prop_assert_eq!(IdCipher::new(&key).decrypt(&id), Some(Cursor(cursor)));
            if key[..16] != other[..16] {
                prop_assert_eq!(IdCipher::new(&other).decrypt(&id), None);
            }
        }
    }

    #[test]
    fn an_id_is_a_uuid_of_version_8_and_neighbours_have_nothing_in_common() {
        let cipher = IdCipher::new(&[7; KEY_BYTES]);
        let ids: Vec<_> = (1..=64).map(|cursor| cipher.encrypt(Cursor(cursor))).collect();
        for id in &ids {
            let uuid = Uuid::try_parse(&id[9..]).expect("a UUID");
            assert_eq!((uuid.get_version_num(), uuid.get_variant()), (8, uuid::Variant::RFC4122));
        }
        let beginnings: std::collections::BTreeSet<_> = ids.iter().map(|id| &id[9..17]).collect();
        assert_eq!(beginnings.len(), 64);
    }

    #[test]
    fn any_other_id_carries_nothing() {
        let cipher = IdCipher::new(&[7; KEY_BYTES]);
        for id in ["", "a", "urn:uuid:", "urn:uuid:5e94c686-2c0b-4f9b-958c-92ccc3bbb4eb", "5e94c686"] {
            assert_eq!(cipher.decrypt(id), None);
        }
    }

    #[test]
    fn digests_tell_ids_apart() {
        let cipher = IdCipher::new(&[7; KEY_BYTES]);
        let ids = ["", "a", "a\0", "0123456789abcdef", "0123456789abcdef0", "0123456789abcdefg"];
        let digests: std::collections::BTreeSet<_> = ids.iter().map(|id| cipher.digest(id)).collect();
        assert_eq!(digests.len(), ids.len());
    }
}
