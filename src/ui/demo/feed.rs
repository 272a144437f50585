//! What the page knows, and how it changes. A plain struct: no signals, no browser, no clock. It is told what happens
//! and when, and answers with [`Command`]s.
//!
//! Its rules: each message has one card; at most [`SLOTS`] streams besides the page's own are open at once, the others
//! queue; a lost stream resumes after its last event; a stream that opens ends the waits of the others; a stream that
//! the server ended or refused is not requested again automatically; a hidden page closes its endless streams.

mod announcements;
mod burst;
mod cards;
mod connections;
mod demo_stream;
#[cfg(test)]
mod tests;

pub use burst::Burst;
pub use cards::{Card, MAX_CARDS, SavedCard};
pub use demo_stream::{Demo, DemoEvent, DemoStream, EVENTS_SHOWN};

use crate::ui::stream::{Answer, Connection, ConnectionEvent, Due, LogItem, Moment, Phase};
use crate::wire::event::{CLOSE, GAP};
use crate::wire::message::Message;
use announcements::Announcements;

/// How many streams besides the page's own may be open at once. A browser has six HTTP/1.1 connections to one origin:
/// these, the page's own, and one for submissions.
pub const SLOTS: usize = 4;

/// Messages from elsewhere open their bursts while fewer than this are queued. During a flood they stay idle, or this
/// tab would still be watching it minutes later.
const MAX_QUEUED: usize = 12;

/// How many finished bursts are saved over a reload.
const MAX_SAVED: usize = 20;

/// How long a hidden page keeps its endless streams, in milliseconds.
const HIDDEN_FOR: f64 = 10_000.0;

/// Names one of the page's streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// The page's own: every message, as it is published.
    Live,
    /// The burst of the message with this id.
    Burst(String),
    /// A demo stream.
    Demo(Demo),
}

/// What the feed wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Open a stream at this address.
    Open(Key, String),
    /// Close the stream.
    Close(Key),
    /// Ask the server why it refuses a stream at this address, and report the answer.
    Ask(Key, String),
    /// Show what has changed about this stream.
    Show(Key),
    /// Show the list of cards: one was added or removed.
    ShowCards,
    /// The server was reached: nothing on the page may still say that it can't be.
    ServerReached,
    /// Announce this to users of screen readers.
    Announce(String),
    /// Save [`Feed::saved`].
    Save,
}

/// See the head of this file.
#[derive(Debug, Default)]
pub struct Feed {
    cards: Vec<Card>,
    has_older: bool,
    live: Connection,
    demo_streams: [DemoStream; Demo::ALL.len()],
    announcements: Announcements,
    commands: Vec<Command>,
    repeat: u32,
    queued_so_far: u64,
    hidden_since: Option<f64>,
}

impl Feed {
    /// The feed of a page that was rendered with these messages, newest first; `has_older` says whether the server has
    /// more. Nothing is connected before [`Feed::start`].
    pub fn new(messages: Vec<Message>, has_older: bool, repeat: u32) -> Self {
        let card = |message| Card { message, own: false, fresh: false, burst: Burst::new(repeat) };
        Self { cards: messages.into_iter().map(card).collect(), has_older, repeat, ..Self::default() }
    }

    /// The cards, newest first.
    pub fn cards(&self) -> &[Card] {
        &self.cards
    }

    /// Whether there are messages older than the oldest card.
    pub fn has_older(&self) -> bool {
        self.has_older
    }

    /// The burst of the message with this id.
    pub fn burst(&self, id: &str) -> Option<&Burst> {
        self.card(id).map(|card| &card.burst)
    }

    /// The page's own stream.
    pub fn live(&self) -> &Connection {
        &self.live
    }

    /// A demo stream.
    pub fn demo_stream(&self, demo: Demo) -> &DemoStream {
        &self.demo_streams[demo as usize]
    }

    /// What to save over a reload: the bursts that were watched, and of the finished ones only the newest.
    pub fn saved(&self) -> Vec<SavedCard> {
        let mut finished = 0;
        let mut saved = Vec::new();
        for card in &self.cards {
            if card.burst.connection.is_under_way() {
                saved.push(SavedCard::of(card));
            } else if !card.burst.log.is_empty() && finished < MAX_SAVED {
                finished += 1;
                saved.push(SavedCard::of(card));
            }
        }
        saved
    }

    /// What the feed wants done, in order. Each command is given once.
    pub fn take_commands(&mut self) -> Vec<Command> {
        std::mem::take(&mut self.commands)
    }

