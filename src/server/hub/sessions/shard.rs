//! A shard of the sessions. What they want is evaluated outside its lock.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use slab::Slab;
use tokio::sync::Notify;

use super::index::{Index, IndexKeys, SessionKey, SubscribedPatterns, TopicMatches};
use super::{NewSession, RevocationTarget, SubscriptionList};
use crate::server::hub::batch::{Batch, Selection};
use crate::server::hub::mailbox::{EndReason, Mailbox};
use crate::server::hub::matcher::Matchers;
use crate::server::hub::pattern::Candidate;
use crate::server::hub::presence::{ActiveSubscription, Listed};
use crate::server::log::{Cursor, Entry};

/// The sessions of one shard: one table under one lock.
pub(in crate::server::hub) struct Shard {
    /// The path below which presence events have their topics: they are matched only against who may read them.
    presence_root: Box<str>,
    table: Mutex<Table>,
    /// Notified when a session may expire before all others.
    pub(super) expiry_added: Notify,
}

#[derive(Default)]
pub(super) struct Table {
    /// In boxes: the slab has room for up to twice as many.
    pub(super) records: Slab<Box<Record>>,
    index: Index,
    presence_index: Index,
    /// The subscribers that presence lists, by the beginning of their subscriptions' topics.
    listed: Listed,
    /// The sessions whose tokens expire, first those that expire first.
    pub(super) expiries: BTreeSet<(DateTime<Utc>, SessionKey)>,
    /// What has been fanned out. A session that is opened now begins after it.
    position: Cursor,
    pub(super) draining: bool,
}

pub(super) struct Record {
    pub(super) session: NewSession,
    keys: IndexKeys,
    /// What it may hear of presence, and its places in that index.
    presence: Option<Box<(Matchers, IndexKeys)>>,
    /// Whether it has a right to any private update.
    may_read_private: bool,
}

/// A session that is to be offered entries of a batch.
pub(in crate::server::hub) struct Selected {
    pub(in crate::server::hub) mailbox: Arc<Mailbox>,
    pub(in crate::server::hub) selection: Selection,
    /// Present where the selection has private entries: whether the session may have them is to be evaluated.
    pub(in crate::server::hub) matchers: Option<Arc<Matchers>>,
}

/// Selects sessions without allocating for each batch.
#[derive(Default)]
pub(in crate::server::hub) struct Scratch {
    selections: Vec<Selection>,
    touched: Vec<SessionKey>,
    pub(in crate::server::hub) selected: Vec<Selected>,
    behind: Vec<Arc<Mailbox>>,
}

impl Shard {
    /// An empty table. Sessions begin after `position`.
    pub(super) fn new(presence_root: Box<str>, position: Cursor) -> Self {
        let table = Table { position, ..Table::default() };
        Self { presence_root, table: Mutex::new(table), expiry_added: Notify::new() }
    }

    /// Opens a session, and answers its key and the position it begins after. Every entry that is fanned out from now
    /// on, and that it wants, is offered to its mailbox. A session opened during a drain is ended at once.
    pub(super) fn insert(&self, session: NewSession) -> (SessionKey, Cursor) {
        let below = session.matchers().and_then(|matchers| matchers.below(&self.presence_root));
        let may_read_private = session.matchers().is_some_and(|matchers| matchers.rights().may_read_private());
        let mut guard = self.table();
        let table = &mut *guard;
        if table.draining {
            session.mailbox.end(EndReason::Shutdown);
        }
        let entry = table.records.vacant_entry();
        let key = entry.key();
        let keys = session.matchers().map(|matchers| table.index.insert(matchers, key)).unwrap_or_default();
        let presence = below.map(|below| {
            let keys = table.presence_index.insert(&below, key);
            Box::new((below, keys))
        });
        for target in session.targets() {
            table.listed.insert(target, session.mailbox.subscriber());
        }
        if let Some(expires) = session.expires {
            table.expiries.insert((expires, key));
            self.expiry_added.notify_one();
        }
        entry.insert(Box::new(Record { session, keys, presence, may_read_private }));
        (key, table.position)
    }

    /// Removes a session from the table and all its indexes, and answers what the table was told of it.
    pub(super) fn remove(&self, key: SessionKey) -> Option<NewSession> {
        let mut guard = self.table();
        let table = &mut *guard;
        let record = table.records.try_remove(key)?;
        if let Some(matchers) = record.session.matchers() {
            table.index.remove(matchers, &record.keys);
        }
        if let Some(presence) = &record.presence {
            table.presence_index.remove(&presence.0, &presence.1);
        }
        if let Some(expires) = record.session.expires {
            table.expiries.remove(&(expires, key));
        }
        for target in record.session.targets() {
            table.listed.remove(target.path(), record.session.mailbox.subscriber());
        }
        // What the record holds is freed outside the lock.
        drop(guard);
        Some(record.session)
    }

