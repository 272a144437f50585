//! `tidings log`: tools for the log of a stopped server. This file only parses arguments and prints; the work is in the
//! log's `maintenance`.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};

use super::outcome::{CommandError, end, say};
use crate::server::log::maintenance::{self, MaintenanceError, Place, Stat};
use crate::server::settings::LOG_FOLDER;
use crate::wire::paths;

/// Time between two lines of progress.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// Inspect, export, import or compact the log of a stopped server
#[derive(Args, Clone, Debug)]
pub struct LogArgs {
    /// Folder of the server's data
    #[arg(long, env = "TIDINGS_DATA", value_name = "DIR", default_value = "data", global = true)]
    data: PathBuf,
    #[command(subcommand)]
    command: LogCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum LogCommand {
    /// Show what the log holds: updates, bytes, oldest, newest, and each topic's share
    Stat {
        /// Print one JSON document, with all topics
        #[arg(long)]
        json: bool,
        /// How many topics to list, the largest first
        #[arg(long, value_name = "COUNT", default_value_t = 20)]
        topics: usize,
    },
    /// Write every update to standard output, oldest first, as JSON lines
    Export,
    /// Append exported updates. Creates the log if there is none
    Import {
        /// The JSON lines [default: standard input, as for -]
        file: Option<PathBuf>,
    },
    /// Shrink the file to what its content needs
    Compact,
}

impl CommandError for MaintenanceError {
    fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Stream(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// Runs the command.
pub fn run(args: LogArgs) -> ExitCode {
    end(dispatch(args))
}

fn dispatch(args: LogArgs) -> Result<(), MaintenanceError> {
    let folder = args.data.join(LOG_FOLDER);
    let mut out = BufWriter::new(io::stdout().lock());
    let mut progress = Progress::new();
    match args.command {
        LogCommand::Stat { json, topics } => {
            let stat = maintenance::stat(&folder)?;
            if json {
                serde_json::to_writer_pretty(&mut out, &stat).map_err(io::Error::from)?;
                writeln!(out)?;
            } else {
                print(&mut out, &stat, topics)?;
            }
        }
        LogCommand::Export => {
            let exported = maintenance::export(&folder, &mut out, |count| progress.report("exported", count))?;
            say(format_args!("{} exported", updates(exported)));
        }
        LogCommand::Import { file } => {
            let imported = maintenance::import(&folder, input(file)?, |count| progress.report("imported", count))?;
            say(format_args!("{} imported", updates(imported)));
        }
        LogCommand::Compact => {
            let (before, after) = maintenance::compact(&folder)?;
            say(format_args!("{before} bytes before, {after} now"));
        }
    }
    out.flush()?;
    Ok(())
}

/// The lines to import: of a file, or of standard input.
pub(super) fn input(file: Option<PathBuf>) -> io::Result<Box<dyn BufRead>> {
    Ok(match file.filter(|file| file.as_os_str() != "-") {
        Some(file) => Box::new(BufReader::new(File::open(file)?)),
        None => Box::new(io::stdin().lock()),
    })
}

/// Reports progress on standard error, once a second at most.
pub(super) struct Progress {
    reported: Instant,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { reported: Instant::now() }
    }

    pub(super) fn report(&mut self, what: &str, count: u64) {
        if self.reported.elapsed() >= PROGRESS_INTERVAL {
            self.reported = Instant::now();
            say(format_args!("{} {what} so far", updates(count)));
        }
    }
}

pub(super) fn updates(count: u64) -> String {
    format!("{count} {}", if count == 1 { "update" } else { "updates" })
}

fn print(out: &mut impl Write, stat: &Stat, listed: usize) -> io::Result<()> {
    // Each subscription has a topic of its own, so they would fill the list.
    let (presence, topics): (Vec<_>, Vec<_>) = stat.topics.iter().partition(|topic| is_presence(&topic.topic));
    writeln!(out, "updates  {}", stat.updates)?;
    writeln!(out, "bytes    {} stored, {} in files", stat.bytes, stat.file_bytes)?;
    for (name, place) in [("oldest ", &stat.oldest), ("newest ", &stat.newest)] {
        match place {
            Some(Place { cursor, id, at }) => writeln!(out, "{name}  {cursor}  {at}  {id}")?,
            None => writeln!(out, "{name}  none")?,
        }
    }
    if stat.future > 0 {
        writeln!(out, "future   {} have times ahead of this machine's clock", stat.future)?;
    }
    writeln!(out, "topics   {}", topics.len())?;
    if !presence.is_empty() {
        let events: u64 = presence.iter().map(|topic| topic.updates).sum();
        let bytes: u64 = presence.iter().map(|topic| topic.bytes).sum();
        writeln!(out, "presence {} of {} subscriptions, {bytes} bytes", updates(events), presence.len())?;
    }
    if !topics.is_empty() && listed > 0 {
        writeln!(out, "\n{:>12} {:>14}  topic", "updates", "bytes")?;
    }
    for topic in topics.iter().take(listed) {
        writeln!(out, "{:>12} {:>14}  {}", topic.updates, topic.bytes, topic.topic)?;
    }
    if topics.len() > listed {
        writeln!(out, "  and {} more", topics.len() - listed)?;
    }
    Ok(())
}

/// Whether the hub publishes its subscriptions on this topic. Nobody else can.
fn is_presence(topic: &str) -> bool {
    topic.strip_prefix(paths::SUBSCRIPTIONS).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use crate::server::log::maintenance::TopicStat;

    use super::*;

    #[test]
    fn presence_is_one_line_and_no_part_of_the_list_of_topics() {
        let topic = |topic: &str, updates| TopicStat { topic: topic.into(), updates, bytes: 10 * updates };
        let presence = |n| topic(&format!("{}/exact/a/urn%3Auuid%3A{n}", paths::SUBSCRIPTIONS), 2);
        let topics = (0..30).map(presence).chain([topic("news", 1), topic("jobs/7", 5)]).collect();
        let stat = Stat { updates: 66, bytes: 660, file_bytes: 4096, oldest: None, newest: None, future: 0, topics };
        let mut out = Vec::new();
        print(&mut out, &stat, 20).expect("memory");
        let printed = String::from_utf8(out).expect("text");
        assert!(printed.contains("topics   2\npresence 60 updates of 30 subscriptions, 600 bytes\n"), "{printed}");
        assert!(printed.ends_with("news\n           5             50  jobs/7\n"), "{printed}");
        assert!(!printed.contains("urn%3Auuid"), "{printed}");
    }
}
