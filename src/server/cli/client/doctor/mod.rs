//! `tidings doctor`: looks at the whole way to a hub, through proxies and networks, as a client sees it.

mod findings;
mod listening;
mod probe;

use std::io::Write;
use std::time::Duration;

use clap::Args;

use super::duration;
use super::endpoint::EndpointArgs;
use super::error::ClientError;
use super::runtime;
use findings::{Finding, Verdict};

/// The arguments of `tidings doctor`.
#[derive(Args)]
#[command(after_help = "Without a token that may publish, what depends on updates is not looked at.")]
pub struct DoctorArgs {
    /// A browser's origin, such as https://app.example.com: what would it be refused?
    #[arg(long, value_name = "ORIGIN")]
    origin: Option<String>,

    /// How long to listen in silence, to see whether the way is cut and whether heartbeats come through
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = duration)]
    silence: Duration,

    /// How many updates to publish, to see how late they come
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    updates: u32,

    /// Print one JSON document
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    endpoint: EndpointArgs,
}

/// Looks at the way, and prints what it finds. Fails if something is wrong.
pub(super) fn run(args: DoctorArgs) -> Result<(), ClientError> {
    let DoctorArgs { origin, silence, updates, json, endpoint } = args;
    let endpoint = endpoint.endpoint()?;
    let findings = runtime()?.block_on(probe::examine(&endpoint, origin.as_deref(), silence, updates))?;
    let mut out = std::io::stdout().lock();
    let printed = if json {
        serde_json::to_writer(&mut out, &findings).map_err(std::io::Error::from).and_then(|()| writeln!(out))
    } else {
        findings.iter().try_for_each(|finding| writeln!(out, "{finding}"))
    };
    printed.map_err(ClientError::Output)?;
    match findings.iter().filter(|finding| finding.verdict == Verdict::Bad).count() {
        0 => Ok(()),
        bad => Err(ClientError::Unexpected(format!("{bad} of {} findings are bad", findings.len()))),
    }
}

/// A finding, as [`Finding`] says it.
fn finding(verdict: Verdict, what: &'static str, detail: impl Into<String>) -> Finding {
    Finding { verdict, what, detail: detail.into() }
}
