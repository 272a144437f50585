//! The node's status in its cluster.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use crate::server::log::AppendError;

/// After this time without a leader, appends are refused at once. Before, they wait for the election.
const GRACE: Duration = Duration::from_secs(4);

/// The node's status.
#[derive(Debug, Default)]
pub(super) struct Status(Mutex<ClusterState>);

#[derive(Debug, Default)]
struct ClusterState {
    phase: Phase,
    /// The leader's last answer.
    stream: StreamStatus,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Not connected yet.
    #[default]
    Connecting,
    /// Copying messages that the stream already has.
    CatchingUp,
    /// The store has all messages.
    Following,
    /// No answer since then, and the reason.
    Disconnected(Instant, String),
    /// An operator has to act.
    Halted(String),
}

/// The status of the stream, as this node knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamStatus {
    /// Its name.
    pub name: String,
    /// The version of the NATS server that this node is connected to.
    pub server_version: String,
    /// The name of the NATS server that leads it.
    pub leader: Option<String>,
    /// Number of servers that are configured to store the stream.
    pub replicas: usize,
    /// Number of servers that have all messages.
    pub current: usize,
    /// The sequence number of the last message in the stream.
    pub newest: u64,
    /// The sequence number of the last message in this node's store.
    pub applied: u64,
    /// How many times the stream has lost acknowledged messages.
    pub epoch: u64,
}

impl StreamStatus {
    /// Number of messages that this node lacks.
    pub fn lag(&self) -> u64 {
        self.newest.saturating_sub(self.applied)
    }

    /// A warning for the operator.
    pub fn concern(&self) -> Option<String> {
        if self.epoch > 0 {
            let times = self.epoch;
            return Some(format!("the stream has lost acknowledged updates {times} times: see docs/cluster.md"));
        }
        if self.current < self.replicas {
            return Some("not all NATS servers have all messages: if one more fails, updates may be refused".into());
        }
        if self.is_old() {
            let version = &self.server_version;
            return Some(format!(
                "the NATS server is version {version}: upgrade to 2.15 or newer, where flushing each message is affordable"
            ));
        }
        (self.replicas == 1)
            .then(|| "only one NATS server stores the stream: if its disk fails, the log is lost".into())
    }

    fn is_old(&self) -> bool {
        let mut parts = self.server_version.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
        parts.next().zip(parts.next()).is_some_and(|version| version < (2, 15))
    }
}

impl Status {
    /// Whether the node accepts appends; otherwise why not.
    pub(super) fn takes_updates(&self) -> Result<(), AppendError> {
        let unavailable = |reason: String| Err(AppendError::Unavailable(reason));
        let state = self.state();
        match &state.phase {
            Phase::Following => Ok(()),
            Phase::Disconnected(since, _) if since.elapsed() < GRACE => Ok(()),
            Phase::Disconnected(_, reason) | Phase::Halted(reason) => unavailable(reason.clone()),
            Phase::Connecting => unavailable("not connected to a NATS server yet".into()),
            Phase::CatchingUp => {
                unavailable(format!("this node is catching up and lacks {} messages", state.stream.lag()))
            }
        }
    }

    /// The store has all messages that the leader had.
    pub(super) fn set_following(&self) {
        let mut state = self.state();
        if state.phase != Phase::Following {
            info!(
                applied = state.stream.applied,
                leader = state.stream.leader,
                "this node has caught up with the cluster's log"
            );
            if let Some(concern) = state.stream.concern() {
                warn!("{concern}");
            }
            state.phase = Phase::Following;
        }
    }

    pub(super) fn set_catching_up(&self) {
        let mut state = self.state();
        if state.phase != Phase::CatchingUp {
            info!(messages = state.stream.lag(), "catching up with the cluster's log");
            state.phase = Phase::CatchingUp;
        }
    }

    pub(super) fn set_disconnected(&self, reason: String) {
        let mut state = self.state();
        match &state.phase {
            Phase::Disconnected(..) | Phase::Halted(_) => {}
            _ => {
                warn!(
                    reason,
                    "the cluster does not answer: this node serves readers from its copy, and refuses updates"
                );
                state.phase = Phase::Disconnected(Instant::now(), reason);
            }
        }
    }

    pub(super) fn set_halted(&self, reason: String) {
        let mut state = self.state();
        if !matches!(&state.phase, Phase::Halted(known) if *known == reason) {
            error!(reason, "this node can't follow the cluster's log");
            state.phase = Phase::Halted(reason);
        }
    }

    pub(super) fn stream(&self) -> StreamStatus {
        self.state().stream.clone()
    }

    pub(super) fn set_stream(&self, change: impl FnOnce(&mut StreamStatus)) {
        change(&mut self.state().stream);
    }

    fn state(&self) -> MutexGuard<'_, ClusterState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
