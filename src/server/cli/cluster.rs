//! `tidings cluster`: the state of a cluster.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use thiserror::Error;

use super::log::{Progress, input, updates};
use super::outcome::{CommandError, end, say};
use crate::server::log::maintenance::MaintenanceError;
use crate::server::log::{ClusterOptions, ClusterReport, OpenError, import_into_cluster};
use crate::server::settings::{Options, SettingsError};

/// Show the state of a cluster
#[derive(Args)]
pub struct ClusterArgs {
    #[command(subcommand)]
    command: ClusterCommand,
}

#[derive(Subcommand)]
enum ClusterCommand {
    /// Show the stream, the NATS servers that store it, and the nodes. Takes the settings of a node
    Status {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        options: Box<Options>,
    },
    /// Append updates that `tidings log export` has written. Takes the settings of a node
    Import {
        /// The JSON lines [default: standard input, as for -]
        file: Option<PathBuf>,
        #[command(flatten)]
        options: Box<Options>,
    },
}

/// Why the state can't be shown.
#[derive(Debug, Error)]
pub enum ClusterError {
    /// The settings are invalid.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The settings name no cluster.
    #[error("the settings name no cluster: add --cluster, with the URLs of its NATS servers")]
    Alone,
    /// The cluster does not answer.
    #[error(transparent)]
    Cluster(#[from] OpenError),
    /// The updates can't be imported.
    #[error(transparent)]
    Import(#[from] MaintenanceError),
    /// Standard output can't be written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl CommandError for ClusterError {
    fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// Runs the command.
pub fn run(args: ClusterArgs) -> ExitCode {
    end(match args.command {
        ClusterCommand::Status { json, options } => status(*options, json),
        ClusterCommand::Import { file, options } => import(*options, file),
    })
}

fn cluster_options(options: Options) -> Result<ClusterOptions, ClusterError> {
    options.resolve()?.log.cluster.ok_or(ClusterError::Alone)
}

fn import(options: Options, file: Option<PathBuf>) -> Result<(), ClusterError> {
    let options = cluster_options(options)?;
    let mut progress = Progress::new();
    let imported = import_into_cluster(options, input(file)?, |count| progress.report("imported", count))?;
    say(format_args!("{} imported", updates(imported)));
    Ok(())
}

fn status(options: Options, json: bool) -> Result<(), ClusterError> {
    let cluster = cluster_options(options)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(ClusterReport::collect(&cluster))?;
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, &report).map_err(io::Error::from)?;
        writeln!(out)?;
        return Ok(());
    }
    print(&mut out, &report)?;
    Ok(())
}

fn print(out: &mut impl Write, report: &ClusterReport) -> io::Result<()> {
    let ClusterReport { stream, messages, bytes, newest, epochs, replicas, nodes } = report;
    writeln!(out, "stream   {stream}: {messages} messages, {bytes} bytes, the last one is {newest}")?;
    writeln!(out, "epochs   {epochs}")?;
    for replica in replicas {
        let role = if replica.leads { "leader" } else { "follower" };
        let state = if replica.current { "current".into() } else { format!("lags behind by {}", replica.lag) };
        writeln!(out, "server   {}: {role}, {state}", replica.server)?;
    }
    for node in nodes {
        let lag = newest.saturating_sub(node.applied);
        writeln!(out, "node     {}: version {}, lags behind by {lag}, epoch {}", node.node, node.version, node.epoch)?;
    }
    if nodes.is_empty() {
        writeln!(out, "node     none has reported")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::server::log::{NodeReport, ReplicaReport};

    #[test]
    fn each_server_and_each_node_is_one_line() {
        let replica = |server: &str, leads, current| ReplicaReport { server: server.into(), leads, current, lag: 7 };
        let node =
            NodeReport { node: "one".into(), version: "1.2.3".into(), applied: 40, epoch: 0, at: DateTime::UNIX_EPOCH };
        let report = ClusterReport {
            stream: "tidings".into(),
            messages: 41,
            bytes: 4100,
            newest: 42,
            epochs: "0@1".into(),
            replicas: vec![replica("n1", true, true), replica("n2", false, false)],
            nodes: vec![node],
        };
        let mut out = Vec::new();
        print(&mut out, &report).expect("memory");
        let expected = "stream   tidings: 41 messages, 4100 bytes, the last one is 42\nepochs   0@1\n\
                        server   n1: leader, current\nserver   n2: follower, lags behind by 7\n\
                        node     one: version 1.2.3, lags behind by 2, epoch 0\n";
        assert_eq!(String::from_utf8(out).expect("text"), expected);
    }
}