    /// Moves the position behind the batch, and collects the sessions that want entries of it: `matches` are those of
    /// each entry's topics, in order. Whether they may have the private ones is left to evaluate.
    pub(in crate::server::hub) fn select(&self, batch: &Batch, matches: &[Vec<TopicMatches>], scratch: &mut Scratch) {
        let Scratch { selections, touched, selected, behind } = scratch;
        let mut table = self.table();
        selections.resize(table.records.capacity(), Selection::NONE);
        for (n, (entry, matches)) in batch.entries().iter().zip(matches).enumerate() {
            let is_presence = self.is_presence(entry);
            let index = if is_presence { &table.presence_index } else { &table.index };
            let mut select = |key: SessionKey| {
                if entry.private && !table.records.get(key).is_some_and(|record| record.may_read_private) {
                    return;
                }
                let Some(selection) = selections.get_mut(key) else { return };
                if selection.is_empty() {
                    touched.push(key);
                }
                selection.insert(n);
            };
            index.select_everything(&mut select);
            for (topic, matches) in entry.topics.iter().zip(matches) {
                index.select(topic, matches, &mut select);
            }
            // Their patterns were subscribed to after the topic was compared with all there were.
            if let Some(checked_up_to) = matches.iter().map(|matches| matches.checked_up_to).min() {
                let records = &table.records;
                index.select_newer(checked_up_to, |key| {
                    behind.extend(records.get(key).map(|record| record.session.mailbox.clone()));
                });
            }
        }
        table.position = table.position.max(batch.last());
        let private = batch.private();
        for key in touched.drain(..) {
            let selection = std::mem::take(&mut selections[key]);
            let Some(session) = table.records.get(key).map(|record| &record.session) else { continue };
            let has_private = !selection.and(private).is_empty();
            let matchers = session.matchers().filter(|_| has_private).cloned();
            selected.push(Selected { mailbox: session.mailbox.clone(), selection, matchers });
        }
        drop(table);
        behind.drain(..).for_each(|mailbox| mailbox.fall_behind());
    }

    /// The patterns that this entry's topics are to be compared with.
    pub(in crate::server::hub) fn subscribed(&self, is_presence: bool) -> Arc<SubscribedPatterns> {
        let table = self.table();
        let index = if is_presence { &table.presence_index } else { &table.index };
        index.subscribed().clone()
    }

    /// Whether the entry is a presence event: nobody else may publish on its topics.
    pub(in crate::server::hub) fn is_presence(&self, entry: &Entry) -> bool {
        entry.topics.first().is_some_and(|topic| topic.as_str().starts_with(&*self.presence_root))
    }

    /// Ends sessions, and answers how many.
    pub(super) fn end(&self, target: RevocationTarget<'_>) -> usize {
        let mut found = Vec::new();
        for (_, record) in &self.table().records {
            let session = &record.session;
            let holder = session.holder.as_deref();
            let is_meant = match target {
                RevocationTarget::Subject { issuer, subject } => {
                    holder.is_some_and(|holder| holder.issuer() == issuer && holder.subject() == subject)
                }
                RevocationTarget::Token { issuer, id } => {
                    holder.is_some_and(|holder| holder.issuer() == issuer && holder.token_id() == id)
                }
                RevocationTarget::Topic(_) => session.client.is_some() && session.wanted.is_some(),
            };
            if is_meant {
                found.push((session.mailbox.clone(), session.matchers().cloned()));
            }
        }
        if let RevocationTarget::Topic(topic) = target {
            let topic = Candidate::new(topic);
            found.retain(|(_, matchers)| matchers.as_ref().is_some_and(|matchers| matchers.match_topic(&topic)));
        }
        found.iter().for_each(|(mailbox, _)| mailbox.end(EndReason::Revoked));
        found.len()
    }

    /// The open subscriptions whose topics lie below `topic`, after the topic `after`, at most `limit`: in the order of
    /// what they have in common, then of their subscribers.
    pub(super) fn list(&self, topic: &str, after: Option<&str>, limit: usize) -> SubscriptionList {
        self.table().listed.list(topic, after, limit)
    }

    /// The open subscription with this topic.
    pub(super) fn subscription(&self, topic: &str) -> Option<ActiveSubscription> {
        self.table().listed.get(topic)
    }

    /// What has been fanned out.
    #[cfg(test)]
    pub(super) fn position(&self) -> Cursor {
        self.table().position
    }

    /// Whether nothing is left of any session.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let table = self.table();
        table.records.is_empty()
            && table.index.is_empty()
            && table.presence_index.is_empty()
            && table.expiries.is_empty()
            && table.listed.is_empty()
    }

    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
