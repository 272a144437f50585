//! A client's socket, without hyper.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};

use super::open_connections::OpenConnection;
use super::write_timeout::{WriteTimeout, log_failure};

/// Maximum bytes that a client may send while it is being answered: they are thrown away.
const UNASKED: usize = 64 * 1024;

/// A connection that hyper has let go of. Dropping it closes it.
pub(crate) struct DirectSocket {
    io: WriteTimeout,
    peer: SocketAddr,
    /// Bytes that the client has sent meanwhile.
    unasked: usize,
    _open: OpenConnection,
}

impl DirectSocket {
    pub(super) fn new(io: WriteTimeout, peer: SocketAddr, open: OpenConnection) -> Self {
        Self { io, peer, unasked: 0, _open: open }
    }

    /// Writes as much as the system takes at once, and answers how much that was. Whatever else prevents it, a later
    /// write meets it again.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> usize {
        self.io.get_ref().try_write(bytes).unwrap_or_default()
    }

    /// Writes all of it. Fails when the client has gone away, or takes nothing for too long.
    pub(crate) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.io.write_all(bytes).await.inspect_err(|error| log_failure(self.peer, error))
    }

    /// Says that nothing more comes.
    pub(crate) async fn close(mut self) {
        _ = self.io.shutdown().await;
    }

    /// Whether there is something to read, be it the end. Wakes the task when there is.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.io.get_ref().poll_read_ready(cx).map(|_| ())
    }

    /// Ready when the client has gone away. What it sends is thrown away, up to a limit.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut bytes = [0; 1024];
        loop {
            let mut buffer = ReadBuf::new(&mut bytes);
            let read = ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer));
            self.unasked += buffer.filled().len();
            if read.is_err() || buffer.filled().is_empty() || self.unasked > UNASKED {
                return Poll::Ready(());
            }
        }
    }
}
