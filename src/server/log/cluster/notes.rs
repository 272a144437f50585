//! What nodes tell each other, in the order of the log.

use tokio::sync::{Mutex, mpsc, oneshot};

/// How many notes may wait for whoever takes them.
const CAPACITY: usize = 16;

/// What a node has told all nodes. What came into the log after it is not read before this is dropped.
#[derive(Debug)]
pub struct Note {
    /// What it says.
    pub text: String,
    _taken: oneshot::Sender<()>,
}

/// Hands notes to whoever takes them.
pub(super) struct Notes {
    sender: mpsc::Sender<Note>,
    receiver: Mutex<Option<mpsc::Receiver<Note>>>,
}

impl Default for Notes {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        Self { sender, receiver: Mutex::new(Some(receiver)) }
    }
}

impl Notes {
    /// The notes, for the first who asks.
    pub(super) fn take(&self) -> Option<mpsc::Receiver<Note>> {
        self.receiver.try_lock().ok()?.take()
    }

    /// Hands a note over, and waits until it has been taken care of. Without anybody who takes it, it is lost.
    pub(super) async fn hand_over(&self, text: String) {
        let (taken, done) = oneshot::channel();
        if self.sender.send(Note { text, _taken: taken }).await.is_ok() {
            _ = done.await;
        }
    }
}
