//! A stream over HTTP/1.1 without hyper: once its head is sent it has the socket, and as long as its client takes
//! everything at once it needs no task either.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::body::Bytes;
use http_body::{Body, Frame};
use tokio::task::unconstrained;

use super::frames::Frames;
use super::sse_body::SseBody;
use crate::server::hub::{Chunk, Outlet, Written, chunk};
use crate::server::log::Cursor;
use crate::server::net::{DirectSocket, Handover, Successor};

/// Bytes of frames that are collected before they are written.
const COLLECTED: usize = 16 * 1024;

/// A comment, as a chunk.
const COMMENT: &[u8] = b"2\r\n:\n\r\n";

/// What ends a body in chunks (RFC 9112, 7.1).
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// What hyper sends of a stream: the first comment. Then the stream takes the connection over.
pub(super) struct OpeningBody {
    opening: Arc<Opening>,
    handover: Handover,
    /// hyper polls again behind its last flush: named once more, the stream would wait for another one.
    is_named: bool,
}

/// A stream that waits for its socket.
struct Opening(Mutex<Option<SseBody<Frames>>>);

impl OpeningBody {
    pub(super) fn new(body: SseBody<Frames>, handover: Handover) -> Self {
        Self { opening: Arc::new(Opening(Mutex::new(Some(body)))), handover, is_named: false }
    }
}

impl Body for OpeningBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(body) = self.opening.body().as_mut().filter(|body| body.is_opening()) {
            return Pin::new(body).poll_frame(cx);
        }
        if !std::mem::replace(&mut self.is_named, true) {
            self.handover.to(self.opening.clone());
        }
        Poll::Pending
    }
}

impl Drop for OpeningBody {
    fn drop(&mut self) {
        self.handover.withdraw();
    }
}

impl Opening {
    fn body(&self) -> MutexGuard<'_, Option<SseBody<Frames>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Successor for Opening {
    fn take_over(&self, socket: DirectSocket) {
        let body = self.body().take();
        if let Some(body) = body {
            Box::new(DirectStream { body, socket, unsent: None }).resume();
        }
    }
}

/// A stream and its socket.
struct DirectStream {
    body: SseBody<Frames>,
    socket: DirectSocket,
    /// The rest of a chunk that was begun. In a box: thousands of streams have none, and keep room for none.
    unsent: Option<Box<Bytes>>,
}

/// What a stream has to do.
enum Next {
    Write(Bytes),
    End,
    /// The client has gone away.
    Gone,
    /// Everything was written that there is.
    Park,
}

impl DirectStream {
    async fn run(mut self: Box<Self>) {
        loop {
            match std::future::poll_fn(|cx| self.poll_next(cx)).await {
                Next::Write(bytes) => {
                    if self.socket.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
                Next::End => {
                    if self.socket.write_all(LAST_CHUNK).await.is_ok() {
                        self.socket.close().await;
                    }
                    return;
                }
                Next::Gone => return,
                Next::Park => {
                    let mailbox = self.body.mailbox().clone();
                    match mailbox.park(self) {
                        Ok(()) => return,
                        Err(stream) => self = stream,
                    }
                }
            }
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        if let Some(unsent) = self.unsent.take() {
            return Poll::Ready(Next::Write(*unsent));
        }
        if self.socket.poll_gone(cx).is_ready() {
            return Poll::Ready(Next::Gone);
        }
        let (mut frames, mut length, mut ended) = (Vec::new(), 0, false);
        while length < COLLECTED {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let data = frame.into_data().unwrap_or_default();
                    length += data.len();
                    frames.push(data);
                }
                Poll::Ready(None) => {
                    ended = true;
                    break;
                }
                Poll::Pending => break,
            }
        }
        if length > 0 {
            Poll::Ready(Next::Write(chunk(frames.iter().map(|frame| &**frame), length)))
        } else if ended {
            Poll::Ready(Next::End)
        } else if self.body.is_live() {
            Poll::Ready(Next::Park)
        } else {
            Poll::Pending
        }
    }

    /// Notes how much of the bytes was written at once.
    fn wrote(&mut self, written: usize, bytes: &Bytes) -> Written {
        match written {
            0 => Written::Nothing,
            _ if written == bytes.len() => Written::All,
            _ => {
                self.unsent = Some(Box::new(bytes.slice(written..)));
                Written::Part
            }
        }
    }
}

impl Outlet for DirectStream {
    fn cursor(&self) -> Cursor {
        self.body.cursor()
    }

    fn write(&mut self, chunk: &Chunk) -> Written {
        let written = self.wrote(self.socket.try_write(&chunk.bytes), &chunk.bytes);
        if written != Written::Nothing {
            self.body.delivered(chunk);
        }
        written
    }

    fn comment(&mut self) -> Written {
        self.wrote(self.socket.try_write(COMMENT), &Bytes::from_static(COMMENT))
    }

    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.socket.poll_readable(cx)
    }

    fn resume(self: Box<Self>) {
        // It takes turns by itself. A budget that runs out would wake a parked stream while its mailbox is locked.
        tokio::spawn(unconstrained(self.run()));
    }
}
