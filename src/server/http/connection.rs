//! One connection: HTTP/1.1, or HTTP/2 by prior knowledge, until it ends or the drain begins.

use std::convert::Infallible;
use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use futures_util::TryFutureExt;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{sleep, timeout};
use tower::ServiceExt;
use tracing::{debug, info};

use super::drain::Drain;
use super::stall::StallGuard;
use super::window::{Streams, Watched};

/// A client that has not sent its headers by then is disconnected.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// What a connection may buffer, reading and writing, in bytes. hyper's own 400 KiB would be the greatest
/// part of an idle stream's memory; its least is 8 KiB.
const BUFFER: usize = 8 * 1024;

/// How many bytes the system holds of what it has not sent yet, besides what is on its way.
const UNSENT: u32 = 64 * 1024;

/// How many streams an HTTP/2 connection may have at once: browsers ask for about a hundred.
const MAX_HTTP2_STREAMS: u32 = 250;

/// What begins an HTTP/2 connection (RFC 9113, 3.4), as far as no HTTP/1.1 request does.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2";

/// How long to wait for the rest of a first packet that is shorter than the preface: twice as long each time,
/// since one byte must not buy a thousand looks.
const PREFACE_PAUSE: Duration = Duration::from_millis(5);

/// What an idle stream's connection keeps is all in here, so it is little: what is only needed before the
/// first request, or while one is answered, is boxed.
type Connection<C> = Pin<Box<C>>;

/// Serves a connection. A client that takes nothing for `stall` while data waits is cut off.
pub(super) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    stall: Duration,
    drain: Arc<Drain>,
    _permit: OwnedSemaphorePermit,
) {
    let ended = match Box::pin(first_protocol(&stream, peer, &drain)).await {
        Some(Protocol::Http1) => drive(http1(prepare(stream, stall), peer, router), &drain).await,
        Some(Protocol::Http2) => Box::pin(drive_http2(prepare(stream, stall), peer, router, stall, &drain)).await,
        None => return,
    };
    let Err(error) = ended else { return };
    match stall_of(&error) {
        Some(stall) => info!(%peer, reason = %stall, "a connection was cut"),
        None => debug!(%peer, %error, "a connection ended with an error"),
    }
}

fn http1(
    stream: StallGuard,
    peer: SocketAddr,
    router: Router,
) -> Connection<impl GracefulConnection<Error = hyper::Error>> {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(BUFFER);
    Box::pin(builder.serve_connection(TokioIo::new(stream), service(peer, router, |body| body)))
}

fn http2(
    stream: StallGuard,
    peer: SocketAddr,
    router: Router,
    stall: Duration,
    streams: Streams,
) -> Connection<impl GracefulConnection<Error = hyper::Error>> {
    let mut builder = http2::Builder::new(streams);
    builder.timer(TokioTimer::new()).max_concurrent_streams(MAX_HTTP2_STREAMS).max_send_buf_size(BUFFER);
    // A client that has vanished while no stream was open has nothing to acknowledge: only a ping tells.
    builder.keep_alive_interval(stall).keep_alive_timeout(stall);
    Box::pin(builder.serve_connection(TokioIo::new(stream), service(peer, router, Watched::new)))
}

fn service<B>(
    peer: SocketAddr,
    router: Router,
    body: fn(Body) -> B,
) -> impl HttpService<Incoming, ResBody = B, Error = Infallible, Future: Send + 'static>
where
    B: http_body::Body + 'static,
{
    service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        Box::pin(router.clone().oneshot(request.map(Body::new)).map_ok(move |response| response.map(body)))
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
}

/// What the client speaks, by its first bytes; `None` if there is nobody to serve.
async fn first_protocol(stream: &TcpStream, peer: SocketAddr, drain: &Arc<Drain>) -> Option<Protocol> {
    let first = tokio::select! {
        biased;
        first = timeout(HEADER_TIMEOUT, speaks_http2(stream)) => first,
        () = drain.signal() => return None,
    };
    match first {
        Ok(Ok(true)) => return Some(Protocol::Http2),
        Ok(Ok(false)) => return Some(Protocol::Http1),
        Ok(Err(error)) => debug!(%peer, %error, "a connection ended before its first request"),
        Err(_) => debug!(%peer, "a connection was cut: it sent no request"),
    }
    None
}

async fn speaks_http2(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0; HTTP2_PREFACE.len()];
    let mut pause = PREFACE_PAUSE;
    loop {
        let n = stream.peek(&mut first).await?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if first[..n] != HTTP2_PREFACE[..n] {
            return Ok(false);
        }
        if n == HTTP2_PREFACE.len() {
            return Ok(true);
        }
        sleep(pause).await;
        pause *= 2;
    }
}

fn prepare(stream: TcpStream, stall: Duration) -> StallGuard {
    // An event must leave at once, not wait for the acknowledgement of the one before.
    let nodelay = stream.set_nodelay(true);
    // A client that has vanished acknowledges nothing: the system gives up on it by itself.
    let vanished = SockRef::from(&stream).set_tcp_user_timeout(Some(stall));
    // The system would take megabytes for a client that reads slowly and let nothing be written until a third of
    // them has left: it would look as if the client took nothing.
    let unsent = SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT);
    if let Err(error) = nodelay.and(vanished).and(unsent) {
        debug!(%error, "a socket's options could not be set");
    }
    StallGuard::new(stream, stall)
}

async fn drive<C>(mut connection: Connection<C>, drain: &Arc<Drain>) -> Result<(), hyper::Error>
where
    C: GracefulConnection<Error = hyper::Error>,
{
    let mut begun = drain.signal();
    let mut draining = false;
    let ended = poll_fn(|cx| {
        if !draining && Pin::new(&mut begun).poll(cx).is_ready() {
            draining = true;
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(cx)
    });
    ended.await
}

async fn drive_http2(
    stream: StallGuard,
    peer: SocketAddr,
    router: Router,
    stall: Duration,
    drain: &Arc<Drain>,
) -> Result<(), hyper::Error> {
    let streams = Streams::of(peer, stall);
    tokio::select! {
        ended = drive(http2(stream, peer, router, stall, streams.clone()), drain) => ended,
        never = streams.watch() => match never {},
    }
}

/// The stall that ended a connection, wherever hyper has put it.
fn stall_of(error: &hyper::Error) -> Option<&io::Error> {
    let mut causes = std::iter::successors(Some(error as &dyn Error), |&error| error.source());
    causes.find_map(|cause| cause.downcast_ref().filter(|error: &&io::Error| error.kind() == io::ErrorKind::TimedOut))
}
