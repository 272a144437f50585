//! Accepts connections until the shutdown begins, and refuses those above the limit.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::arrival::{Answers, ConnectionRefusal, MakeService};
use super::client::{TrustedProxies, client_key};
use super::client_limit::ClientLimit;
use super::connection::{self, ClientService, ConnectionOptions, ConnectionTerms, ResponseBody};
use super::listen::{Listener, Scheme};
use super::open_connections::{AtLimit, OpenConnection, OpenConnections};
use super::shutdown::Shutdown;
use super::socket::Socket;
use super::tls::Tls;
use crate::server::metrics::CONNECTIONS;

/// How long to wait when the system has no socket left, before accepting again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a client that is refused may take to send its request and to read why.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes that the system holds of what it has not sent to a client yet, besides what is on its way.
const UNSENT: u32 = 64 * 1024;

/// How often it is said that connections are refused.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// Maximum number of connections that are being refused; further ones are closed without an answer.
const MAX_REFUSALS: usize = 1024;

/// How many bursts' worth of a second's connections a client may make at once: after a restart all clients of one address
/// come back together.
const CONNECTION_BURSTS: NonZeroU32 = NonZeroU32::new(20).expect("not zero");

/// What a listener may hold and for how long.
#[derive(Debug)]
pub(crate) struct ConnectionLimits {
    /// Maximum number of connections at once.
    pub(crate) connections: usize,
    /// Maximum number of one client's.
    pub(crate) per_client: Option<NonZeroU32>,
    /// How fast one client may make them.
    pub(crate) client_rate: ClientLimit<IpAddr>,
    /// Proxies have no limit of their own: their clients share their address.
    pub(crate) trusted_proxies: TrustedProxies,
    /// How long a client may take nothing while data waits for it.
    pub(crate) write_timeout: Duration,
    /// Whether the connections of trusted proxies begin with a header of the PROXY protocol.
    pub(crate) proxy_protocol: bool,
    /// Maximum number of requests at once over one HTTP/2 connection.
    pub(crate) http2_streams: u32,
    /// How long connections may stay open after the beginning of the shutdown.
    pub(crate) drain: Duration,
}

/// A limit of one client's new connections in a second.
pub(crate) fn connection_rate(rate: Option<NonZeroU32>) -> ClientLimit<IpAddr> {
    ClientLimit::new(rate, CONNECTION_BURSTS)
}

/// What all listeners share.
struct Acceptor<S> {
    answers: Answers<S>,
    options: ConnectionOptions,
    limits: Arc<ArcSwap<ConnectionLimits>>,
    connections: Arc<OpenConnections>,
    refused: Arc<OpenConnections>,
    /// When it was last said that connections are refused.
    warned: Mutex<Option<Instant>>,
}

/// Serves each client with the service made for it, until the shutdown begins. Then waits for the connections to end, and
/// answers how many had to be cut.
pub(crate) async fn serve<S, B>(
    listeners: Vec<Listener>,
    tls: Option<Arc<Tls>>,
    answers: Answers<S>,
    limits: Arc<ArcSwap<ConnectionLimits>>,
    shutdown: Shutdown,
) -> usize
where
    S: ClientService<B>,
    B: ResponseBody,
{
    let head_refusals = answers.head_refusals.clone();
    let acceptor = Acceptor {
        answers,
        options: ConnectionOptions { write_timeout: limits.load().write_timeout, head_refusals, tls, shutdown },
        connections: Arc::new(OpenConnections::new()),
        refused: Arc::new(OpenConnections::new()),
        limits,
        warned: Mutex::default(),
    };
    join_all(listeners.into_iter().map(|listener| acceptor.accept(listener))).await;
    let drain = acceptor.limits.load().drain;
    match timeout(drain, acceptor.connections.ended()).await {
        Ok(()) => 0,
        Err(_) => acceptor.connections.len(),
    }
}

