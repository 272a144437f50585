//! A client's socket: over TCP, or a Unix socket of this machine.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::sleep;

/// What begins an HTTP/2 connection (RFC 9113, 3.4), as far as no HTTP/1.1 request does.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2";

/// How a TLS connection begins: with a record that holds a handshake (RFC 8446, 5.1).
const TLS_HANDSHAKE: u8 = 22;

/// How long to wait for the rest of a first packet that is shorter than what is looked for: twice as long each time,
/// since one byte must not buy a thousand looks.
pub(super) const PEEK_PAUSE: Duration = Duration::from_millis(5);

pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Writes as much as the system takes at once.
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            Self::Unix(stream) => stream.try_write(bytes),
        }
    }

    /// Ready when there is something to read, be it the end.
    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(cx),
            Self::Unix(stream) => stream.poll_read_ready(cx),
        }
    }

    /// Lets the system wait for acknowledgements for as long as it likes.
    pub(super) fn clear_user_timeout(&self) {
        if let Self::Tcp(stream) = self {
            let _ = SockRef::from(stream).set_tcp_user_timeout(None);
        }
    }

    /// Whether the client begins with HTTP/2, by its first bytes, which stay unread. Over a Unix socket nobody does:
    /// proxies speak HTTP/1.1 there.
    pub(super) async fn begins_with_http2(&self) -> io::Result<bool> {
        let Self::Tcp(stream) = self else { return Ok(false) };
        let mut first = [0; HTTP2_PREFACE.len()];
        let mut pause = PEEK_PAUSE;
        loop {
            let n = peek(stream, &mut first).await?;
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

    /// Whether the client begins with TLS, by its first byte, which stays unread.
    pub(super) async fn begins_with_tls(&self) -> io::Result<bool> {
        let Self::Tcp(stream) = self else { return Ok(true) };
        let mut first = [0];
        peek(stream, &mut first).await?;
        Ok(first == [TLS_HANDSHAKE])
    }
}

/// Reads what comes first, at least one byte, and leaves it there.
pub(super) async fn peek(stream: &TcpStream, first: &mut [u8]) -> io::Result<usize> {
    match stream.peek(first).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        n => Ok(n),
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The system has everything already.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
