//! Control messages between nodes.

use tokio::sync::{Mutex, mpsc, oneshot};

/// Maximum number of control messages that wait for the handler.
const CAPACITY: usize = 16;

/// A control message. The follower reads on in the stream once the handler has dropped it.
#[derive(Debug)]
pub struct ControlMessage {
    /// Its content.
    pub text: String,
    _handled: oneshot::Sender<()>,
}

/// Delivers control messages to one handler.
pub(super) struct ControlChannel {
    sender: mpsc::Sender<ControlMessage>,
    receiver: Mutex<Option<mpsc::Receiver<ControlMessage>>>,
}

impl Default for ControlChannel {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        Self { sender, receiver: Mutex::new(Some(receiver)) }
    }
}

impl ControlChannel {
    /// The receiving end; `None` for all callers but the first.
    pub(super) fn take(&self) -> Option<mpsc::Receiver<ControlMessage>> {
        self.receiver.try_lock().ok()?.take()
    }

    /// Delivers a message and waits until the handler has dropped it. Without a handler the message is dropped.
    pub(super) async fn deliver(&self, text: String) {
        let (handled, done) = oneshot::channel();
        if self.sender.send(ControlMessage { text, _handled: handled }).await.is_ok() {
            _ = done.await;
        }
    }
}
