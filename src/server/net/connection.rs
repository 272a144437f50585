//! One connection: HTTP/1.1, or HTTP/2 by prior knowledge, until it ends or the shutdown begins.

use std::convert::Infallible;
use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryFutureExt;
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{Service, service_fn};
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tracing::debug;

use super::arrival::{Arrival, MakeService};
use super::direct_socket::DirectSocket;
use super::handover::{Handover, Successor};
use super::http1_socket::{HeadRefusals, Http1Socket};
use super::listen::Scheme;
use super::open_connections::OpenConnection;
use super::proxy_protocol;
use super::shutdown::Shutdown;
use super::socket::Socket;
use super::stalled_streams::{StallTrackedBody, Streams};
use super::tls::{self, Tls};
use super::write_timeout::{WriteTimeout, log_failure};

/// A client that has not sent its headers by then is disconnected.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may wait for its next request: longer than proxies keep connections that they use again (nginx 60 s,
/// others up to 75), since a request that is sent as the connection is closed is lost.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);

/// Maximum bytes of a request's head: room for a token of 16 KiB, an event id of 4 KiB and a long query beside them.
/// hyper begins with 8 KiB and takes more only for a head that needs it.
pub(crate) const MAX_HEAD: usize = 64 * 1024;

/// Bytes that an HTTP/2 stream may buffer of what its client has not taken yet.
const HTTP2_SEND_BUFFER: usize = 8 * 1024;

/// A client whose head was refused may still be sending: closing at once would reset the connection before it has read
/// why. So much is read and thrown away, for so long.
const LINGER_BYTES: usize = 1024 * 1024;
const LINGER_TIME: Duration = Duration::from_secs(2);

/// What an idle stream's connection keeps is all in here, so it is little: what is only needed before the
/// first request, or while one is answered, is boxed.
type Connection<C> = Pin<Box<C>>;

/// Answers the requests of one client.
pub(crate) trait ClientService<B>:
    Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send + 'static> + Clone + Send + 'static
{
}

impl<B, S> ClientService<B> for S where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send + 'static>
        + Clone
        + Send
        + 'static
{
}

/// The body of a response.
pub(crate) trait ResponseBody:
    Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + Unpin + 'static
{
}

impl<B> ResponseBody for B where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + Unpin + 'static
{
}

/// How connections are served.
#[derive(Clone)]
pub(super) struct ConnectionOptions {
    /// A client that takes nothing for this long while data waits is cut off.
    pub(super) write_timeout: Duration,
    pub(super) head_refusals: HeadRefusals,
    /// For listeners over TLS.
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) shutdown: Shutdown,
}

/// How one connection is served.
#[derive(Clone, Copy)]
pub(super) struct ConnectionTerms {
    /// How clients speak where it was made.
    pub(super) expected: Scheme,
    /// Whether it begins with a header of the PROXY protocol.
    pub(super) has_proxy_header: bool,
    /// Maximum number of requests at once over HTTP/2.
    pub(super) http2_streams: u32,
}

/// Serves a connection until it ends, also after the beginning of the shutdown, or until a response takes it over.
pub(super) async fn serve<S: ClientService<B>, B: ResponseBody>(
    socket: Socket,
    mut peer: SocketAddr,
    terms: ConnectionTerms,
    service: MakeService<S>,
    options: ConnectionOptions,
    open: OpenConnection,
) {
    let ConnectionOptions { write_timeout, head_refusals, tls, shutdown } = options;
    let ConnectionTerms { expected, has_proxy_header, http2_streams } = terms;
    let tls = tls.filter(|_| expected == Scheme::Https);
    let begun = Box::pin(begin(socket, &mut peer, has_proxy_header, write_timeout, tls, &shutdown)).await;
    let http2 = Http2 { peer, write_timeout, streams: http2_streams };
    let arrival = |scheme| Arrival { peer, scheme, expected };
    let ended = match begun {
        Some(Begun::Http1(stream)) => {
            match drive_http1(stream, service(arrival(Scheme::Http)), true, head_refusals, &shutdown).await {
                Ok(Some((successor, stream))) => {
                    successor.take_over(DirectSocket::new(stream, peer, open));
                    return;
                }
                ended => ended.map(|_| ()),
            }
        }
        Some(Begun::Http2(stream)) => {
            let service = service(arrival(Scheme::Http));
            Box::pin(http2.drive(stream, service, &shutdown)).await
        }
        Some(Begun::Tls(stream)) if tls::is_challenge(&stream) => return,
        Some(Begun::Tls(stream)) if tls::speaks_http2(&stream) => {
            let service = service(arrival(Scheme::Https));
            Box::pin(http2.drive(*stream, service, &shutdown)).await
        }
        Some(Begun::Tls(stream)) => {
            let service = service(arrival(Scheme::Https));
            Box::pin(drive_http1(*stream, service, false, head_refusals, &shutdown)).await.map(|_| ())
        }
        None => return,
    };
    if let Err(error) = ended {
        log_failure(peer, &error);
    }
}

/// A connection, by what its client speaks.
enum Begun {
    /// HTTP/1.1 in clear text.
    Http1(WriteTimeout),
    /// HTTP/2 in clear text.
    Http2(WriteTimeout),
    Tls(Box<TlsStream<WriteTimeout>>),
}

