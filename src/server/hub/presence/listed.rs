//! Open subscriptions in the order of their topics.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use uuid::Uuid;

use super::{ActiveSubscription, Target};
use crate::server::hub::sessions::SubscriptionList;

/// Open subscriptions: by what their topics begin with, and by their subscribers.
#[derive(Default)]
pub(in crate::server::hub) struct Listed(BTreeMap<Arc<str>, BTreeMap<Uuid, Arc<Target>>>);

impl Listed {
    pub(in crate::server::hub) fn insert(&mut self, target: &Arc<Target>, subscriber: Uuid) {
        self.0.entry(target.path().clone()).or_default().insert(subscriber, target.clone());
    }

    pub(in crate::server::hub) fn remove(&mut self, path: &str, subscriber: Uuid) {
        let Some(subscribers) = self.0.get_mut(path) else { return };
        subscribers.remove(&subscriber);
        if subscribers.is_empty() {
            self.0.remove(path);
        }
    }

    /// Removes those whose subscriber is one of these, and answers them.
    pub(in crate::server::hub) fn remove_all(&mut self, of: impl Fn(Uuid) -> bool) -> Vec<ActiveSubscription> {
        let mut removed = Vec::new();
        self.0.retain(|_, subscribers| {
            subscribers.retain(|subscriber, target| {
                let is_kept = !of(*subscriber);
                if !is_kept {
                    removed.push(active((*subscriber, target.clone())));
                }
                is_kept
            });
            !subscribers.is_empty()
        });
        removed
    }

    /// All of them.
    pub(in crate::server::hub) fn all(&self) -> impl Iterator<Item = ActiveSubscription> + '_ {
        self.0.values().flatten().map(|(subscriber, target)| active((*subscriber, target.clone())))
    }

    /// A target that somebody here has already, with this path.
    pub(super) fn target(&self, path: &str) -> Option<&Arc<Target>> {
        self.0.get(path)?.values().next()
    }

    /// Those whose topics lie below `topic`, after the topic `after`, at most `limit`.
    pub(in crate::server::hub) fn list(&self, topic: &str, after: Option<&str>, limit: usize) -> SubscriptionList {
        let below = format!("{topic}/");
        let from = |path: &str| {
            let range = self.0.range::<str, _>((Bound::Included(path), Bound::Unbounded));
            range.take_while(|(path, _)| path.starts_with(&below))
        };
        let total = from(&below).map(|(_, subscribers)| subscribers.len()).sum();
        let (after_path, after_subscriber) = after.map(ActiveSubscription::parts).unwrap_or_default();
        let rest = from(after_path.max(&below)).flat_map(|(path, subscribers)| {
            let begin = match after_subscriber.filter(|_| **path == *after_path) {
                Some(subscriber) => Bound::Excluded(subscriber),
                None => Bound::Unbounded,
            };
            subscribers.range((begin, Bound::Unbounded))
        });
        let rest = rest.map(|(subscriber, target)| active((*subscriber, target.clone())));
        let mut subscriptions: Vec<_> = rest.take(limit.saturating_add(1)).collect();
        let more = subscriptions.len() > limit;
        subscriptions.truncate(limit);
        SubscriptionList { subscriptions, total, more }
    }

    /// The one with this topic.
    pub(in crate::server::hub) fn get(&self, topic: &str) -> Option<ActiveSubscription> {
        let (path, subscriber) = ActiveSubscription::parts(topic);
        let subscriber = subscriber?;
        Some(active((subscriber, self.0.get(path)?.get(&subscriber)?.clone())))
    }

    #[cfg(test)]
    pub(in crate::server::hub) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn active((subscriber, target): (Uuid, Arc<Target>)) -> ActiveSubscription {
    ActiveSubscription::new(target, subscriber)
}
