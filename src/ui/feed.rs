//! What the page knows, and what hearing something does to it. A plain struct: no signals, no
//! browser, no clock. It is told what happens and when, and answers with [`Order`]s.
//!
//! The rules it holds: each message has one card; at most [`SLOTS`] streams besides the page's own
//! are open at once, the rest wait their turn; a lost stream goes on from the last event heard; a
//! stream that the server ended or refused is not asked for again by itself; a page that nobody
//! looks at lets its endless streams go.

mod burst;
mod cards;
mod demo;
mod line;
mod lines;
mod news;
#[cfg(test)]
mod tests;

pub use burst::{Burst, Entry, What};
pub use cards::{Card, Kept, MOST_CARDS};
pub use demo::{Demo, SHOWN, Tap, Ticked};
pub use line::{Answer, Heard, Line, Moment, Phase};

use crate::wire::event::{CLOSE, GAP};
use crate::wire::message::Message;
use crate::wire::problem::Problem;
use news::News;

/// Streams besides the page's own that may be open at once. A browser has six HTTP/1.1 connections
/// to one origin: four, the page's own, and one for what the visitor submits.
pub const SLOTS: usize = 4;

/// Messages from elsewhere open their bursts by themselves while fewer than this wait. A flood is
/// shown at rest, or this tab would still be watching it minutes later.
const MOST_WAITING: usize = 12;

/// Finished bursts remembered over a reload.
const MOST_KEPT: usize = 20;

/// How long a hidden page keeps its endless streams, in milliseconds.
const HIDDEN_FOR: f64 = 10_000.0;

/// Names one of the page's streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// The page's own: every message, as it comes.
    Live,
    /// The burst of the message with this id.
    Burst(String),
    /// A demo stream.
    Demo(Demo),
}

/// What the feed wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// Open a stream at this address.
    Open(Key, String),
    /// Close the stream.
    Close(Key),
    /// Ask the server what it has against a stream at this address, and answer.
    Ask(Key, String),
    /// Show what has changed about this stream.
    Show(Key),
    /// Show the list of cards: one has come or gone.
    List,
    /// Say this to somebody who listens instead of looking.
    Say(String),
    /// Remember [`Feed::kept`].
    Keep,
}

/// See the head of this file.
#[derive(Debug, Default)]
pub struct Feed {
    cards: Vec<Card>,
    live: Line,
    taps: [Tap; Demo::ALL.len()],
    news: News,
    orders: Vec<Order>,
    repeat: u32,
    turns: u64,
    hidden_since: Option<f64>,
}

impl Feed {
    /// The feed of a page that was rendered with these messages, newest first. Everything is at
    /// rest until [`Feed::start`].
    pub fn new(messages: Vec<Message>, repeat: u32) -> Self {
        let card = |message| Card { message, own: false, fresh: false, burst: Burst::new(repeat) };
        Self { cards: messages.into_iter().map(card).collect(), repeat, ..Self::default() }
    }

    /// The cards, newest first.
    pub fn cards(&self) -> &[Card] {
        &self.cards
    }

    /// The burst of the message with this id.
    pub fn burst(&self, id: &str) -> Option<&Burst> {
        self.card(id).map(|card| &card.burst)
    }

    /// The page's own stream.
    pub fn live(&self) -> &Line {
        &self.live
    }

    /// A demo stream.
    pub fn tap(&self, demo: Demo) -> &Tap {
        &self.taps[demo as usize]
    }

    /// What is to be remembered over a reload: the bursts that were watched, the finished ones only
    /// as far as they are recent.
    pub fn kept(&self) -> Vec<Kept> {
        let mut finished = 0;
        let watched = self.cards.iter().filter(|card| card.burst.line.is_under_way() || !card.burst.log.is_empty());
        let kept = watched.filter(|card| {
            finished += usize::from(!card.burst.line.is_under_way());
            card.burst.line.is_under_way() || finished <= MOST_KEPT
        });
        kept.map(Kept::of).collect()
    }

    /// What the feed wants done, in order. Each order is given once.
    pub fn take_orders(&mut self) -> Vec<Order> {
        std::mem::take(&mut self.orders)
    }

