//! The options of a node.

use std::path::PathBuf;
use std::time::Duration;

use super::ClusterSecret;

/// The options of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterOptions {
    /// The NATS servers' URLs: `nats://HOST:PORT`, or `tls://` for TLS.
    pub servers: Vec<String>,
    /// The stream's name; its subjects begin with it: `NAME.log` and others.
    pub stream: String,
    /// This node's name, unique in the cluster.
    pub node: String,
    /// Number of NATS servers that store the stream, if this node creates it.
    pub replicas: usize,
    /// Whether this node creates the stream if it doesn't exist.
    pub creates_stream: bool,
    /// The secret that all nodes share.
    pub secret: ClusterSecret,
    /// This node's credentials for NATS.
    pub credentials: Credentials,
    /// PEM file with CA certificates to trust beside the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM files with the client certificate and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Maximum time that an append waits for the stream.
    pub patience: Duration,
}

/// Credentials for NATS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    /// None beside what the URL has.
    #[default]
    None,
    /// A `.creds` file, with a JWT and an nkey.
    File(PathBuf),
    /// A user name, and the file with the password.
    Password(String, PathBuf),
    /// The file with the token.
    Token(PathBuf),
}

impl ClusterOptions {
    /// Default of [`ClusterOptions::patience`]: longer than the election of a leader takes.
    pub const PATIENCE: Duration = Duration::from_secs(10);

    /// The subject of the stream's messages.
    pub(super) fn subject(&self) -> String {
        format!("{}.log", self.stream)
    }

    /// The subject of control messages that are not stored.
    pub(super) fn broadcast_subject(&self) -> String {
        format!("{}.broadcast", self.stream)
    }

    /// The subject on which nodes report their state.
    pub(super) fn report_subject(&self) -> String {
        format!("{}.nodes", self.stream)
    }

    /// The subject on which the stream republishes its messages.
    pub(super) fn live_subject(&self) -> String {
        format!("{}.live", self.stream)
    }
}
