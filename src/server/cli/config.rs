//! `tidings config`: whether the settings can be used, and what is in effect.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Subcommand};
use thiserror::Error;

use super::outcome::{CommandError, end};
use crate::server::settings::{Options, Settings, SettingsError, report};
use crate::server::{Server, StartError};

/// Check the settings, or show what is in effect
#[derive(Args)]
pub struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Say whether a server would start with these settings: their values, keys and certificates
    Check(Box<Options>),
    /// Print each setting with its value and where that comes from
    Show(Box<Options>),
}

/// Why the settings can't be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// A value is wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A key or a certificate is.
    #[error(transparent)]
    Files(#[from] StartError),
    /// Standard output is gone.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl CommandError for ConfigError {
    fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// Runs the command. `matches` says which of its options were flags, and which came from the environment.
pub fn run(args: ConfigArgs, matches: Option<&ArgMatches>) -> ExitCode {
    end(match args.command {
        ConfigCommand::Check(options) => check(*options),
        ConfigCommand::Show(options) => show(*options, matches.and_then(|matches| Some(matches.subcommand()?.1))),
    })
}

fn check(options: Options) -> Result<(), ConfigError> {
    let settings = options.resolve()?;
    Server::check(&settings)?;
    writeln!(io::stdout(), "a server would start with these settings")?;
    Ok(())
}

fn show(options: Options, matches: Option<&ArgMatches>) -> Result<(), ConfigError> {
    let in_file = options.names_in_file()?;
    let file = options.config.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    let settings = options.resolve()?;
    let rows: Vec<_> = report::rows(&settings)
        .into_iter()
        .map(|(name, value)| {
            let given = matches.and_then(|matches| matches.value_source(&name.replace('-', "_")));
            let origin = match given {
                Some(ValueSource::CommandLine) => format!("--{name}"),
                Some(ValueSource::EnvVariable) => format!("TIDINGS_{}", name.replace('-', "_").to_uppercase()),
                _ if in_file.iter().any(|known| known == name) => file.clone(),
                _ => "default".into(),
            };
            (name, value, origin)
        })
        .collect();
    let width = |column: fn(&(&str, String, String)) -> usize| rows.iter().map(column).max().unwrap_or_default();
    let (names, values) = (width(|row| row.0.len()), width(|row| row.1.chars().count()).min(60));
    let mut out = io::stdout().lock();
    for (name, value, origin) in &rows {
        writeln!(out, "{name:names$}  {value:values$}  {origin}")?;
    }
    limits(&settings, &mut out)?;
    Ok(())
}

/// The tables of the file.
fn limits(settings: &Settings, out: &mut impl Write) -> io::Result<()> {
    for keep in &settings.log.retention.topics {
        writeln!(out, "[[keep]] {}: {}", keep.pattern, keep.limits)?;
    }
    Ok(())
}