    /// When [`Feed::tick`] is due next; `None` if time alone changes nothing.
    pub fn next_tick(&self) -> Option<f64> {
        let lines = std::iter::once(&self.live)
            .chain(self.cards.iter().map(|card| &card.burst.line))
            .chain(self.taps.iter().map(|tap| &tap.line));
        let hide = self.hidden_since.filter(|_| self.can_pause()).map(|since| since + HIDDEN_FOR);
        lines.filter_map(Line::next_tick).chain(hide).chain(self.news.due_at()).min_by(f64::total_cmp)
    }

    /// The page has come to life: what it watched before a reload goes on, and the page's own
    /// stream begins after the newest message that came with the page.
    pub fn start(&mut self, kept: Vec<Kept>, at: Moment) {
        self.live.last_id = self.cards.first().map(|card| card.message.id.clone());
        for kept in kept.into_iter().rev() {
            let card = kept.into_card(self.repeat);
            let (id, over) = (card.message.id.clone(), card.burst.closed_at.is_some());
            match self.card_mut(&id) {
                Some(shown) => *shown = Card { fresh: false, ..card },
                None => self.insert(card),
            }
            self.orders.push(Order::Show(Key::Burst(id.clone())));
            if !over {
                self.queue(&Key::Burst(id));
            }
        }
        self.orders.push(Order::List);
        self.connect(&Key::Live);
        self.settle(at);
    }

    /// The server took what was submitted in this tab.
    pub fn submitted(&mut self, message: Message, at: Moment) {
        let id = message.id.clone();
        self.add(message, true);
        let key = Key::Burst(id);
        if self.line(&key).is_some_and(|line| line.phase == Phase::Rest) {
            self.queue(&key);
        }
        self.settle(at);
    }

    /// Somebody wants to watch a burst or a demo stream: from the beginning, unless it was refused
    /// on its way.
    pub fn watch(&mut self, key: &Key, at: Moment) {
        let repeat = self.repeat;
        match key {
            Key::Live => {}
            Key::Burst(id) => {
                let Some(card) = self.card_mut(id) else { return };
                if card.burst.line.is_under_way() {
                    return;
                }
                if card.burst.line.phase == Phase::Closed {
                    card.burst = Burst::new(repeat);
                }
            }
            Key::Demo(demo) => self.taps[*demo as usize] = Tap::default(),
        }
        self.queue(key);
        self.settle(at);
    }

    /// Somebody has seen enough of a stream.
    pub fn stop(&mut self, key: &Key, at: Moment) {
        self.set_phase(key, Phase::Rest);
        self.orders.push(Order::Close(key.clone()));
        self.settle(at);
    }

    /// Tries again at once, without waiting for the countdown.
    pub fn retry(&mut self, key: &Key, at: Moment) {
        match self.line(key).map(|line| &line.phase) {
            Some(Phase::Lost { .. }) => self.connect(key),
            Some(Phase::Refused(_)) if *key == Key::Live => self.connect(key),
            Some(Phase::Refused(_)) => self.queue(key),
            _ => {}
        }
        self.settle(at);
    }

    /// Tries every lost stream again at once: the network, or the visitor, is back.
    pub fn retry_all(&mut self, at: Moment) {
        for key in self.keys_where(|line| matches!(line.phase, Phase::Lost { .. })) {
            self.connect(&key);
        }
        self.settle(at);
    }

    /// The page is looked at, or no longer.
    pub fn visible(&mut self, visible: bool, at: Moment) {
        if !visible {
            self.hidden_since.get_or_insert(at.now);
            return;
        }
        self.hidden_since = None;
        for key in self.keys_where(|line| line.phase == Phase::Paused) {
            if key == Key::Live { self.connect(&key) } else { self.queue(&key) }
        }
        self.retry_all(at);
    }

    /// Time has passed.
    pub fn tick(&mut self, at: Moment) {
        for key in self.keys_where(|line| matches!(line.phase, Phase::Lost { .. })) {
            let Some(line) = self.line_mut(&key) else { continue };
            if line.is_due(at.now) {
                self.connect(&key);
            } else if line.count_down(at.now) {
                self.orders.push(Order::Show(key));
            }
        }
        if self.hidden_since.is_some_and(|since| at.now >= since + HIDDEN_FOR) {
            for key in self.keys_where(Line::is_under_way) {
                if !matches!(key, Key::Burst(_)) {
                    self.set_phase(&key, Phase::Paused);
                    self.orders.push(Order::Close(key));
                }
            }
        }
        self.settle(at);
    }

