//! The hub's own events in the archive. They have no index of topics: who wants any looks at all of them, whose number is
//! bounded, one part after the other.

use std::sync::Arc;

use tokio::task::yield_now;

use super::Shared;
use super::failure::Failure;
use super::read_state::{SCAN_LIMIT, SLICE, WantedSystem};
use super::snapshot::{Look, Seen};
use crate::server::log::{Cursor, TopicFilter};

/// How many bytes of them a read looks at before it answers.
const SCAN_BYTES: usize = 1 << 20;

impl Shared {
    /// The places after `cursor` of the hub's own events that a filter wants, in order, and up to where that is all of
    /// them: at most `to`.
    pub(super) async fn wanted_system(
        self: &Arc<Self>,
        cursor: Cursor,
        to: Cursor,
        filter: &dyn TopicFilter,
        wanted: &mut WantedSystem,
    ) -> Result<(Vec<Cursor>, Cursor), Failure> {
        wanted.cursors.drain(..wanted.cursors.partition_point(|place| *place <= cursor));
        let from = wanted.up_to.max(cursor);
        if from < to && wanted.cursors.len() < SCAN_LIMIT {
            let look = Look::at_all(SCAN_LIMIT, SCAN_BYTES);
            let window = self.read(move |_, snapshot| snapshot.system_window(from.next(), to, look)).await?;
            for slice in window.places.chunks(SLICE) {
                let turn = self.asking.acquire().await;
                let is_wanted = |seen: &&Seen| seen.topics.names().iter().any(|topic| filter.wants(topic.as_str()));
                wanted.cursors.extend(slice.iter().filter(is_wanted).map(|seen| seen.cursor));
                drop(turn);
                yield_now().await;
            }
            wanted.up_to = if window.is_last { to } else { window.last.unwrap_or(to) };
        }
        Ok((wanted.cursors.iter().copied().collect(), wanted.up_to.max(cursor).min(to)))
    }
}
