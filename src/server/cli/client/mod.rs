//! `tidings publish`, `tidings subscribe` and `tidings doctor`: a command-line client for any Mercure hub, this program's own or another.
//!
//! It knows only the protocol, nothing of the server. Updates and ids go to standard output, messages for people to
//! standard error. Both commands promise their exit codes: see [`EXIT_CODES`].

mod answer;
mod doctor;
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

pub use doctor::DoctorArgs;
pub use endpoint::EndpointArgs;
pub use publish::PublishArgs;
pub use subscribe::SubscribeArgs;

use error::ClientError;

/// The exit codes of both commands, as `--help` shows them.
const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  something else failed: a file, the output, an answer that is not a hub's
  2  wrong usage
  3  the hub refused the token, or it lacks a right (401, 403)
  4  the hub refused the request (any other 4xx)
  5  the hub can't be reached, the connection broke, or the hub failed (5xx)
  6  no update arrived within --timeout";

/// Publishes updates and prints their ids.
pub fn publish(args: PublishArgs) -> ExitCode {
    end(publish::run(args))
}

/// Looks at the whole way to a hub, and prints what it finds.
pub fn doctor(args: DoctorArgs) -> ExitCode {
    end(doctor::run(args))
}

/// Subscribes to topics and prints each update as it arrives.
pub fn subscribe(args: SubscribeArgs) -> ExitCode {
    end(subscribe::run(args))
}

/// A runtime with a thread of its own, so that connections are served while the caller blocks on input or output.
fn runtime() -> Result<Runtime, ClientError> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().map_err(ClientError::Runtime)
}

/// Parses a duration such as `15s`. Zero is an error.
fn duration(text: &str) -> Result<Duration, String> {
    let hint = "write a number and its unit, for example 300ms, 15s or 5m";
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err(format!("must not be zero; {hint}")),
        Ok(duration) => Ok(duration),
        Err(error) => Err(format!("{error}; {hint}")),
    }
}