    /// A connection says something.
    pub fn heard(&mut self, key: &Key, heard: Heard, at: Moment) {
        let Some(line) = self.line_mut(key) else { return };
        match heard {
            Heard::Open => {
                let back = line.failures > 0;
                line.opened();
                let after = line.resumed_after.clone();
                self.note(key, What::Opened { after }, at);
                if back && *key == Key::Live {
                    self.news.notice("Connected again.");
                }
            }
            Heard::Event { id, name, data } => self.event(key, id, name, data, at),
            Heard::Lost { refused: false } => {
                self.orders.push(Order::Close(key.clone()));
                self.lose(key, at);
            }
            Heard::Lost { refused: true } => {
                line.phase = Phase::Asking;
                self.orders.push(Order::Close(key.clone()));
                if let Some(address) = self.address(key) {
                    self.orders.push(Order::Ask(key.clone(), address));
                }
            }
        }
        self.orders.push(Order::Show(key.clone()));
        self.settle(at);
    }

    /// What the server said when it was asked why it refused a stream.
    pub fn answered(&mut self, key: &Key, answer: Answer, at: Moment) {
        if self.line(key).is_none_or(|line| line.phase != Phase::Asking) {
            return;
        }
        match answer {
            Answer::Ended => {
                self.note(key, What::Ended, at);
                self.set_phase(key, Phase::Closed);
            }
            Answer::Refused(problem) if is_lasting(&problem) => {
                self.note(key, What::Refused(problem.detail.clone()), at);
                self.set_phase(key, Phase::Refused(problem));
            }
            Answer::Stream | Answer::Silent | Answer::Refused(_) => self.lose(key, at),
        }
        self.orders.push(Order::Show(key.clone()));
        self.settle(at);
    }

    fn event(&mut self, key: &Key, id: String, name: String, data: String, at: Moment) {
        match key {
            Key::Live => {
                if name == GAP {
                    self.news.notice("Some messages are gone: the server no longer keeps them.");
                } else if let Ok(message) = serde_json::from_str::<Message>(&data) {
                    self.came_live(message);
                }
                if !id.is_empty() {
                    self.live.last_id = Some(id);
                }
            }
            Key::Burst(message_id) => {
                let Some(card) = self.card_mut(message_id) else { return };
                if card.burst.knows(&id) {
                    return;
                }
                let over = name == CLOSE;
                let text = card.message.message.clone();
                let arrival = card.burst.note(at.now, What::Event { id, name, data });
                if over {
                    card.burst.line.phase = Phase::Closed;
                    self.orders.push(Order::Close(key.clone()));
                    self.news.complete(&text);
                }
                if let Some(arrival) = arrival {
                    self.news.arrival(&text, arrival.repeat, arrival.of);
                }
                self.orders.push(Order::Keep);
            }
            Key::Demo(demo) => self.taps[*demo as usize].hear(id, data),
        }
    }

    fn came_live(&mut self, message: Message) {
        if self.card(&message.id).is_some() {
            return;
        }
        let (id, text) = (message.id.clone(), message.message.clone());
        self.add(message, false);
        self.news.message(&text);
        let waiting = self.cards.iter().filter(|card| card.burst.line.phase == Phase::Queued).count();
        if self.hidden_since.is_none() && waiting < MOST_WAITING {
            self.queue(&Key::Burst(id));
        }
    }

    fn lose(&mut self, key: &Key, at: Moment) {
        let Some(line) = self.line_mut(key) else { return };
        let was_open = line.phase == Phase::Open;
        line.lose(at);
        if was_open {
            self.note(key, What::Lost, at);
            if *key == Key::Live {
                self.news.notice("Connection lost. Trying again.");
            }
        }
    }

    fn note(&mut self, key: &Key, what: What, at: Moment) {
        let Key::Burst(id) = key else { return };
        if let Some(card) = self.card_mut(id) {
            card.burst.note(at.now, what);
            self.orders.push(Order::Keep);
        }
    }

    fn settle(&mut self, at: Moment) {
        self.hand_out();
        if let Some(text) = self.news.say(at.now) {
            self.orders.push(Order::Say(text));
        }
    }
}

/// Whether trying again would meet the same refusal. A server that is busy or starting is worth another try.
fn is_lasting(problem: &Problem) -> bool {
    (400..500).contains(&problem.status) && !matches!(problem.status, 408 | 429)
}
