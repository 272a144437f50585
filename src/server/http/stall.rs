//! Notices readers that take nothing: a socket that gives up when a write has waited for too long.
//!
//! Its cursor is all that a slow reader costs the hub, but its connection costs memory and a socket, and one
//! that has gone without a word would keep them for ever.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// Up to so many bytes are gathered before they are written.
const SMALL: usize = 1024;

/// A socket whose writes fail with [`io::ErrorKind::TimedOut`] once nothing could be written for `patience`.
pub(super) struct StallGuard {
    stream: TcpStream,
    patience: Duration,
    /// Runs only while a write waits: an idle connection has no timer.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl StallGuard {
    pub(super) fn new(stream: TcpStream, patience: Duration) -> Self {
        Self { stream, patience, waiting: None }
    }

    fn guard<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let patience = self.patience;
        let waiting = self.waiting.get_or_insert_with(|| {
            // The system would count from when the client's window was first too small for what is next, and cut
            // off one that reads on slowly. It can't be told again: it would count from then still.
            let _ = SockRef::from(&self.stream).set_tcp_user_timeout(None);
            Box::pin(sleep(patience))
        });
        if waiting.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        let reason = format!("the client took nothing for {patience:?} while data waited");
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, reason)))
    }
}

impl AsyncRead for StallGuard {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for StallGuard {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.guard(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length: usize = bufs.iter().map(|buf| buf.len()).sum();
        let mut small = [0; SMALL];
        let written = match small.get_mut(..length) {
            // An event and its chunk's lines are three pieces: for so few bytes, gathering them here costs less
            // than having the kernel do it, for every subscriber of every event.
            Some(mut gathered) => {
                for buf in bufs {
                    let (head, tail) = gathered.split_at_mut(buf.len());
                    head.copy_from_slice(buf);
                    gathered = tail;
                }
                Pin::new(&mut self.stream).poll_write(cx, &small[..length])
            }
            None => Pin::new(&mut self.stream).poll_write_vectored(cx, bufs),
        };
        self.guard(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
