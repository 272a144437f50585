//! Importing exported updates into a cluster.

use std::io::BufRead;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::{Instant, sleep};

use super::message::{MessageContent, SubmittedUpdate};
use super::position::PER_MESSAGE;
use super::sequencer::{Identity, MESSAGE_BYTES, approximate_size};
use super::{ClusterLog, ClusterOptions};
use crate::server::log::maintenance::{MaintenanceError, import_lines};
use crate::server::log::{AppendError, Limits, Log, OpenError, Retention, Storage, TimeSource, Update};

/// How long to wait for the stream.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);

/// Appends exported updates to a cluster's log, in their order. They keep their ids and times, and get new positions.
/// Expired updates are left out.
///
/// It fails if the stream does not exist: the first node creates it with its own retention.
pub fn import(
    options: ClusterOptions,
    input: impl BufRead,
    progress: impl FnMut(u64),
) -> Result<u64, MaintenanceError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let (log, mut tail) = runtime.block_on(open(options))?;
    // The tail holds appends back while nobody reads it.
    runtime.spawn(async move { while tail.recv().await.is_some() {} });
    import_lines(input, progress, |batch| runtime.block_on(log.append_imported(batch)))
}

async fn open(options: ClusterOptions) -> Result<(ClusterLog, crate::server::log::Tail), OpenError> {
    let retention = Retention::of(Limits { count: Some(1), ..Limits::default() });
    let options = ClusterOptions { creates_stream: false, ..options };
    let (log, tail) = ClusterLog::open(options, Storage::Memory, retention, TimeSource::system())?;
    // Control messages are for nodes.
    drop(log.control_messages());
    let deadline = Instant::now() + CONNECT_TIMEOUT;
    while let Err(error) = log.health() {
        if Instant::now() > deadline {
            return Err(OpenError::Cluster(error.to_string()));
        }
        sleep(Duration::from_millis(50)).await;
    }
    Ok((log, tail))
}

impl ClusterLog {
    async fn append_imported(&self, updates: Vec<(Update, DateTime<Utc>)>) -> Result<u64, AppendError> {
        let count = updates.len() as u64;
        let submitted = |(update, at)| SubmittedUpdate { update, at: Some(at), is_system: false };
        let (mut content, mut bytes) = (MessageContent::default(), 0);
        for submitted in updates.into_iter().map(submitted) {
            let size = approximate_size(&submitted.update);
            if !content.updates.is_empty() && (bytes + size > MESSAGE_BYTES || content.updates.len() == PER_MESSAGE) {
                self.submit(std::mem::take(&mut content), Identity::None).await?;
                bytes = 0;
            }
            bytes += size;
            content.updates.push(submitted);
        }
        self.submit(content, Identity::None).await?;
        Ok(count)
    }
}
