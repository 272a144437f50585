//! Sockets: accepting, choosing the protocol, write timeouts, the end of connections at a shutdown. It knows no route and
//! no web framework: whoever listens brings a service.

mod accept;
mod arrival;
mod client;
mod client_limit;
mod connection;
mod direct_socket;
mod handover;
mod http1_socket;
mod listen;
mod open_connections;
mod proxy_protocol;
mod shutdown;
mod socket;
mod stalled_streams;
mod tls;
mod write_timeout;

pub(crate) use accept::{ConnectionLimits, connection_rate, serve};
pub(crate) use arrival::{Answers, Arrival, ConnectionRefusal, MakeService};
pub(crate) use client::client_key;
pub use client::{ProxyHeader, TrustedProxies};
pub(crate) use client_limit::{ClientLimit, OverLimit, TotalLimit};
pub(crate) use connection::MAX_HEAD;
pub(crate) use direct_socket::DirectSocket;
pub(crate) use handover::{Handover, Successor};
pub(crate) use http1_socket::HeadRefusals;
pub use listen::{BindError, ListenAddress, Listener, Scheme};
pub(crate) use shutdown::Shutdown;
pub use tls::{AcmeChallenge, AcmeOptions, PemFiles, TlsError};
pub(crate) use tls::{SelfSigned, Tls, directory};
