//! Where log lines go and how they look.
//!
//! Lines go to standard error through a bounded queue and a thread of its own. A line that can't be written ends
//! nothing and holds up nothing: it waits in the queue, and lines beyond the queue's bound are dropped and counted.

mod queue;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::panic::PanicHookInfo;
use std::sync::OnceLock;
use std::time::Duration;
use std::{panic, thread};

use tracing::{error, warn};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt;

use super::settings::{LogFormat, Settings};
use queue::LineQueue;

/// Log lines held while standard error takes none: some thousand.
const MAX_QUEUED_BYTES: usize = 1 << 20;

/// How long the end of the process waits for a reader of the log that has stopped reading.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The tracing subscriber is the process's own, and so is its queue.
static LINES: LineQueue = LineQueue::new(MAX_QUEUED_BYTES);

/// Replaces the filter of log lines: its type depends on their format.
type SetFilter = Box<dyn Fn(EnvFilter) -> bool + Send + Sync>;

static FILTER: OnceLock<SetFilter> = OnceLock::new();

/// Writes queued log lines when it is dropped. Keep it until the process ends.
#[must_use]
pub struct LogGuard(());

impl Drop for LogGuard {
    fn drop(&mut self) {
        flush();
    }
}

/// Starts logging to standard error, panics included, once for the process.
///
/// Fails if the system refuses a thread, or a copy of standard error.
pub fn init(settings: &Settings) -> io::Result<LogGuard> {
    // A descriptor of its own: the lock of `io::stderr` would make everybody wait for a write that hangs.
    let output = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    thread::Builder::new().name("log lines".into()).spawn(move || LINES.write_to(output, report_dropped))?;
    let is_terminal = io::stderr().is_terminal();
    let format = settings.log_format.unwrap_or(if is_terminal { LogFormat::Human } else { LogFormat::Json });
    let filter = filter(&settings.log_level).unwrap_or_default();
    // Internal errors would be reported with `eprintln!`, which panics when standard error is gone.
    let lines = fmt().with_env_filter(filter).with_writer(|| &LINES).log_internal_errors(false);
    match format {
        LogFormat::Human => {
            let lines = lines.with_ansi(is_terminal).with_filter_reloading();
            let handle = lines.reload_handle();
            _ = FILTER.set(Box::new(move |filter| handle.reload(filter).is_ok()));
            lines.init();
        }
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).with_filter_reloading();
            let handle = lines.reload_handle();
            _ = FILTER.set(Box::new(move |filter| handle.reload(filter).is_ok()));
            lines.init();
        }
    }
    // The default hook writes to standard error itself, and waits for whoever reads it.
    panic::set_hook(Box::new(log_panic));
    Ok(LogGuard(()))
}

/// The NATS client logs each step of its connection at info. The node logs what matters of it.
fn filter(level: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::try_new(format!("async_nats=warn,{level}"))
}

/// Changes what is logged from now on. A level that can't be read changes nothing.
pub fn set_level(level: &str) {
    if let (Ok(filter), Some(set)) = (filter(level), FILTER.get()) {
        set(filter);
    }
}

/// Writes a line that isn't a log line, after the log lines before it.
pub fn write_line(line: &str) {
    let _ = writeln!(&LINES, "{line}");
}

/// Waits until every line so far is written, at most a second, and no longer once a write has failed.
pub fn flush() {
    LINES.flush(FLUSH_TIMEOUT);
}

fn report_dropped(dropped: u64) {
    warn!(dropped, "log lines were dropped while standard error could not be written");
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let payload = panic.payload();
    let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref().map(String::as_str));
    let message = text.unwrap_or("no message");
    let location = panic.location().map(ToString::to_string);
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    error!(location, backtrace, thread = thread::current().name(), "a thread panicked: {message}");
}
