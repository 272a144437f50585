//! The cards: one per message, in order, up to a limit, and what is saved of them over a reload.

use serde::{Deserialize, Serialize};

use super::burst::Burst;
use super::{Command, Feed, Key};
use crate::ui::stream::{LogEntry, Phase};
use crate::wire::message::Message;

/// How many cards the page keeps: the document is the memory leak of live feeds.
pub const MAX_CARDS: usize = 200;

/// A message on the page, with its burst.
#[derive(Clone, Debug, PartialEq)]
pub struct Card {
    /// The message.
    pub message: Message,
    /// Whether it was submitted in this tab.
    pub own: bool,
    /// Whether it arrived while the page was open, not with the page.
    pub fresh: bool,
    /// Its burst.
    pub burst: Burst,
}

/// What is saved of a card while the page is reloaded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedCard {
    message: Message,
    own: bool,
    log: Vec<LogEntry>,
}

impl SavedCard {
    pub(super) fn of(card: &Card) -> Self {
        Self { message: card.message.clone(), own: card.own, log: card.burst.log.clone() }
    }

    /// The card as it was. Its connection is idle, or closed if the burst has ended.
    pub(super) fn into_card(self, of: u32) -> Card {
        let mut burst = Burst::new(of);
        for entry in &self.log {
            burst.apply(entry.at, &entry.item);
        }
        burst.log = self.log;
        burst.connection.returning = burst.connection.last_id.is_some();
        if burst.closed_at.is_some() {
            burst.connection.phase = Phase::Closed;
        }
        Card { message: self.message, own: self.own, fresh: false, burst }
    }
}

impl Feed {
    pub(super) fn add(&mut self, message: Message, own: bool) {
        if let Some(card) = self.card_mut(&message.id) {
            card.own |= own;
            self.commands.push(Command::ShowCards);
            return;
        }
        let burst = Burst::new(self.repeat);
        self.insert(Card { message, own, fresh: true, burst });
    }

    /// Inserts a card by the time of its message. The answer to a submission can overtake the live stream, so the
    /// newest message is not always the last one the page learns of.
    pub(super) fn insert(&mut self, card: Card) {
        let place = self.cards.iter().position(|other| other.message.published_at <= card.message.published_at);
        self.cards.insert(place.unwrap_or(self.cards.len()), card);
        for removed in self.cards.drain(MAX_CARDS.min(self.cards.len())..) {
            self.has_older = true;
            if removed.burst.connection.holds_connection() {
                self.commands.push(Command::Close(Key::Burst(removed.message.id)));
            }
        }
        self.commands.push(Command::ShowCards);
    }

    pub(super) fn card(&self, id: &str) -> Option<&Card> {
        self.cards.iter().find(|card| card.message.id == id)
    }

    pub(super) fn card_mut(&mut self, id: &str) -> Option<&mut Card> {
        self.cards.iter_mut().find(|card| card.message.id == id)
    }
}
