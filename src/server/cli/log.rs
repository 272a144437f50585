//! `tidings log`: what an operator does with the log of a stopped server. It only parses and prints;
//! the work is in the log's `maintenance`.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};

use super::outcome::{CommandError, end, say};
use crate::server::log::maintenance::{self, MaintenanceError, Place, Stat};
use crate::server::settings::LOG_FOLDER;

/// How often progress is told.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Look into the log of a stopped server, write it out, read it in
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
    /// Count what the log holds: updates, bytes, oldest, newest, by topic
    Stat {
        /// Print it as one JSON document, with all topics
        #[arg(long)]
        json: bool,
        /// How many topics to list, the largest first
        #[arg(long, value_name = "COUNT", default_value_t = 20)]
        topics: usize,
    },
    /// Write every update to standard output, oldest first, as JSON lines
    Export,
    /// Append exported updates; makes the log where there is none
    Import {
        /// The JSON lines; standard input if it is left out or -
        file: Option<PathBuf>,
    },
    /// Make the file as small as its content allows
    Compact,
}

impl CommandError for MaintenanceError {
    fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Stream(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// Does what the arguments say.
pub fn run(args: LogArgs) -> ExitCode {
    end(dispatch(args))
}

fn dispatch(args: LogArgs) -> Result<(), MaintenanceError> {
    let folder = args.data.join(LOG_FOLDER);
    let mut out = BufWriter::new(io::stdout().lock());
    let mut progress = Progress { told: Instant::now() };
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
            let exported = maintenance::export(&folder, &mut out, |count| progress.tell("exported", count))?;
            say(format_args!("{} exported", updates(exported)));
        }
        LogCommand::Import { file } => {
            let input: Box<dyn BufRead> = match file.filter(|file| file.as_os_str() != "-") {
                Some(file) => Box::new(BufReader::new(File::open(file)?)),
                None => Box::new(io::stdin().lock()),
            };
            let imported = maintenance::import(&folder, input, |count| progress.tell("imported", count))?;
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

struct Progress {
    told: Instant,
}

impl Progress {
    fn tell(&mut self, what: &str, count: u64) {
        if self.told.elapsed() >= PROGRESS_EVERY {
            self.told = Instant::now();
            say(format_args!("{} {what} so far", updates(count)));
        }
    }
}

fn updates(count: u64) -> String {
    format!("{count} {}", if count == 1 { "update" } else { "updates" })
}

fn print(out: &mut impl Write, stat: &Stat, topics: usize) -> io::Result<()> {
    writeln!(out, "updates  {}", stat.updates)?;
    writeln!(out, "bytes    {} stored, {} in files", stat.bytes, stat.file_bytes)?;
    for (name, place) in [("oldest ", &stat.oldest), ("newest ", &stat.newest)] {
        match place {
            Some(Place { cursor, id, at }) => writeln!(out, "{name}  {cursor}  {at}  {id}")?,
            None => writeln!(out, "{name}  none")?,
        }
    }
    writeln!(out, "topics   {}", stat.topics.len())?;
    if !stat.topics.is_empty() && topics > 0 {
        writeln!(out, "\n{:>12} {:>14}  topic", "updates", "bytes")?;
    }
    for topic in stat.topics.iter().take(topics) {
        writeln!(out, "{:>12} {:>14}  {}", topic.updates, topic.bytes, topic.topic)?;
    }
    if stat.topics.len() > topics {
        writeln!(out, "  and {} more", stat.topics.len() - topics)?;
    }
    Ok(())
}
