//! What a node of a cluster is opened with.

use std::path::PathBuf;
use std::time::Duration;

use super::ClusterSecret;

/// How a node takes part in a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterOptions {
    /// The NATS servers' URLs: `nats://HOST:PORT`, or `tls://` for TLS.
    pub servers: Vec<String>,
    /// The stream's name; its subjects are `NAME.log`, `NAME.live` and `NAME.now`.
    pub stream: String,
    /// This node's name, which no other node has.
    pub node: String,
    /// How many NATS servers keep the stream, if this node makes it.
    pub replicas: usize,
    /// What all nodes know and nobody else.
    pub secret: ClusterSecret,
    /// Who this node is for the NATS servers.
    pub credentials: Credentials,
    /// The certificates by which it trusts them, in PEM, beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Its own certificate and key, in PEM.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// How long an append may wait for the stream.
    pub patience: Duration,
}

/// Who somebody is for a NATS server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Nobody in particular, or as the URL says.
    #[default]
    None,
    /// A user with a JWT and a key: a `.creds` file.
    File(PathBuf),
    /// A user with a password, which stands in this file.
    Password(String, PathBuf),
    /// A token, which stands in this file.
    Token(PathBuf),
}

impl ClusterOptions {
    /// How long an append waits for the stream by default: longer than the election of a new leader takes.
    pub const PATIENCE: Duration = Duration::from_secs(10);

    /// The subject of the log's messages.
    pub(super) fn subject(&self) -> String {
        format!("{}.log", self.stream)
    }

    /// The subject on which nodes tell each other what is not kept.
    pub(super) fn now_subject(&self) -> String {
        format!("{}.now", self.stream)
    }

    /// The subject on which the stream says what has come into it.
    pub(super) fn live_subject(&self) -> String {
        format!("{}.live", self.stream)
    }
}
