//! Why a client gave up, in words for the person who started it, and as an exit code.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use humantime::format_duration;
use thiserror::Error;

use super::answer::Refusal;
use crate::server::cli::outcome::CommandError;

/// Why a client gave up. It never holds a token.
#[derive(Debug, Error)]
pub(super) enum ClientError {
    /// The arguments, or the environment, don't go together.
    #[error("{0}")]
    Usage(String),
    /// The token's file is unreadable or has no token.
    #[error("the token's file {}: {reason}", path.display())]
    TokenFile { path: PathBuf, reason: String },
    /// There is no connection, so nothing was sent.
    #[error("{hub} can't be reached: {cause}{}", hint.as_deref().unwrap_or_default())]
    Unreachable { hub: String, cause: String, hint: Option<String> },
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// An update was sent and not answered.
    #[error("the hub did not answer: {0}. It may have published the update, or not")]
    Unanswered(String),
    /// The stream was opened, and no byte came for so long.
    #[error("nothing came for {}, not even a heartbeat", format_duration(*.0))]
    Silent(Duration),
    /// The hub answered with an error.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// The answer isn't one a hub gives.
    #[error("{0}")]
    Unexpected(String),
    /// An event is too long to be held.
    #[error("the event after {after} is longer than {} MiB: this client does not read it", longest >> 20)]
    TooLong { after: String, longest: usize },
    /// Nothing came for as long as `--timeout` says.
    #[error("no update came for {}{}", format_duration(*.timeout), while_lost(.lost.as_deref()))]
    TimedOut { timeout: Duration, lost: Option<String> },
    /// What is to be published can't be had.
    #[error("{0}")]
    Input(String),
    /// One of several updates was not published.
    #[error("line {number}: {error}")]
    Line { number: u64, error: Box<ClientError> },
    /// What came can't be written out.
    #[error("the output can't be written: {0}")]
    Output(#[source] io::Error),
    /// The system refuses a thread, or what a connection needs.
    #[error("the client could not be started: {0}")]
    Runtime(#[source] io::Error),
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
    /// Whether the same request may well succeed later.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Broken(_) | Self::Silent(_) => true,
            Self::Refused(refusal) => matches!(refusal.status, 408 | 425 | 429 | 500..),
            _ => false,
        }
    }

    /// Whether the hub has too much to do, so that it did nothing.
    pub(super) fn is_overload(&self) -> bool {
        matches!(self, Self::Refused(refusal) if matches!(refusal.status, 429 | 503))
    }

    /// How long the hub wants to be left alone, if it has said so.
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

/// What lies at the bottom of an error; the layers above it only say that there was one, and repeat the address.
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
        ClientError::Refused(Box::new(Refusal { status, said: String::new(), retry_after: None, token_sent: false }))
    }

    #[test]
    fn each_refusal_has_the_code_that_the_help_tells() {
        for (status, code) in [(401, 3), (403, 3), (400, 4), (404, 4), (421, 4), (429, 4), (500, 5), (503, 5), (507, 5)]
        {
            assert_eq!(refused(status).exit_code(), code, "{status}");
            let error = Box::new(refused(status));
            assert_eq!(ClientError::Line { number: 1, error }.exit_code(), code, "{status}");
        }
    }

    #[test]
    fn only_what_time_may_heal_is_tried_again() {
        for status in [400, 401, 403, 404, 405, 410, 413, 421] {
            assert!(!refused(status).may_pass(), "{status}");
        }
        for status in [408, 425, 429, 500, 502, 503, 504, 507] {
            assert!(refused(status).may_pass(), "{status}");
        }
    }
}
