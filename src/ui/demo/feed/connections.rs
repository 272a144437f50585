//! The feed's connections: finding one by its key, its address, and who may connect when.

use super::{Command, Connection, Demo, Feed, Key, Phase, SLOTS};
use crate::wire::paths;

impl Feed {
    /// Lets a stream wait for a free connection.
    pub(super) fn queue(&mut self, key: &Key) {
        self.queued_so_far += 1;
        let position = self.queued_so_far;
        match key {
            Key::Live => return,
            Key::Burst(id) => {
                let Some(card) = self.card_mut(id) else { return };
                card.burst.queue_position = position;
                self.commands.push(Command::Save);
            }
            Key::Demo(demo) => self.demo_streams[*demo as usize].queue_position = position,
        }
        self.set_phase(key, Phase::Queued);
    }

    /// Opens a stream, resuming after its last event.
    pub(super) fn connect(&mut self, key: &Key, now: f64) {
        let Some(address) = self.address(key) else { return };
        let Some(connection) = self.connection_mut(key) else { return };
        connection.connect(now);
        self.commands.push(Command::Show(key.clone()));
        self.commands.push(Command::Open(key.clone(), address));
    }

    /// Gives the free connections to queued streams: this tab's own messages first, then in the order of queueing.
    pub(super) fn connect_queued(&mut self, now: f64) {
        while self.connections_in_use() < SLOTS {
            let cards = self.cards.iter().filter(|card| card.burst.connection.phase == Phase::Queued);
            let cards = cards.map(|card| ((!card.own, card.burst.queue_position), Key::Burst(card.message.id.clone())));
            let demos = Demo::ALL.into_iter().filter(|demo| self.demo_stream(*demo).connection.phase == Phase::Queued);
            let demos = demos.map(|demo| ((false, self.demo_stream(demo).queue_position), Key::Demo(demo)));
            let Some((_, next)) = cards.chain(demos).min_by_key(|(order, _)| *order) else { break };
            self.connect(&next, now);
        }
    }

    fn connections_in_use(&self) -> usize {
        let bursts = self.cards.iter().filter(|card| card.burst.connection.holds_connection()).count();
        bursts + self.demo_streams.iter().filter(|stream| stream.connection.holds_connection()).count()
    }

    /// Whether hiding the page would close anything.
    pub(super) fn can_pause(&self) -> bool {
        let demos = self.demo_streams.iter().map(|stream| &stream.connection);
        let mut endless = std::iter::once(&self.live).chain(demos);
        endless.any(|connection| connection.is_under_way() && connection.phase != Phase::Paused)
    }

    pub(super) fn set_phase(&mut self, key: &Key, phase: Phase) {
        if let Some(connection) = self.connection_mut(key) {
            connection.phase = phase;
            self.commands.push(Command::Show(key.clone()));
        }
    }

    pub(super) fn address(&self, key: &Key) -> Option<String> {
        let connection = self.connection(key)?;
        let path = match key {
            Key::Live if connection.last_id.is_none() => {
                return Some(format!("{}?{}={}", paths::MESSAGES, paths::LAST_EVENT_ID, paths::EARLIEST));
            }
            Key::Live => paths::MESSAGES,
            Key::Burst(id) => &self.card(id)?.message.stream,
            Key::Demo(demo) => demo.path(),
        };
        Some(connection.address(path))
    }

    /// The streams whose connection is as `wanted`, the page's own first.
    pub(super) fn keys_where(&self, wanted: impl Fn(&Connection) -> bool) -> Vec<Key> {
        let live = wanted(&self.live).then_some(Key::Live);
        let bursts = self.cards.iter().filter(|card| wanted(&card.burst.connection));
        let demos = Demo::ALL.into_iter().filter(|demo| wanted(&self.demo_stream(*demo).connection));
        live.into_iter()
            .chain(bursts.map(|card| Key::Burst(card.message.id.clone())))
            .chain(demos.map(Key::Demo))
            .collect()
    }

    pub(super) fn connection(&self, key: &Key) -> Option<&Connection> {
        match key {
            Key::Live => Some(&self.live),
            Key::Burst(id) => self.card(id).map(|card| &card.burst.connection),
            Key::Demo(demo) => Some(&self.demo_stream(*demo).connection),
        }
    }

    pub(super) fn connection_mut(&mut self, key: &Key) -> Option<&mut Connection> {
        match key {
            Key::Live => Some(&mut self.live),
            Key::Burst(id) => self.card_mut(id).map(|card| &mut card.burst.connection),
            Key::Demo(demo) => Some(&mut self.demo_streams[*demo as usize].connection),
        }
    }
}
