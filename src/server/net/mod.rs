//! Sockets: accepting, choosing the protocol, write timeouts, the end of connections at a shutdown. It knows no route and
//! no web framework: whoever listens brings a service.

mod client;
mod connection;
mod direct_socket;
mod handover;
mod http1_socket;
mod listener;
mod shutdown;
mod stalled_streams;
mod write_timeout;

pub use client::{ProxyHeader, TrustedProxies};
pub(crate) use connection::MAX_HEAD;
pub(crate) use direct_socket::DirectSocket;
pub(crate) use handover::{Handover, Successor};
pub(crate) use http1_socket::HeadRefusals;
pub(crate) use listener::{ConnectionLimits, serve};
pub(crate) use shutdown::Shutdown;
