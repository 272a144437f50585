//! Why a log could not be opened, read or written.

use std::path::PathBuf;

use thiserror::Error;

/// Why a log could not be opened. Says which file it is about and what to do.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error(
        "the log in {} is open in another process: stop that one first, or give this one a folder of its own",
        .0.display()
    )]
    Locked(PathBuf),
    /// It can't be read, made or written.
    #[error("the log's file {} can't be used: {error}. Check that the folder exists and that this user may write in it", path.display())]
    NotWritable {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The folder can't be locked.
    #[error(
        "the log's folder can't be locked: flock on {} failed: {error}. Two servers could write there at once. Put the \
         data on a disk of this machine (--data), or keep the log in memory (--storage memory)",
        path.display()
    )]
    NoLock {
        /// The lock's file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// There is no room to open it.
    #[error("there is no room for the log's file {}: make room on that disk and start again", .0.display())]
    Full(PathBuf),
    /// A newer program wrote it.
    #[error(
        "the log's file {} is of format {found}, newer than format {known} that this program knows: run the newer program, or bring the log over as docs/upgrade.md says",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format this program reads.
        known: u32,
    },
    /// It is a node's copy of a cluster's log.
    #[error(
        "{} holds a copy of a cluster's log: start with --cluster, or use another folder (--data), into which `tidings log export` \
         and `tidings log import` copy the updates",
        .0.display()
    )]
    ClusterCopy(PathBuf),
    /// It is the log of a single server.
    #[error(
        "{} holds the log of a single server: give this node an empty folder (--data), and import the old log into the cluster \
         as docs/cluster.md says",
        .0.display()
    )]
    NotClusterCopy(PathBuf),
    /// It is a copy of another cluster's log.
    #[error(
        "{} holds a copy of the log of another cluster, or of this cluster with another secret: check --cluster-secret-file, or \
         give this node an empty folder (--data)",
        .0.display()
    )]
    OtherClusterCopy(PathBuf),
    /// The cluster can't be joined with these settings.
    #[error("{0}")]
    Cluster(String),
    /// It is damaged beyond what can be recovered.
    #[error(
        "the log's file {} is damaged: {reason}. Put a backup in its place; or move it away to begin without what it holds",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// Why an update was not appended. Nothing of it is kept, except as [`AppendError::Unknown`] says.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AppendError {
    /// There is no room to make it durable.
    #[error("the log is full: {0}")]
    Full(String),
    /// The backend failed, or has been closed.
    #[error("the log failed: {0}")]
    Failed(String),
    /// It is larger than a message of the cluster's stream may be.
    #[error("{0}")]
    TooLarge(String),
    /// The cluster accepts no updates at the moment. Nothing was published.
    #[error("the cluster accepts no updates at the moment: {0}")]
    Unavailable(String),
    /// The cluster did not answer in time. The update may have been published.
    #[error("the cluster did not answer in time: {0}")]
    Unknown(String),
    /// It contradicts what was published before with the same idempotency key.
    #[error("{0}")]
    Conflict(&'static str),
}

/// Why the log could not be read.
#[derive(Debug, Error)]
#[error("the log could not be read: {0}")]
pub struct ReadError(pub String);
