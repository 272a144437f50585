//! What the log holds by topic: the archive's rows, and what the archive has not got yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Shared;
use super::failure::Failure;
use super::snapshot::Snapshot;
use crate::server::log::{Cursor, Entry, Lane, Topic, TopicInfo};

impl Shared {
    pub(super) async fn topic(self: &Arc<Self>, topic: &Topic) -> Result<Option<TopicInfo>, Failure> {
        let wanted = topic.clone();
        let archived = move |shared: &Self, snapshot: &Snapshot| {
            Ok(snapshot.topic_info(&wanted, &shared.topics)?.into_iter().collect())
        };
        let mut infos = self.topics_with(archived, |on| on == topic).await?;
        Ok(infos.remove(topic))
    }

    pub(super) async fn topics_after(
        self: &Arc<Self>,
        after: Option<&Topic>,
        limit: usize,
    ) -> Result<Vec<TopicInfo>, Failure> {
        let begin = after.cloned();
        let archived =
            move |shared: &Self, snapshot: &Snapshot| snapshot.topic_infos(begin.as_ref(), limit, &shared.topics);
        let infos = self.topics_with(archived, |topic| after.is_none_or(|after| topic > after)).await?;
        let mut infos: Vec<_> = infos.into_values().collect();
        infos.truncate(limit);
        Ok(infos)
    }

    /// What the archive says of topics, with what is not archived yet on those that `counts`.
    async fn topics_with(
        self: &Arc<Self>,
        archived: impl Fn(&Self, &Snapshot) -> Result<Vec<TopicInfo>, Failure> + Clone + Send + 'static,
        counts: impl Fn(&Topic) -> bool + Send,
    ) -> Result<BTreeMap<Topic, TopicInfo>, Failure> {
        let (infos, rest) = loop {
            let archived = archived.clone();
            let (infos, newest) =
                self.read(move |shared, snapshot| Ok((archived(shared, snapshot)?, snapshot.totals.newest))).await?;
            let unarchived = self.unarchived();
            if unarchived.archived <= newest {
                break (infos, unarchived.after(newest).cloned().collect::<Vec<_>>());
            }
        };
        let mut infos: BTreeMap<_, _> = infos.into_iter().map(|info| (info.topic.clone(), info)).collect();
        for entry in rest.iter().filter(|entry| entry.lane != Lane::System) {
            add(&mut infos, entry, &counts);
        }
        Ok(infos)
    }
}

fn add(infos: &mut BTreeMap<Topic, TopicInfo>, entry: &Arc<Entry>, counts: impl Fn(&Topic) -> bool) {
    for (index, topic) in entry.topics.iter().enumerate().filter(|(_, topic)| counts(topic)) {
        if entry.topics[..index].contains(topic) {
            continue;
        }
        let none = || TopicInfo { topic: topic.clone(), updates: 0, bytes: 0, newest: Cursor::START };
        let info = infos.entry(topic.clone()).or_insert_with(none);
        info.updates += 1;
        info.bytes += entry.size() as u64;
        info.newest = entry.cursor;
    }
}