    /// When [`Feed::tick`] is due next, in milliseconds since 1970; `None` if time alone changes nothing.
    pub fn next_tick(&self) -> Option<f64> {
        let connections = std::iter::once(&self.live)
            .chain(self.cards.iter().map(|card| &card.burst.connection))
            .chain(self.demo_streams.iter().map(|stream| &stream.connection));
        let hide = self.hidden_since.filter(|_| self.can_pause()).map(|since| since + HIDDEN_FOR);
        let due = connections.filter_map(Connection::next_tick);
        due.chain(hide).chain(self.announcements.due_at()).min_by(f64::total_cmp)
    }

    /// The page was hydrated. Bursts that were watched before a reload resume, and the page's own stream begins after
    /// the newest message that came with the page.
    pub fn start(&mut self, saved: Vec<SavedCard>, at: Moment) {
        self.live.last_id = self.cards.first().map(|card| card.message.id.clone());
        for saved in saved.into_iter().rev() {
            let card = saved.into_card(self.repeat);
            let (id, over) = (card.message.id.clone(), card.burst.closed_at.is_some());
            match self.card_mut(&id) {
                Some(shown) => *shown = card,
                None => self.insert(card),
            }
            self.commands.push(Command::Show(Key::Burst(id.clone())));
            if !over {
                self.queue(&Key::Burst(id));
            }
        }
        self.commands.push(Command::ShowCards);
        self.connect(&Key::Live, at.now);
        self.finish(at);
    }

    /// The server accepted a message from this tab.
    pub fn submitted(&mut self, message: Message, at: Moment) {
        let id = message.id.clone();
        self.add(message, true);
        let key = Key::Burst(id);
        if self.connection(&key).is_some_and(|connection| connection.phase == Phase::Idle) {
            self.queue(&key);
        }
        self.server_reached(at.now);
        self.finish(at);
    }

    /// The visitor switches on a burst or a demo stream. It begins anew, unless it was refused before it ended.
    pub fn watch(&mut self, key: &Key, at: Moment) {
        let repeat = self.repeat;
        match key {
            Key::Live => {}
            Key::Burst(id) => {
                let Some(card) = self.card_mut(id) else { return };
                if card.burst.connection.is_under_way() {
                    return;
                }
                if card.burst.connection.phase == Phase::Closed {
                    card.burst = Burst::new(repeat);
                }
            }
            Key::Demo(demo) => self.demo_streams[*demo as usize] = DemoStream::default(),
        }
        self.queue(key);
        self.finish(at);
    }

    /// The visitor switches off a stream.
    pub fn stop(&mut self, key: &Key, at: Moment) {
        self.set_phase(key, Phase::Idle);
        self.commands.push(Command::Close(key.clone()));
        self.finish(at);
    }

    /// Tries a lost or refused stream again at once.
    pub fn retry(&mut self, key: &Key, at: Moment) {
        match self.connection(key).map(|connection| &connection.phase) {
            Some(Phase::Lost { .. }) => self.connect(key, at.now),
            Some(Phase::Refused(_)) if *key == Key::Live => self.connect(key, at.now),
            Some(Phase::Refused(_)) => self.queue(key),
            _ => {}
        }
        self.finish(at);
    }

    /// Tries every lost stream again at once: the network, or the visitor, is back.
    pub fn retry_all(&mut self, at: Moment) {
        for key in self.keys_where(Connection::is_lost) {
            self.connect(&key, at.now);
        }
        self.finish(at);
    }

    /// The page became visible, or hidden.
    pub fn visible(&mut self, visible: bool, at: Moment) {
        if !visible {
            self.hidden_since.get_or_insert(at.now);
            return;
        }
        self.hidden_since = None;
        for key in self.keys_where(|connection| connection.phase == Phase::Paused) {
            if key == Key::Live { self.connect(&key, at.now) } else { self.queue(&key) }
        }
        self.retry_all(at);
    }

    /// Time has passed.
    pub fn tick(&mut self, at: Moment) {
        for key in self.keys_where(|connection| connection.next_tick().is_some()) {
            let Some(connection) = self.connection_mut(&key) else { continue };
            match connection.tick(at.now) {
                Due::Nothing => {}
                Due::Show => self.commands.push(Command::Show(key)),
                Due::Connect => self.connect(&key, at.now),
            }
        }
        if self.hidden_since.is_some_and(|since| at.now >= since + HIDDEN_FOR) {
            for key in self.keys_where(Connection::is_under_way) {
                if !matches!(key, Key::Burst(_)) {
                    self.set_phase(&key, Phase::Paused);
                    self.commands.push(Command::Close(key));
                }
            }
        }
        self.finish(at);
    }

