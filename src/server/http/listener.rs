//! Accepts connections until the drain begins, and turns away those above the limit.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::connection;
use super::drain::Drain;
use crate::wire::problem::MEDIA_TYPE;

/// How long to wait when the system has no socket left, before accepting again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a client that is turned away may take to read why.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);

/// Streams end within 3 s of a drain; what is still open after this time is cut.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(4500);

/// The answer to a connection above the limit, given without a look at its request.
const REFUSAL: &str = r#"{"status":503,"title":"Too many connections","detail":"The server has as many connections as it may. Try again in some seconds."}"#;

/// What a listener may hold and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectionLimits {
    /// Most connections at once.
    pub(super) connections: usize,
    /// How long a client may take nothing while data waits for it.
    pub(super) stall: Duration,
}

/// Serves the router until the drain begins, then waits for the connections to end, and answers how many
/// had to be cut.
pub(super) async fn serve(listener: TcpListener, router: Router, limits: ConnectionLimits, drain: Arc<Drain>) -> usize {
    let permits = Arc::new(Semaphore::new(limits.connections));
    let connections = TaskTracker::new();
    let mut full = false;
    let mut draining = pin!(drain.signal());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut draining => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                pause_after(&error).await;
                continue;
            }
        };
        match permits.clone().try_acquire_owned() {
            Ok(permit) => {
                full = false;
                let served = connection::serve(stream, peer, router.clone(), limits.stall, drain.clone(), permit);
                connections.spawn(served);
            }
            Err(_) => {
                // Once for a whole crowd: a flood of connections must not become a flood of log lines.
                if !std::mem::replace(&mut full, true) {
                    warn!(limit = limits.connections, "connections are turned away: raise --max-connections for more");
                }
                connections.spawn(timeout(REFUSAL_TIMEOUT, refuse(stream)));
            }
        }
    }
    drop(listener);
    connections.close();
    match timeout(DRAIN_TIMEOUT, connections.wait()).await {
        Ok(()) => 0,
        Err(_) => connections.len(),
    }
}

async fn refuse(mut stream: TcpStream) {
    // The request is waited for, read and thrown away: a client may take an answer that comes before it for
    // noise, and closing with unread bytes would reset the connection before the answer is read.
    let mut unread = [0; 1024];
    if !matches!(stream.read(&mut unread).await, Ok(n) if n > 0) {
        return;
    }
    while matches!(stream.try_read(&mut unread), Ok(n) if n > 0) {}
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: {MEDIA_TYPE}\r\nContent-Length: {}\r\nRetry-After: 5\r\n\
         Access-Control-Allow-Origin: *\r\nConnection: close\r\n\r\n{REFUSAL}",
        REFUSAL.len()
    );
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
    while matches!(stream.read(&mut unread).await, Ok(n) if n > 0) {}
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
