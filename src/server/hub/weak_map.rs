//! Values that are shared by all who ask for the same, for as long as one of them holds it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

/// Keys whose values are gone are removed when this many are known, and again at twice the number that was left.
const CLEAN_UP_ABOVE: usize = 1024;

/// Values by keys, as long as somebody holds them.
pub(super) struct WeakMap<K, V>(RwLock<WeakMapState<K, V>>);

struct WeakMapState<K, V> {
    values: HashMap<K, Weak<V>>,
    clean_up_above: usize,
}

impl<K, V> Default for WeakMap<K, V> {
    fn default() -> Self {
        Self(RwLock::new(WeakMapState { values: HashMap::new(), clean_up_above: CLEAN_UP_ABOVE }))
    }
}

impl<K: Eq + Hash, V> WeakMap<K, V> {
    /// The value, if somebody holds it.
    pub(super) fn get(&self, key: &K) -> Option<Arc<V>> {
        self.read().values.get(key)?.upgrade()
    }

    /// Shares a value, and answers it, or the one that somebody else has shared under this key meanwhile.
    pub(super) fn share(&self, key: K, value: Arc<V>) -> Arc<V> {
        let mut state = self.write();
        if state.values.len() >= state.clean_up_above {
            state.remove_unused();
        }
        let shared = state.values.entry(key).or_default();
        if let Some(earlier) = shared.upgrade() {
            return earlier;
        }
        *shared = Arc::downgrade(&value);
        value
    }

    /// Whether at most `limit` values are held, when `count` more are.
    pub(super) fn has_room_for(&self, count: usize, limit: usize) -> bool {
        if self.read().values.len() + count <= limit {
            return true;
        }
        let mut state = self.write();
        state.remove_unused();
        state.values.len() + count <= limit
    }

    fn read(&self) -> RwLockReadGuard<'_, WeakMapState<K, V>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, WeakMapState<K, V>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash, V> WeakMapState<K, V> {
    fn remove_unused(&mut self) {
        self.values.retain(|_, value| value.strong_count() > 0);
        self.clean_up_above = CLEAN_UP_ABOVE.max(2 * self.values.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_shared_for_as_long_as_it_is_held_and_takes_no_room_after_that() {
        let map = WeakMap::default();
        let first = map.share("a", Arc::new(1));
        assert_eq!(*map.share("a", Arc::new(2)), 1);
        assert!(!map.has_room_for(1, 1));
        drop(first);
        assert_eq!(map.get(&"a"), None);
        assert!(map.has_room_for(1, 1));
        assert_eq!(*map.share("a", Arc::new(3)), 3);
    }
}