    /// A stream's connection reports something.
    pub fn connection_event(&mut self, key: &Key, event: ConnectionEvent, at: Moment) {
        let Some(connection) = self.connection_mut(key) else { return };
        match event {
            ConnectionEvent::Opened => {
                let was_lost = connection.failures > 0;
                let item = connection.opened(at.now);
                self.log(key, item, at);
                if was_lost && *key == Key::Live {
                    self.announcements.notice("Connected again.");
                }
                self.server_reached(at.now);
            }
            ConnectionEvent::Event { id, name, data } => self.event(key, id, name, data, at),
            ConnectionEvent::Lost { refused: false } => {
                let item = connection.lose(at);
                self.commands.push(Command::Close(key.clone()));
                if let Some(item) = item {
                    self.log(key, item, at);
                    if *key == Key::Live {
                        self.announcements.notice("Connection lost. Trying again.");
                    }
                }
            }
            ConnectionEvent::Lost { refused: true } => {
                connection.phase = Phase::Asking;
                self.commands.push(Command::Close(key.clone()));
                if let Some(address) = self.address(key) {
                    self.commands.push(Command::Ask(key.clone(), address));
                }
            }
        }
        self.commands.push(Command::Show(key.clone()));
        self.finish(at);
    }

    /// The server answered why it refused a stream. A late answer, to a stream that goes on by now, changes nothing.
    pub fn answered(&mut self, key: &Key, answer: Answer, at: Moment) {
        let Some(connection) = self.connection_mut(key) else { return };
        if connection.phase != Phase::Asking {
            return;
        }
        if let Some(item) = connection.answered(answer, at) {
            self.log(key, item, at);
        }
        self.commands.push(Command::Show(key.clone()));
        self.finish(at);
    }

    fn event(&mut self, key: &Key, id: String, name: String, data: String, at: Moment) {
        match key {
            Key::Live => {
                if name == GAP {
                    self.announcements.notice("Some messages are gone: the server no longer keeps them.");
                } else if let Ok(message) = serde_json::from_str::<Message>(&data) {
                    self.add_from_live_stream(message);
                }
                if !id.is_empty() {
                    self.live.last_id = Some(id);
                }
            }
            Key::Burst(message_id) => {
                let Some(card) = self.card_mut(message_id) else { return };
                if card.burst.has_event(&id) {
                    return;
                }
                let over = name == CLOSE;
                let text = card.message.message.clone();
                let arrival = card.burst.log(at.now, LogItem::Event { id, name, data });
                if over {
                    card.burst.connection.phase = Phase::Closed;
                    self.commands.push(Command::Close(key.clone()));
                    self.announcements.complete(&text);
                }
                if let Some(arrival) = arrival {
                    self.announcements.arrival(&text, arrival.repeat, arrival.of);
                }
                self.commands.push(Command::Save);
            }
            Key::Demo(demo) => self.demo_streams[*demo as usize].add(id, data),
        }
    }

    fn add_from_live_stream(&mut self, message: Message) {
        if self.card(&message.id).is_some() {
            return;
        }
        let (id, text) = (message.id.clone(), message.message.clone());
        self.add(message, false);
        self.announcements.message(&text);
        let queued = self.cards.iter().filter(|card| card.burst.connection.phase == Phase::Queued).count();
        if self.hidden_since.is_none() && queued < MAX_QUEUED {
            self.queue(&Key::Burst(id));
        }
    }

    /// The server is known to be there: nobody has to wait for it any longer.
    fn server_reached(&mut self, now: f64) {
        self.commands.push(Command::ServerReached);
        for key in self.keys_where(Connection::waits_for_server) {
            self.connect(&key, now);
        }
    }

    /// Adds to the log of a burst; no other stream has one.
    fn log(&mut self, key: &Key, item: LogItem, at: Moment) {
        let Key::Burst(id) = key else { return };
        if let Some(card) = self.card_mut(id) {
            card.burst.log(at.now, item);
            self.commands.push(Command::Save);
        }
    }

    /// What follows every change: free connections are given away, and the next announcement is made.
    fn finish(&mut self, at: Moment) {
        self.connect_queued(at.now);
        if let Some(text) = self.announcements.next(at.now) {
            self.commands.push(Command::Announce(text));
        }
    }
}
