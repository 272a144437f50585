//! The end of all sessions at a shutdown, spread over a few seconds: clients that are all cut at once would all come
//! back at once.

use std::time::Duration;

use rand::seq::SliceRandom;
use tokio::time::sleep;

use super::Sessions;
use crate::server::hub::mailbox::EndReason;

/// With so many sessions the end takes all of its time, with fewer a part of it.
const MANY: f64 = 6000.0;

/// Time between two steps.
const STEP: Duration = Duration::from_millis(10);

impl Sessions {
    /// Ends every session, in random order, within this time. Sessions that are opened meanwhile end at once.
    pub(in crate::server::hub) async fn drain(&self, time: Duration) {
        let mut mailboxes = Vec::new();
        for shard in self.shards() {
            let mut table = shard.table();
            table.draining = true;
            mailboxes.extend(table.records.iter().map(|(_, record)| record.session.mailbox.clone()));
        }
        mailboxes.shuffle(&mut rand::rng());
        let spread = time.mul_f64((mailboxes.len() as f64 / MANY).min(1.0));
        let steps = spread.div_duration_f64(STEP).max(1.0);
        let in_a_step = (mailboxes.len() as f64 / steps).ceil() as usize;
        for chunk in mailboxes.chunks(in_a_step.max(1)) {
            chunk.iter().for_each(|mailbox| mailbox.end(EndReason::Shutdown));
            sleep(STEP).await;
        }
    }
}
