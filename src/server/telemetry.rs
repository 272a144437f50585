//! Where log lines go and how they look.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use super::settings::{LogFormat, Settings};

/// Starts logging to standard error, once for the process.
pub fn init(settings: &Settings) {
    let is_terminal = io::stderr().is_terminal();
    let format = settings.log_format.unwrap_or(if is_terminal { LogFormat::Human } else { LogFormat::Json });
    let filter = EnvFilter::try_new(&settings.log_level).unwrap_or_default();
    let lines = fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        LogFormat::Human => lines.with_ansi(is_terminal).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
}
