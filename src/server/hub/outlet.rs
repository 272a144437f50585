//! The direct way to a client: the fan-out writes to it itself.

use std::task::{Context, Poll};

use super::batch::Chunk;
use crate::server::log::Cursor;

/// A stream without a task: it waits in its mailbox until it is written to, or its client has gone.
///
/// No method may block or call back into the hub: they are called for thousands of sessions in a row, and under the
/// mailbox's lock.
pub trait Outlet: Send {
    /// Everything up to here was written.
    fn cursor(&self) -> Cursor;

    /// Writes a chunk, as much of it as the client takes at once.
    fn write(&mut self, chunk: &Chunk) -> Written;

    /// Writes a comment, as far as the client takes it at once.
    fn comment(&mut self) -> Written;

    /// Whether the client has sent something or gone away. Wakes the task when it does.
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Goes on with a task of its own, which writes what is left and then polls the mailbox.
    fn resume(self: Box<Self>);
}

/// How much of something was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// All of it.
    All,
    /// A part: the outlet has kept the rest, and must be resumed to write it.
    Part,
    /// Nothing: the outlet must be resumed.
    Nothing,
}
