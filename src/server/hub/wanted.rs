//! What sessions want: those that asked for the same share it.

use std::sync::Arc;

use super::matcher::{MatchType, Matcher, Matchers};
use super::presence::{Presence, Target};
use super::rights::Rights;
use super::weak_map::WeakMap;
use crate::server::log::Topic;

/// What a session wants and may have, and what presence tells of it.
#[derive(Debug)]
pub struct Wanted {
    matchers: Arc<Matchers>,
    targets: Box<[Arc<Target>]>,
}

/// Everything that sessions want.
#[derive(Default)]
pub(super) struct AllWanted(WeakMap<Key, Wanted>);

/// What was asked for, in its order, and the address of the rights, which are held as long as this is wanted.
type Key = (Box<[(MatchType, Topic)]>, usize);

impl Wanted {
    /// What presence does not list.
    pub fn unlisted(matchers: Arc<Matchers>) -> Arc<Self> {
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
    /// What somebody wants who asked for these matchers and has these rights. `presence` tells of it, if it is given; its
    /// events are below `root`.
    pub(super) fn of(
        &self,
        asked: &[Matcher],
        rights: &Arc<Rights>,
        root: &str,
        presence: Option<&Presence>,
    ) -> Arc<Wanted> {
        let texts = asked.iter().map(|matcher| (matcher.match_type(), matcher.topic().clone())).collect();
        let key: Key = (texts, Arc::as_ptr(rights).addr());
        if let Some(shared) = self.0.get(&key) {
            return shared;
        }
        let matchers = Matchers::new(asked, rights.clone()).with_presence_below(root);
        let targets = presence.map(|presence| presence.targets(asked, rights)).unwrap_or_default();
        self.0.share(key, Arc::new(Wanted { matchers: Arc::new(matchers), targets }))
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
        let of = |asked: &[Matcher], rights| all.of(asked, rights, "/", None);
        let first = of(&[exact("a"), exact("b")], &rights);
        assert!(Arc::ptr_eq(&first, &of(&[exact("a"), exact("b")], &rights)));
        assert!(!Arc::ptr_eq(&first, &of(&[exact("a")], &rights)));
        assert!(!Arc::ptr_eq(&first, &of(&[exact("a"), exact("b")], &others)));
    }
}
