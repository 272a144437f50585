//! The state of a whole cluster, for an operator: its stream, the stream's replicas, and the nodes.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout, timeout_at};

use super::connect::Connector;
use super::stream::{Stream, StreamError};
use super::{ClusterOptions, OpenError};
use crate::server::log::Retention;

/// Time between two reports of a node.
pub(super) const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// How long reports are collected, and how long the stream may take to answer.
const COLLECT_TIME: Duration = Duration::from_secs(3);

/// What a node reports of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    /// Its name.
    pub node: String,
    /// The version of tidings.
    pub version: String,
    /// The sequence number of the last message that it has copied.
    pub applied: u64,
    /// The epoch that it knows.
    pub epoch: u64,
    /// When it sent the report.
    pub at: DateTime<Utc>,
}

/// A NATS server that stores the stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReplicaReport {
    /// Its name.
    pub server: String,
    /// Whether it leads the stream.
    pub leads: bool,
    /// Whether it has all messages.
    pub current: bool,
    /// Number of operations that it lags behind.
    pub lag: u64,
}

/// The state of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClusterReport {
    /// The stream's name.
    pub stream: String,
    /// Number of its messages.
    pub messages: u64,
    /// Bytes of its messages.
    pub bytes: u64,
    /// The sequence number of its last message.
    pub newest: u64,
    /// Its epochs: each with the sequence number that it starts at.
    pub epochs: String,
    /// The NATS servers that store it.
    pub replicas: Vec<ReplicaReport>,
    /// The nodes that have reported.
    pub nodes: Vec<NodeReport>,
}

impl ClusterReport {
    /// Asks the stream's leader, and collects the reports of all nodes, which takes some seconds.
    ///
    /// It fails if no NATS server or no leader answers, or if the stream doesn't exist.
    pub async fn collect(options: &ClusterOptions) -> Result<Self, OpenError> {
        let failed =
            |error: &dyn std::fmt::Display| OpenError::Cluster(format!("the cluster does not answer: {error}"));
        let client = Connector::new(options, |_| {})?.connect().await.map_err(|error| failed(&error))?;
        let stream = Stream::new(client, options, &Retention::default());
        let info = async {
            loop {
                match stream.info().await {
                    // Not connected yet.
                    Err(StreamError::Unavailable(_)) => {}
                    answer => return answer,
                }
            }
        };
        let info = timeout(2 * COLLECT_TIME, info).await;
        let info = info.map_err(|_| failed(&"timeout"))?.map_err(|error| failed(&error))?;
        let mut reports = stream.reports().await.map_err(|error| failed(&error))?;
        let (deadline, mut nodes) = (Instant::now() + COLLECT_TIME, BTreeMap::new());
        while let Ok(Some(message)) = timeout_at(deadline, reports.next()).await {
            if let Ok(report) = serde_json::from_slice::<NodeReport>(&message.payload) {
                nodes.insert(report.node.clone(), report);
            }
        }
        let cluster = info.cluster.unwrap_or_default();
        let leader = cluster.leader.map(|server| ReplicaReport { server, leads: true, current: true, lag: 0 });
        let followers = cluster.replicas.into_iter().map(|peer| ReplicaReport {
            server: peer.name,
            leads: false,
            current: peer.current && !peer.offline,
            lag: peer.lag.unwrap_or(0),
        });
        Ok(Self {
            messages: info.state.messages,
            bytes: info.state.bytes,
            newest: info.state.last_sequence,
            epochs: Stream::epochs(&info.config).map_err(|error| failed(&error))?.to_string(),
            stream: info.config.name,
            replicas: leader.into_iter().chain(followers).collect(),
            nodes: nodes.into_values().collect(),
        })
    }
}
