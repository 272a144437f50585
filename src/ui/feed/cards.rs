//! The cards: one a message, in order, as many as the page holds, and what is remembered of them.

use serde::{Deserialize, Serialize};

use super::burst::{Burst, Entry};
use super::{Feed, Key, Order, Phase};
use crate::wire::message::Message;

/// Cards kept on the page: the document is the memory leak of live feeds.
pub const MOST_CARDS: usize = 200;

/// A message on the page, with its burst.
#[derive(Clone, Debug, PartialEq)]
pub struct Card {
    /// The message.
    pub message: Message,
    /// Whether it was submitted in this tab.
    pub own: bool,
    /// Whether it came while the page was open, and not with the page.
    pub fresh: bool,
    /// Its burst.
    pub burst: Burst,
}

/// What is remembered of a card while the page is reloaded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    message: Message,
    own: bool,
    log: Vec<Entry>,
}

impl Kept {
    pub(super) fn of(card: &Card) -> Self {
        Self { message: card.message.clone(), own: card.own, log: card.burst.log.clone() }
    }

    /// The card as it was. Its line is at rest, or closed if the end had come.
    pub(super) fn into_card(self, of: u32) -> Card {
        let mut burst = Burst::new(of);
        for entry in &self.log {
            burst.read(entry.at, &entry.what);
        }
        burst.log = self.log;
        burst.line.returning = burst.line.last_id.is_some();
        if burst.closed_at.is_some() {
            burst.line.phase = Phase::Closed;
        }
        Card { message: self.message, own: self.own, fresh: false, burst }
    }
}

impl Feed {
    pub(super) fn add(&mut self, message: Message, own: bool) {
        if let Some(card) = self.card_mut(&message.id) {
            card.own |= own;
            self.orders.push(Order::List);
            return;
        }
        let burst = Burst::new(self.repeat);
        self.insert(Card { message, own, fresh: true, burst });
    }

    /// Puts a card at its place by time. The answer to a submission can overtake the live stream,
    /// so the newest message is not always the last to be heard of.
    pub(super) fn insert(&mut self, card: Card) {
        let place = self.cards.iter().position(|other| other.message.published_at <= card.message.published_at);
        self.cards.insert(place.unwrap_or(self.cards.len()), card);
        for gone in self.cards.drain(MOST_CARDS.min(self.cards.len())..) {
            if gone.burst.line.holds_connection() {
                self.orders.push(Order::Close(Key::Burst(gone.message.id)));
            }
        }
        self.orders.push(Order::List);
    }

    pub(super) fn card(&self, id: &str) -> Option<&Card> {
        self.cards.iter().find(|card| card.message.id == id)
    }

    pub(super) fn card_mut(&mut self, id: &str) -> Option<&mut Card> {
        self.cards.iter_mut().find(|card| card.message.id == id)
    }
}
