//! What the parts of a node share: its own store, and what the messages in the stream become there.

use std::sync::{Arc, OnceLock};

use chrono::SubsecRound;
use tokio::sync::watch;

use super::lost::Lost;
use super::message::{self, MessageError};
use super::notes::Notes;
use super::pending::Pending;
use super::place::{PER_MESSAGE, Place};
use super::status::Status;
use super::stream::{Stored, Stream};
use crate::server::log::id_cipher::IdCipher;
use crate::server::log::{Entry, Field, Lane, Retention, Store};

/// A node of a cluster.
pub(super) struct Node {
    /// Its name.
    pub(super) name: String,
    /// What it has copied.
    pub(super) store: Arc<dyn Store>,
    pub(super) lost: Arc<Lost>,
    pub(super) cipher: IdCipher,
    pub(super) retention: Retention,
    pub(super) status: Status,
    /// The sequence number up to which the store has everything.
    pub(super) applied: watch::Sender<u64>,
    pub(super) pending: Pending,
    pub(super) notes: Notes,
    /// Once the connection has been set up.
    pub(super) stream: OnceLock<Stream>,
}

impl Node {
    /// The entries that a message becomes, the same on every node.
    pub(super) fn entries(&self, epoch: u64, stored: &Stored) -> Result<Vec<Entry>, MessageError> {
        Ok(self.content(epoch, stored)?.0)
    }

    /// The same, and the notes that the message carries.
    pub(super) fn content(&self, epoch: u64, stored: &Stored) -> Result<(Vec<Entry>, Vec<String>), MessageError> {
        let message::Content { updates, notes } = message::decode(&stored.payload)?;
        if updates.len() > PER_MESSAGE {
            return Err(MessageError::Foreign(format!("it has more than {PER_MESSAGE} updates")));
        }
        let entry = |(index, message::Submitted { mut update, at, is_system })| {
            let cursor = Place { epoch, sequence: stored.sequence, index }.cursor();
            if update.id.is_none() {
                update.id = Field::parse(&self.cipher.encrypt(cursor)).ok();
            }
            let lane = if is_system { Lane::System } else { self.retention.lane_of(&update.topics) };
            Entry { lane, ..Entry::new(cursor, at.unwrap_or(stored.at).trunc_subsecs(3), update) }
        };
        Ok((updates.into_iter().enumerate().map(entry).collect(), notes))
    }
}