/// Finds out what the client speaks, and who it is behind a proxy; `None` if there is nobody to serve.
async fn begin(
    mut socket: Socket,
    peer: &mut SocketAddr,
    has_header: bool,
    write_timeout: Duration,
    tls: Option<Arc<Tls>>,
    shutdown: &Shutdown,
) -> Option<Begun> {
    let begun = async {
        if has_header && let Some(client) = proxy_protocol::client(&mut socket).await? {
            *peer = client;
        }
        if let Some(tls) = tls
            && socket.begins_with_tls().await?
        {
            let stream = tls.handshake(WriteTimeout::new(socket, write_timeout)).await?;
            return Ok(Begun::Tls(Box::new(stream)));
        }
        let is_http2 = socket.begins_with_http2().await?;
        let stream = WriteTimeout::new(socket, write_timeout);
        Ok::<_, io::Error>(if is_http2 { Begun::Http2(stream) } else { Begun::Http1(stream) })
    };
    let begun = tokio::select! {
        biased;
        begun = timeout(HEADER_TIMEOUT, begun) => begun,
        () = shutdown.signal() => return None,
    };
    match begun {
        Ok(Ok(begun)) => return Some(begun),
        Ok(Err(error)) => debug!(%peer, %error, "a connection ended before its first request"),
        Err(_) => debug!(%peer, "a connection was cut: it sent no request"),
    }
    None
}

/// Drives a connection until it ends, or something else is `due` for it while it waits.
async fn drive<C, T>(
    mut connection: Pin<&mut C>,
    shutdown: &Shutdown,
    due: impl Fn() -> Option<T>,
) -> Result<Option<T>, hyper::Error>
where
    C: GracefulConnection<Error = hyper::Error>,
{
    let mut begun = shutdown.signal();
    let mut shutting_down = false;
    let ended = poll_fn(|cx| {
        if !shutting_down && Pin::new(&mut begun).poll(cx).is_ready() {
            shutting_down = true;
            connection.as_mut().graceful_shutdown();
        }
        match connection.as_mut().poll(cx) {
            Poll::Ready(ended) => Poll::Ready(ended.map(|()| None)),
            Poll::Pending => due().map_or(Poll::Pending, |due| Poll::Ready(Ok(Some(due)))),
        }
    });
    ended.await
}

/// Answers who takes the connection over, and the socket, if it did not end here. Only where `offers_handover` is set does
/// anybody.
async fn drive_http1<T, B>(
    stream: T,
    service: impl ClientService<B>,
    offers_handover: bool,
    head_refusals: HeadRefusals,
    shutdown: &Shutdown,
) -> Result<Option<(Arc<dyn Successor>, T)>, hyper::Error>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    B: ResponseBody,
{
    let handover = Handover::default();
    let stream = Http1Socket::new(stream, handover.clone(), head_refusals);
    let offered = handover.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        if offers_handover && request.version() == Version::HTTP_11 {
            request.extensions_mut().insert(offered.clone());
        }
        service.call(request)
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(IDLE_TIMEOUT).max_buf_size(MAX_HEAD);
    let mut connection = Box::pin(builder.serve_connection(TokioIo::new(stream), service));
    let driven = drive(connection.as_mut(), shutdown, || handover.due()).await;
    match driven {
        Ok(None) => Ok(None),
        // What the client has sent ahead is lost: the stream is the last thing that it gets here.
        Ok(Some(successor)) => Ok(Some((successor, socket_of(Pin::into_inner(connection).into_parts())))),
        Err(error) => {
            if error.is_parse() {
                // In a box: its buffer would be moved about with each connection that begins.
                let discarded = Box::pin(discard(socket_of(Pin::into_inner(connection).into_parts())));
                _ = timeout(LINGER_TIME, discarded).await;
            }
            Err(error)
        }
    }
}

/// The socket that hyper has let go of.
fn socket_of<T, S>(parts: http1::Parts<TokioIo<Http1Socket<T>>, S>) -> T {
    parts.io.into_inner().into_inner()
}

/// Reads what the client still sends, and throws it away.
async fn discard(mut stream: impl AsyncRead + Unpin) {
    let mut unread = [0; 4096];
    let mut left = LINGER_BYTES;
    while let Ok(read @ 1..) = stream.read(&mut unread).await {
        left = left.saturating_sub(read);
        if left == 0 {
            return;
        }
    }
}

/// How a connection over HTTP/2 is served.
struct Http2 {
    peer: SocketAddr,
    write_timeout: Duration,
    /// Maximum number of requests at once.
    streams: u32,
}

impl Http2 {
    async fn drive<B: ResponseBody>(
        self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        service: impl ClientService<B>,
        shutdown: &Shutdown,
    ) -> Result<(), hyper::Error> {
        let streams = Streams::of(self.peer, self.write_timeout);
        let mut connection = self.connection(stream, service, streams.clone());
        tokio::select! {
            ended = drive(connection.as_mut(), shutdown, || None::<Infallible>) => ended.map(|_| ()),
            never = streams.watch() => match never {},
        }
    }

    fn connection<B: ResponseBody>(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        service: impl ClientService<B>,
        streams: Streams,
    ) -> Connection<impl GracefulConnection<Error = hyper::Error>> {
        let mut builder = http2::Builder::new(streams);
        builder.timer(TokioTimer::new()).max_concurrent_streams(self.streams).max_send_buf_size(HTTP2_SEND_BUFFER);
        // What is above the limit must arrive to be refused with a reason: h2's own refusal has none.
        builder.max_header_list_size(2 * MAX_HEAD as u32);
        // A client that has vanished while no stream was open has nothing to acknowledge: only a ping tells.
        builder.keep_alive_interval(self.write_timeout).keep_alive_timeout(self.write_timeout);
        let tracked = service_fn(move |request| {
            service.call(request).map_ok(|response: Response<B>| response.map(StallTrackedBody::new))
        });
        Box::pin(builder.serve_connection(TokioIo::new(stream), tracked))
    }
}
