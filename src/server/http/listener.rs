//! Accepts connections and serves them, HTTP/1.1 and cleartext HTTP/2 by prior knowledge, until the drain.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
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
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use tracing::{debug, warn};

use super::drain::Drain;
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

/// Serves the router until the drain begins, then waits for the connections to end, and answers how many
/// had to be cut.
pub(super) async fn serve(listener: TcpListener, router: Router, max_connections: usize, drain: Arc<Drain>) -> usize {
    let permits = Arc::new(Semaphore::new(max_connections));
    let connections = TaskTracker::new();
    let mut draining = pin!(drain.begun());
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
                connections.spawn(connection(stream, peer, router.clone(), drain.clone(), permit));
            }
            Err(_) => {
                warn!(%peer, max_connections, "a connection was turned away: there are as many as --max-connections allows");
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

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    drain: Arc<Drain>,
    _permit: OwnedSemaphorePermit,
) {
    // An event must leave at once, not wait for the acknowledgement of the one before.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%peer, %error, "TCP_NODELAY could not be set");
    }
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request.map(Body::new))
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(BUFFER);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(MAX_HTTP2_STREAMS);
    let mut served = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = drain.begun() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        debug!(%peer, error, "a connection ended with an error");
    }
}

async fn refuse(mut stream: TcpStream) {
    // The request is read and thrown away: closing with unread bytes would reset the connection, and the
    // client would never see why.
    let mut unread = [0; 1024];
    let _ = stream.readable().await;
    while matches!(stream.try_read(&mut unread), Ok(n) if n > 0) {}
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: {MEDIA_TYPE}\r\nContent-Length: {}\r\nRetry-After: 5\r\n\
         Access-Control-Allow-Origin: *\r\nConnection: close\r\n\r\n{REFUSAL}",
        REFUSAL.len()
    );
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
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
