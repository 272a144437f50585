//! Accepts connections until the shutdown begins, and refuses those above the limit.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::connection::{self, ClientService, ConnectionOptions, ResponseBody};
use super::direct_socket::OpenConnection;
use super::http1_socket::HeadRefusals;
use super::shutdown::Shutdown;

/// How long to wait when the system has no socket left, before accepting again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a client that is refused may take to send its request and to read why.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes that the system holds of what it has not sent to a client yet, besides what is on its way.
const UNSENT: u32 = 64 * 1024;

/// Maximum number of connections that are being refused; further ones are closed without an answer.
const MAX_REFUSALS: usize = 1024;

/// Streams end within 3 s of a shutdown; connections that are still open after this time are cut.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(4500);

/// What a listener may hold and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionLimits {
    /// Maximum number of connections at once.
    pub(crate) connections: usize,
    /// How long a client may take nothing while data waits for it.
    pub(crate) write_timeout: Duration,
}

/// Serves each client with the service made for it, until the shutdown begins. Connections above the limit are served
/// by `refusal`, for one moment; requests whose head can't be read get `head_refusals`. Then waits for the connections to
/// end, and answers how many had to be cut.
pub(crate) async fn serve<S, B>(
    listener: TcpListener,
    service: impl Fn(SocketAddr) -> S,
    refusal: impl Fn(SocketAddr) -> S,
    head_refusals: HeadRefusals,
    limits: ConnectionLimits,
    shutdown: Shutdown,
) -> usize
where
    S: ClientService<B>,
    B: ResponseBody,
{
    if let Err(error) = set_options(&listener, limits.write_timeout) {
        warn!(%error, "options of the listening socket could not be set");
    }
    let options = ConnectionOptions { write_timeout: limits.write_timeout, head_refusals, shutdown: shutdown.clone() };
    let permits = Arc::new(Semaphore::new(limits.connections));
    let refusals = Arc::new(Semaphore::new(MAX_REFUSALS));
    let connections = TaskTracker::new();
    let mut full = false;
    let mut begun = pin!(shutdown.signal());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut begun => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                pause_after(&error).await;
                continue;
            }
        };
        let serve = |service, permit| {
            let open = OpenConnection { _permit: permit, _tracked: connections.token() };
            connection::serve(stream, peer, service, options.clone(), open)
        };
        if let Ok(permit) = permits.clone().try_acquire_owned() {
            full = false;
            tokio::spawn(serve(service(peer), permit));
            continue;
        }
        // Once for a whole crowd: a flood of connections must not become a flood of log lines.
        if !std::mem::replace(&mut full, true) {
            warn!(limit = limits.connections, "connections are refused: raise --max-connections to allow more");
        }
        if let Ok(permit) = refusals.clone().try_acquire_owned() {
            tokio::spawn(timeout(REFUSAL_TIMEOUT, serve(refusal(peer), permit)));
        }
    }
    drop(listener);
    connections.close();
    match timeout(DRAIN_TIMEOUT, connections.wait()).await {
        Ok(()) => 0,
        Err(_) => connections.len(),
    }
}

/// Sets what the sockets of all connections have: they get it from the one that listens, which costs nothing for each.
fn set_options(listener: &TcpListener, write_timeout: Duration) -> io::Result<()> {
    let socket = SockRef::from(listener);
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
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn a_connections_socket_has_what_was_set_for_the_one_that_listens() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        set_options(&listener, Duration::from_secs(7)).expect("options");
        let client = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("it listens");
        let (accepted, _) = listener.accept().await.expect("a connection");
        let socket = SockRef::from(&accepted);
        assert!(socket.tcp_nodelay().expect("an option"));
        assert_eq!(socket.tcp_user_timeout().expect("an option"), Some(Duration::from_secs(7)));
        assert_eq!(socket.tcp_notsent_lowat().expect("an option"), UNSENT);
        drop(client);
    }
}
