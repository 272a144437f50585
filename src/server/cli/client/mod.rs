//! `tidings publish` and `tidings subscribe`: a client on the command line for any Mercure hub, this program's own
//! or another.
//!
//! It speaks the protocol alone and knows nothing of the server beside it. Updates and ids go to standard output,
//! what a person may want to know to standard error. Both of its commands end with a code that says how: see
//! [`EXIT_CODES`].

mod answer;
mod endpoint;
mod error;
mod output;
mod publish;
mod reconnect;
mod subscribe;
mod token;

use std::process::ExitCode;
use std::time::Duration;

use tokio::runtime::Runtime;

use super::outcome::end;

pub use endpoint::EndpointArgs;
pub use publish::PublishArgs;
pub use subscribe::SubscribeArgs;

use error::ClientError;

/// What the exit codes of both commands mean, as `--help` tells it.
const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  something else went wrong: a file, the output, an answer that is not a hub's
  2  wrong usage
  3  the hub refused the token, or what it may do (401, 403)
  4  the hub refused the request (any other 4xx)
  5  the hub can't be reached, broke off or failed (5xx)
  6  nothing came for --timeout";

/// Publishes what the arguments say, and prints the ids that the hub answers.
pub fn publish(args: PublishArgs) -> ExitCode {
    end(publish::run(args))
}

/// Follows what the arguments say, and prints each update as it comes.
pub fn subscribe(args: SubscribeArgs) -> ExitCode {
    end(subscribe::run(args))
}

/// One thread beside the caller's, so that connections are minded while the caller reads or writes.
fn runtime() -> Result<Runtime, ClientError> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().map_err(ClientError::Runtime)
}

/// A duration as people write it, and not nothing.
fn duration(text: &str) -> Result<Duration, String> {
    let hint = "write a number and its unit, for example 300ms, 15s or 5m";
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err(format!("must be more than nothing; {hint}")),
        Ok(duration) => Ok(duration),
        Err(error) => Err(format!("{error}; {hint}")),
    }
}
