//! How a connection arrives, and what answers it.

use std::net::SocketAddr;
use std::sync::Arc;

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

/// What clients are answered with.
pub(crate) struct Answers<S> {
    pub(crate) service: MakeService<S>,
    /// Answers connections above the limit, for one moment.
    pub(crate) refusal: MakeService<S>,
    /// The same for those above a client's own limit.
    pub(crate) client_refusal: MakeService<S>,
    /// Answers requests whose head can't be read.
    pub(crate) head_refusals: HeadRefusals,
}