impl<S> Acceptor<S> {
    /// Accepts connections until the shutdown begins.
    async fn accept<B: ResponseBody>(&self, listener: Listener)
    where
        S: ClientService<B>,
    {
        if let Some(listening) = listener.tcp() {
            if let Err(error) = set_options(&SockRef::from(listening), self.options.write_timeout) {
                warn!(%error, "options of the listening socket could not be set");
            }
            for (socket, peer) in waiting(listening, self.options.write_timeout) {
                self.serve(socket, peer, listener.scheme());
            }
        }
        let mut begun = pin!(self.options.shutdown.signal());
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = &mut begun => return,
            };
            match accepted {
                Ok((socket, peer)) => self.serve(socket, peer, listener.scheme()),
                Err(error) => pause_after(&error).await,
            }
        }
    }

    fn serve<B: ResponseBody>(&self, socket: Socket, peer: SocketAddr, scheme: Scheme)
    where
        S: ClientService<B>,
    {
        let limits = self.limits.load();
        let is_proxy = limits.trusted_proxies.trust(peer.ip());
        let terms = ConnectionTerms {
            expected: scheme,
            has_proxy_header: limits.proxy_protocol && is_proxy,
            http2_streams: limits.http2_streams,
        };
        let serve = |service: &MakeService<S>, open| {
            connection::serve(socket, peer, terms, service.clone(), self.options.clone(), open)
        };
        let refusal = match self.admit((!is_proxy).then(|| client_key(peer.ip())), &limits) {
            Ok(open) => {
                CONNECTIONS.accepted.increment(1);
                tokio::spawn(serve(&self.answers.service, open));
                return;
            }
            Err(refusal) => refusal,
        };
        CONNECTIONS.refused.increment(1);
        if self.may_warn() {
            let setting = refusal.setting();
            warn!(%peer, ?refusal, "connections are refused: raise {setting} to allow more");
        }
        if let Ok(open) = self.refused.admit(None, MAX_REFUSALS, u32::MAX) {
            let refuse = self.answers.refusal.clone();
            let service: MakeService<S> = Arc::new(move |arrival| refuse(refusal, arrival));
            tokio::spawn(timeout(REFUSAL_TIMEOUT, serve(&service, open)));
        }
    }

    /// Whether to say that connections are refused: a flood of them must not become a flood of log lines.
    fn may_warn(&self) -> bool {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = warned.is_none_or(|warned| warned.elapsed() >= WARN_EVERY);
        if is_due {
            *warned = Some(Instant::now());
        }
        is_due
    }

    /// Counts a connection, of this client where it has limits of its own.
    fn admit(&self, client: Option<IpAddr>, limits: &ConnectionLimits) -> Result<OpenConnection, ConnectionRefusal> {
        client.map_or(Ok(()), |client| limits.client_rate.check_one(&client)).map_err(ConnectionRefusal::ClientRate)?;
        let per_client = limits.per_client.map_or(u32::MAX, NonZeroU32::get);
        self.connections.admit(client, limits.connections, per_client).map_err(|at_limit| match at_limit {
            AtLimit::Server => ConnectionRefusal::Server,
            AtLimit::Client => ConnectionRefusal::Client(per_client),
        })
    }
}

/// The connections that were made before the listening socket had its options: they have none of them.
fn waiting(listener: &TcpListener, write_timeout: Duration) -> Vec<(Socket, SocketAddr)> {
    let listener = SockRef::from(listener);
    let mut waiting = Vec::new();
    // Until there is none, or the system has no socket left, which the next one will say again.
    while let Ok((socket, peer)) = listener.accept() {
        let prepared = set_options(&socket, write_timeout).and_then(|()| socket.set_nonblocking(true));
        match prepared.and_then(|()| TcpStream::from_std(socket.into())) {
            Ok(stream) => waiting.extend(peer.as_socket().map(|peer| (Socket::Tcp(stream), peer))),
            Err(error) => debug!(%error, "a connection ended before it was served"),
        }
    }
    waiting
}

/// Sets what the sockets of all connections have: they get it from the one that listens, which costs nothing for each.
fn set_options(socket: &socket2::Socket, write_timeout: Duration) -> io::Result<()> {
    // An event must leave at once, not wait for the acknowledgement of the one before.
    socket.set_tcp_nodelay(true)?;
    // A client that has vanished acknowledges nothing: the system gives up on it by itself.
    socket.set_tcp_user_timeout(Some(write_timeout))?;
    // The system would take megabytes for a client that reads slowly and let nothing be written until a third of
    // them has left: it would look as if the client took nothing.
    socket.set_tcp_notsent_lowat(UNSENT)
}

async fn pause_after(error: &io::Error) {
    let of_one_client = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    );
    if !of_one_client {
        warn!(%error, "a connection could not be accepted");
        sleep(ACCEPT_PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_connections_socket_has_its_options_whether_it_came_before_or_after() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let early = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("it listens");
        set_options(&SockRef::from(&listener), Duration::from_secs(7)).expect("options");
        let early = (early, waiting(&listener, Duration::from_secs(7)));
        let client = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("it listens");
        let (accepted, _) = listener.accept().await.expect("a connection");
        let [(Socket::Tcp(earlier), peer)] = &early.1[..] else { panic!("the one that came before is served too") };
        assert_eq!(early.0.local_addr().ok(), Some(*peer));
        for socket in [SockRef::from(earlier), SockRef::from(&accepted)] {
            assert!(socket.tcp_nodelay().expect("an option"));
            assert_eq!(socket.tcp_user_timeout().expect("an option"), Some(Duration::from_secs(7)));
            assert_eq!(socket.tcp_notsent_lowat().expect("an option"), UNSENT);
        }
        drop(client);
    }
}
