//! Errors of the client, with their exit codes.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use humantime::format_duration;
use thiserror::Error;

use crate::server::cli::outcome::CommandError;

/// Why `publish` or `subscribe` gave up. It never holds a token.
#[derive(Debug, Error)]
pub(super) enum ClientError {
    /// Flags or environment variables contradict each other.
    #[error("{0}")]
    Usage(String),
    /// The token's file can't be read or holds no token.
    #[error("token file {}: {reason}", path.display())]
    TokenFile { path: PathBuf, reason: String },
    /// No connection could be made, so nothing was sent.
    #[error("{hub} can't be reached: {cause}{}", hint.as_deref().unwrap_or_default())]
    Unreachable { hub: String, cause: String, hint: Option<String> },
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// An update was sent, but no answer came.
    #[error("the hub did not answer: {0}. The update may or may not be published")]
    Unanswered(String),
    /// Nothing arrived on the stream for this long.
    #[error("nothing came for {}, not even a heartbeat", format_duration(*.0))]
    Silent(Duration),
    /// The hub answered with an error.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// The answer is not one that a hub gives.
    #[error("{0}")]
    Unexpected(String),
    /// An event is too long to be held in memory.
    #[error("the event after {after} is longer than {} MiB, the limit of this client", limit >> 20)]
    TooLong { after: String, limit: usize },
    /// No update arrived within `--timeout`.
    #[error("no update came for {}{}", format_duration(*.timeout), while_lost(.lost.as_deref()))]
    TimedOut { timeout: Duration, lost: Option<String> },
    /// The data to publish can't be read.
    #[error("{0}")]
    Input(String),
    /// An update of `--lines` was not published.
    #[error("line {number}: {error}")]
    Line { number: u64, error: Box<ClientError> },
    /// Standard output can't be written.
    #[error("the output can't be written: {0}")]
    Output(#[source] io::Error),
    /// The runtime or the HTTP client can't be started.
    #[error("the client could not be started: {0}")]
    Runtime(#[source] io::Error),
}

/// An error response of a hub.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    /// The hub's explanation, or empty.
    pub(super) detail: String,
    /// The response's `Retry-After`.
    pub(super) retry_after: Option<Duration>,
    pub(super) token_sent: bool,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the hub answered {}", self.status)?;
        if let Some(reason) = reqwest::StatusCode::from_u16(self.status).ok().and_then(|code| code.canonical_reason()) {
            write!(f, " {reason}")?;
        }
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        if self.status == 401 && !self.token_sent {
            write!(f, " (no token was sent: give one with --token-file, or in the environment as TIDINGS_TOKEN)")?;
        }
        Ok(())
    }
}

impl CommandError for ClientError {
    /// What `EXIT_CODES` promises.
    fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Refused(refusal) => match refusal.status {
                401 | 403 => 3,
                400..=499 => 4,
                _ => 5,
            },
            Self::Unreachable { .. } | Self::Broken(_) | Self::Unanswered(_) | Self::Silent(_) => 5,
            Self::TimedOut { .. } => 6,
            Self::Line { error, .. } => error.exit_code(),
            Self::TokenFile { .. }
            | Self::Unexpected(_)
            | Self::TooLong { .. }
            | Self::Input(_)
            | Self::Output(_)
            | Self::Runtime(_) => 1,
        }
    }

    fn is_broken_pipe(&self) -> bool {
        match self {
            Self::Output(error) => error.kind() == io::ErrorKind::BrokenPipe,
            Self::Line { error, .. } => error.is_broken_pipe(),
            _ => false,
        }
    }
}

impl ClientError {
    /// Whether the same request may succeed later.
    pub(super) fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Broken(_) | Self::Silent(_) => true,
            Self::Refused(refusal) => matches!(refusal.status, 408 | 425 | 429 | 500..),
            _ => false,
        }
    }

    /// Whether the hub refused because it is overloaded. It has not acted on the request then.
    pub(super) fn is_overload(&self) -> bool {
        matches!(self, Self::Refused(refusal) if matches!(refusal.status, 429 | 503))
    }

    /// The hub's `Retry-After`.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(refusal) => refusal.retry_after,
            _ => None,
        }
    }
}

fn while_lost(lost: Option<&str>) -> String {
    lost.map(|lost| format!("; there is no connection: {lost}")).unwrap_or_default()
}

/// The root cause of an error. The layers above it only repeat the address.
pub(super) fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16) -> ClientError {
        ClientError::Refused(Box::new(Refusal { status, detail: String::new(), retry_after: None, token_sent: false }))
    }

    #[test]
    fn each_refusal_has_the_exit_code_that_the_help_promises() {
        for (status, code) in [(401, 3), (403, 3), (400, 4), (404, 4), (421, 4), (429, 4), (500, 5), (503, 5), (507, 5)]
        {
            assert_eq!(refused(status).exit_code(), code, "{status}");
            let error = Box::new(refused(status));
            assert_eq!(ClientError::Line { number: 1, error }.exit_code(), code, "{status}");
        }
    }

    #[test]
    fn only_temporary_errors_are_retried() {
        for status in [400, 401, 403, 404, 405, 410, 413, 421] {
            assert!(!refused(status).is_temporary(), "{status}");
        }
        for status in [408, 425, 429, 500, 502, 503, 504, 507] {
            assert!(refused(status).is_temporary(), "{status}");
        }
    }
}
