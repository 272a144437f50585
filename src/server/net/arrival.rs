//! How a connection arrives, and what answers it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::http1_socket::HeadRefusals;
use super::listen::Scheme;

/// How a connection has arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) peer: SocketAddr,
    /// How the client speaks.
    pub(crate) scheme: Scheme,
    /// How it was to speak where it has connected.
    pub(crate) expected: Scheme,
}

/// Makes the service of one connection.
pub(crate) type MakeService<S> = Arc<dyn Fn(Arrival) -> S + Send + Sync>;

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionRefusal {
    /// There are as many as may be.
    Server,
    /// Its client has as many as it may have.
    Client(u32),
    /// Its client makes them too fast, and may make the next one after this time.
    ClientRate(Duration),
}

impl ConnectionRefusal {
    /// The setting that allows more.
    pub(super) fn setting(self) -> &'static str {
        match self {
            Self::Server => "--max-connections",
            Self::Client(_) => "--max-connections-per-client",
            Self::ClientRate(_) => "--connection-rate-limit",
        }
    }
}

/// Makes the service of one connection that is refused.
pub(crate) type MakeRefusal<S> = Arc<dyn Fn(ConnectionRefusal, Arrival) -> S + Send + Sync>;

/// What clients are answered with.
pub(crate) struct Answers<S> {
    pub(crate) service: MakeService<S>,
    /// Answers connections above a limit, for one moment.
    pub(crate) refusal: MakeRefusal<S>,
    /// Answers requests whose head can't be read.
    pub(crate) head_refusals: HeadRefusals,
}
