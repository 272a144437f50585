//! Accepts connections and serves them, HTTP/1.1 and cleartext HTTP/2 by prior knowledge, until the drain.

use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulConnection;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use tracing::{debug, info, warn};

use super::drain::Drain;
use super::stall::StallGuard;
use crate::wire::problem::MEDIA_TYPE;

/// A client that has not sent its headers by then is disconnected.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// What a connection may buffer, reading and writing, in bytes. hyper's own 400 KiB would be the greatest
/// part of an idle stream's memory; its least is 8 KiB.
const BUFFER: usize = 8 * 1024;

/// How many streams an HTTP/2 connection may have at once: browsers ask for about a hundred.
const MAX_HTTP2_STREAMS: u32 = 250;

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
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(BUFFER);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(MAX_HTTP2_STREAMS);
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
                let connection = connection(&builder, prepare(stream, limits.stall), peer, router.clone());
                connections.spawn(drive(connection, peer, drain.clone(), permit));
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

fn prepare(stream: TcpStream, stall: Duration) -> StallGuard {
    // An event must leave at once, not wait for the acknowledgement of the one before.
    let nodelay = stream.set_nodelay(true);
    // A client that has vanished acknowledges nothing: the system gives up on it by itself.
    let vanished = SockRef::from(&stream).set_tcp_user_timeout(Some(stall));
    if let Err(error) = nodelay.and(vanished) {
        debug!(%error, "a socket's options could not be set");
    }
    StallGuard::new(stream, stall)
}

/// A connection, ready to be driven. What is only needed while a request is answered is boxed, so that an
/// idle stream doesn't keep room for it.
fn connection(
    builder: &auto::Builder<TokioExecutor>,
    stream: StallGuard,
    peer: SocketAddr,
    router: Router,
) -> Pin<Box<impl GracefulConnection<Error = Box<dyn Error + Send + Sync>> + use<>>> {
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        Box::pin(router.clone().oneshot(request.map(Body::new)))
    });
    Box::pin(builder.serve_connection(TokioIo::new(stream), service).into_owned())
}

async fn drive(
    mut connection: Pin<Box<impl GracefulConnection<Error = Box<dyn Error + Send + Sync>>>>,
    peer: SocketAddr,
    drain: Arc<Drain>,
    _permit: OwnedSemaphorePermit,
) {
    let mut begun = drain.signal();
    let mut draining = false;
    let ended = poll_fn(|cx| {
        if !draining && Pin::new(&mut begun).poll(cx).is_ready() {
            draining = true;
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(cx)
    });
    let ended = ended.await;
    let Err(error) = ended else { return };
    match stall_of(&*error) {
        Some(stall) => info!(%peer, reason = %stall, "a connection was cut"),
        None => debug!(%peer, error, "a connection ended with an error"),
    }
}

/// The stall that ended a connection, wherever hyper has put it.
fn stall_of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    let mut causes = std::iter::successors(Some(error), |&error| error.source());
    causes.find_map(|cause| cause.downcast_ref().filter(|error: &&io::Error| error.kind() == io::ErrorKind::TimedOut))
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
