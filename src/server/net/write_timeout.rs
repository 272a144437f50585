//! A socket whose writes time out, for clients that read nothing.
//!
//! A slow reader costs the hub its cursor alone, but its connection costs memory and a socket, and a client that has
//! vanished would keep them for ever.

use std::error::Error;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use std::{io, iter};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};
use tracing::{debug, info};

use super::socket::Socket;

/// Writes of up to this many bytes in several pieces are copied into one.
const SMALL: usize = 1024;

/// A socket whose writes fail with [`io::ErrorKind::TimedOut`] once nothing could be written for `timeout`.
pub(super) struct WriteTimeout {
    stream: Socket,
    timeout: Duration,
    /// Runs only while a write waits: an idle connection has no timer.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl WriteTimeout {
    pub(super) fn new(stream: Socket, timeout: Duration) -> Self {
        Self { stream, timeout, waiting: None }
    }

    pub(super) fn get_ref(&self) -> &Socket {
        &self.stream
    }

    fn guard<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let timeout = self.timeout;
        let waiting = self.waiting.get_or_insert_with(|| {
            // The system would count from when the client's window was first too small for the next write, and cut off a
            // client that reads on slowly. Setting it again later does not help: it would still count from then.
            self.stream.clear_user_timeout();
            Box::pin(sleep(timeout))
        });
        if waiting.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        let reason = format!("the client took nothing for {timeout:?} while data waited");
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, reason)))
    }
}

/// Logs why a connection has failed. A write timeout is no error of ours or of the network: an operator is told of it.
pub(super) fn log_failure(peer: SocketAddr, error: &(dyn Error + 'static)) {
    // hyper puts it among the causes of its own error.
    let mut causes = iter::successors(Some(error), |&error| error.source());
    let timed_out = |error: &&io::Error| error.kind() == io::ErrorKind::TimedOut;
    match causes.find_map(|cause| cause.downcast_ref().filter(timed_out)) {
        Some(reason) => info!(%peer, %reason, "a connection was cut"),
        None => debug!(%peer, %error, "a connection ended with an error"),
    }
}

impl AsyncRead for WriteTimeout {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for WriteTimeout {
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
            // An event and its chunk's lines are three pieces: for so few bytes, copying them here costs less than having
            // the kernel gather them, for every subscriber of every event.
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
