//! `tidings health`: asks a running server whether it is ready, for containers and scripts.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use reqwest::Client;
use serde_json::Value;
use thiserror::Error;
use url::Url;

use super::outcome::{CommandError, end};
use crate::server::settings::{Options, SettingsError};
use crate::server::this_machine::is_this_machine;
use crate::wire::paths;

/// Longer than the server itself waits for its parts.
const PATIENCE: Duration = Duration::from_secs(5);

/// Ask the server with these settings whether it is ready: ends with 0 if it is, with 1 if not
#[derive(Args)]
pub struct HealthArgs {
    /// Ask this server instead
    #[arg(long, value_name = "URL")]
    url: Option<Url>,
    #[command(flatten)]
    options: Options,
}

/// Why the server isn't ready, as far as is known.
#[derive(Debug, Error)]
pub enum HealthError {
    /// It isn't known where the server is.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The settings name no address that can be asked.
    #[error(
        "the server's address can't be told from its settings: say it with --url, for example http://127.0.0.1:3000"
    )]
    Nowhere,
    /// Nobody answers.
    #[error("{url} does not answer: {error}")]
    Silent {
        /// Who was asked.
        url: Url,
        /// What went wrong.
        error: reqwest::Error,
    },
    /// Some parts are failing.
    #[error("not ready: {0}")]
    NotReady(String),
    /// Standard output is gone.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl CommandError for HealthError {
    fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// Asks, and says what is the matter.
pub fn run(args: HealthArgs) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    end(runtime.map_err(HealthError::Io).and_then(|runtime| runtime.block_on(ask(args))))
}

async fn ask(args: HealthArgs) -> Result<(), HealthError> {
    let url = match args.url {
        Some(url) => url,
        None => address(args.options)?,
    };
    let url = url.join(paths::READY).unwrap_or(url);
    // To itself a server may speak with a certificate that is for its public name.
    let client = Client::builder().no_proxy().timeout(PATIENCE).danger_accept_invalid_certs(is_this_machine(&url));
    let silent = |error| HealthError::Silent { url: url.clone(), error };
    let answer = client.build().map_err(silent)?.get(url.clone()).send().await.map_err(silent)?;
    let is_ready = answer.status().is_success();
    let report: Value = answer.json().await.map_err(silent)?;
    let parts = report["parts"].as_object().into_iter().flatten().filter(|(_, part)| part["status"] != "ok");
    let troubles: Vec<_> =
        parts.map(|(name, part)| format!("{name} is {}: {}", text(&part["status"]), text(&part["detail"]))).collect();
    if !is_ready {
        return Err(HealthError::NotReady(troubles.join("; ")));
    }
    let mut out = io::stdout().lock();
    writeln!(out, "ready")?;
    for trouble in troubles {
        writeln!(out, "{trouble}")?;
    }
    Ok(())
}

/// Where the server with these settings is to be asked: where operators are served, if there is such a place.
fn address(options: Options) -> Result<Url, HealthError> {
    let settings = options.resolve()?;
    let operators = settings.metrics_listen.iter().find_map(|address| address.url(Default::default()));
    let url = operators.or_else(|| settings.listening_url());
    url.filter(|url| url.port() != Some(0)).ok_or(HealthError::Nowhere)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
