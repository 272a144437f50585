//! What the parts of a node share, and how messages become entries.

use std::sync::{Arc, OnceLock};

use tokio::sync::watch;

use super::control::ControlChannel;
use super::message::{self, MessageError};
use super::missing::MissingEntries;
use super::pending::Pending;
use super::position::{PER_MESSAGE, StreamPosition};
use super::status::Status;
use super::stream::{StoredMessage, Stream};
use crate::server::log::id_cipher::IdCipher;
use crate::server::log::place::place;
use crate::server::log::{Entry, Retention, Store};

/// A node of a cluster.
pub(super) struct Node {
    /// Its name.
    pub(super) name: String,
    /// Its copy of the log.
    pub(super) store: Arc<dyn Store>,
    pub(super) missing: Arc<MissingEntries>,
    pub(super) cipher: IdCipher,
    pub(super) retention: Retention,
    pub(super) status: Status,
    /// The sequence number up to which the store has all messages.
    pub(super) applied: watch::Sender<u64>,
    pub(super) pending: Pending,
    pub(super) control: ControlChannel,
    /// Set once the connection has been set up.
    pub(super) stream: OnceLock<Stream>,
}

impl Node {
    /// The entries of a message. They are the same on every node.
    pub(super) fn entries(&self, epoch: u64, stored: &StoredMessage) -> Result<Vec<Entry>, MessageError> {
        Ok(self.content(epoch, stored)?.0)
    }

    /// The entries and the control messages of a message.
    pub(super) fn content(
        &self,
        epoch: u64,
        stored: &StoredMessage,
    ) -> Result<(Vec<Entry>, Vec<String>), MessageError> {
        let message::MessageContent { updates, notes } = message::decode(&stored.payload)?;
        if updates.len() > PER_MESSAGE {
            return Err(MessageError::Foreign(format!("it has more than {PER_MESSAGE} updates")));
        }
        let entry = |(index, message::SubmittedUpdate { update, at, is_system })| {
            let cursor = StreamPosition { epoch, sequence: stored.sequence, index }.cursor();
            place(cursor, update, at.unwrap_or(stored.at), is_system, &self.cipher, &self.retention)
        };
        Ok((updates.into_iter().enumerate().map(entry).collect(), notes))
    }
}
