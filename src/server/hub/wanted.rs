//! What sessions want: those that asked for the same share it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::matcher::{MatchType, Matcher, Matchers};
use super::presence::{Presence, Target};
use super::rights::Rights;
use crate::server::log::Topic;

/// Unused ones are removed when this many are known, and again at twice the number that was left.
const CLEAN_UP_ABOVE: usize = 1024;

/// What a session wants and may have, and what presence tells of it.
#[derive(Debug)]
pub struct Wanted {
    matchers: Arc<Matchers>,
    targets: Box<[Arc<Target>]>,
}

/// Everything that sessions want.
#[derive(Default)]
pub(super) struct AllWanted(Mutex<State>);

struct State {
    by_key: HashMap<Key, Weak<Wanted>>,
    clean_up_above: usize,
}

/// What was asked for, in its order, and the address of the rights, which are held as long as this is wanted.
type Key = (Box<[(MatchType, Topic)]>, usize);

impl Default for State {
    fn default() -> Self {
        Self { by_key: HashMap::new(), clean_up_above: CLEAN_UP_ABOVE }
    }
}

impl Wanted {
    /// What presence does not tell of.
    pub(super) fn untold(matchers: Arc<Matchers>) -> Arc<Self> {
        Arc::new(Self { matchers, targets: Box::default() })
    }

    /// What is wanted and may be had.
    pub fn matchers(&self) -> &Arc<Matchers> {
        &self.matchers
    }

    pub(super) fn targets(&self) -> &[Arc<Target>] {
        &self.targets
    }
}

impl AllWanted {
    /// What somebody wants who asked for these matchers and has these rights. `presence` tells of it, if it is given.
    pub(super) fn of(&self, asked: &[Matcher], rights: &Arc<Rights>, presence: Option<&Presence>) -> Arc<Wanted> {
        let texts = asked.iter().map(|matcher| (matcher.match_type(), matcher.topic().clone())).collect();
        let key: Key = (texts, Arc::as_ptr(rights).addr());
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = state.by_key.get(&key).and_then(Weak::upgrade) {
            return shared;
        }
        if state.by_key.len() >= state.clean_up_above {
            state.by_key.retain(|_, shared| shared.strong_count() > 0);
            state.clean_up_above = CLEAN_UP_ABOVE.max(2 * state.by_key.len());
        }
        let targets = presence.map(|presence| presence.targets(asked, rights)).unwrap_or_default();
        let wanted = Arc::new(Wanted { matchers: Arc::new(Matchers::new(asked, rights.clone())), targets });
        state.by_key.insert(key, Arc::downgrade(&wanted));
        wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(text: &str) -> Matcher {
        Matcher::exact(Topic::parse(text).expect("a topic"))
    }

    #[test]
    fn who_asks_for_the_same_with_the_same_rights_shares_it_and_nobody_else_does() {
        let all = AllWanted::default();
        let (rights, others) = (Arc::<Rights>::default(), Arc::<Rights>::default());
        let first = all.of(&[exact("a"), exact("b")], &rights, None);
        assert!(Arc::ptr_eq(&first, &all.of(&[exact("a"), exact("b")], &rights, None)));
        assert!(!Arc::ptr_eq(&first, &all.of(&[exact("a")], &rights, None)));
        assert!(!Arc::ptr_eq(&first, &all.of(&[exact("a"), exact("b")], &others, None)));
    }
}
