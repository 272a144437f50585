//! How the node stands in its cluster.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use crate::server::log::AppendError;

/// How long a leader may be away before updates are refused at once instead of waiting for the next one.
const GRACE: Duration = Duration::from_secs(4);

/// How the node stands in its cluster, for those who append and for those who ask.
#[derive(Debug, Default)]
pub(super) struct Status(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    /// What the stream's leader said last.
    stream: StreamStatus,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Nothing is known yet.
    #[default]
    Connecting,
    /// It copies what it does not have yet.
    CatchingUp,
    /// It has what there is.
    Following,
    /// Nobody answers, since then.
    Away(Instant, String),
    /// It must not go on.
    Unfit(String),
}

/// What a node knows of the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamStatus {
    /// Its name.
    pub name: String,
    /// The version of the NATS server that this node is connected to.
    pub server_version: String,
    /// The name of the NATS server that leads it.
    pub leader: Option<String>,
    /// How many servers keep it, and how many of them have all of it.
    pub replicas: usize,
    /// Those that have all of it.
    pub current: usize,
    /// Its newest message's sequence number.
    pub newest: u64,
    /// The newest one that this node has.
    pub applied: u64,
    /// How often it has lost what it had acknowledged.
    pub epoch: u64,
}

impl StreamStatus {
    /// How many messages this node does not have yet.
    pub fn lag(&self) -> u64 {
        self.newest.saturating_sub(self.applied)
    }

    /// What an operator should look at.
    pub fn concern(&self) -> Option<String> {
        if self.epoch > 0 {
            let times = self.epoch;
            return Some(format!(
                "the stream has lost acknowledged updates, {times} times so far: see docs/cluster.md"
            ));
        }
        if self.current < self.replicas {
            return Some(
                "not all NATS servers have all of the stream: if one more fails, updates may not be taken".into(),
            );
        }
        if self.is_old() {
            let version = &self.server_version;
            return Some(format!("the NATS server is {version}: before 2.15, flushing each message is too slow"));
        }
        (self.replicas == 1).then(|| "one NATS server alone keeps the stream: nothing is left if it fails".into())
    }

    fn is_old(&self) -> bool {
        let mut parts = self.server_version.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
        parts.next().zip(parts.next()).is_some_and(|version| version < (2, 15))
    }
}

impl Status {
    /// Whether an append may be tried now.
    pub(super) fn takes_updates(&self) -> Result<(), AppendError> {
        let unavailable = |reason: String| Err(AppendError::Unavailable(reason));
        let state = self.state();
        match &state.phase {
            Phase::Following => Ok(()),
            Phase::Away(since, _) if since.elapsed() < GRACE => Ok(()),
            Phase::Away(_, reason) | Phase::Unfit(reason) => unavailable(reason.clone()),
            Phase::Connecting => unavailable("the connection to the NATS servers is not there yet".into()),
            Phase::CatchingUp => unavailable(format!("this node is catching up: {} messages", state.stream.lag())),
        }
    }

    /// The node has everything that the stream's leader had when it was asked.
    pub(super) fn set_following(&self) {
        let mut state = self.state();
        if state.phase != Phase::Following {
            info!(applied = state.stream.applied, leader = state.stream.leader, "this node follows the cluster's log");
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

    pub(super) fn set_away(&self, reason: String) {
        let mut state = self.state();
        match &state.phase {
            Phase::Away(..) | Phase::Unfit(_) => {}
            _ => {
                warn!(reason, "the cluster does not answer: readers go on with what is here");
                state.phase = Phase::Away(Instant::now(), reason);
            }
        }
    }

    pub(super) fn set_unfit(&self, reason: String) {
        let mut state = self.state();
        let phase = Phase::Unfit(reason);
        if state.phase != phase {
            if let Phase::Unfit(reason) = &phase {
                error!(reason, "this node can't follow the cluster's log");
            }
            state.phase = phase;
        }
    }

    pub(super) fn stream(&self) -> StreamStatus {
        self.state().stream.clone()
    }

    pub(super) fn set_stream(&self, change: impl FnOnce(&mut StreamStatus)) {
        change(&mut self.state().stream);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
