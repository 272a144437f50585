//! The socket that hyper gets for HTTP/1.1. It answers requests whose head can't be read, since no service ever sees them
//! and hyper's own answers have no body and no header that lets a browser's script read them; and it notes when everything
//! was written, for whoever takes the connection over.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::handover::Handover;

/// The whole HTTP/1.1 response for a status that hyper answers by itself; `None` leaves hyper's.
pub(crate) type HeadRefusals = Arc<dyn Fn(u16) -> Option<Bytes> + Send + Sync>;

/// How the status line of a response begins.
const STATUS_LINE: &[u8] = b"HTTP/1.1 ";
/// What hyper's own answers have, and an answer with a problem document never has.
const NO_BODY: &[u8] = b"content-length: 0\r\n";

/// A socket for hyper.
pub(super) struct Http1Socket<T> {
    io: T,
    handover: Handover,
    refusals: HeadRefusals,
    /// What is left of a response that is written in the place of hyper's.
    replacement: Option<Box<Bytes>>,
}

impl<T> Http1Socket<T> {
    pub(super) fn new(io: T, handover: Handover, refusals: HeadRefusals) -> Self {
        Self { io, handover, refusals, replacement: None }
    }

    pub(super) fn into_inner(self) -> T {
        self.io
    }

    /// The response to write instead of this one, which is written in one piece.
    fn replacement(&self, response: &[u8]) -> Option<Bytes> {
        let code = response.strip_prefix(STATUS_LINE)?.get(..3)?;
        if code[0] != b'4' || !response.windows(NO_BODY.len()).any(|window| window.eq_ignore_ascii_case(NO_BODY)) {
            return None;
        }
        (self.refusals)(str::from_utf8(code).ok()?.parse().ok()?)
    }
}

impl<T: AsyncWrite + Unpin> Http1Socket<T> {
    fn poll_replacement(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = &mut self.replacement {
            if rest.is_empty() {
                self.replacement = None;
                break;
            }
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, rest))?;
            rest.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Http1Socket<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Http1Socket<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.replacement(buf) {
            Some(replacement) => {
                self.replacement = Some(Box::new(replacement));
                Poll::Ready(Ok(buf.len()))
            }
            None => Pin::new(&mut self.io).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match bufs {
            [only] => self.poll_write(cx, only),
            // hyper's own answers are in one piece.
            _ => Pin::new(&mut self.io).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_replacement(cx))?;
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        // hyper flushes only when its own buffers are empty.
        self.handover.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_replacement(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
