//! The feed's connections: finding a line by its key, addresses, and who may connect when.

use super::{Demo, Feed, Key, Line, Order, Phase, SLOTS};
use crate::wire::paths;

impl Feed {
    pub(super) fn queue(&mut self, key: &Key) {
        self.turns += 1;
        let turn = self.turns;
        match key {
            Key::Live => return,
            Key::Burst(id) => {
                let Some(card) = self.card_mut(id) else { return };
                card.burst.turn = turn;
                self.orders.push(Order::Keep);
            }
            Key::Demo(demo) => self.taps[*demo as usize].turn = turn,
        }
        self.set_phase(key, Phase::Queued);
    }

    pub(super) fn connect(&mut self, key: &Key) {
        let Some(address) = self.address(key) else { return };
        self.set_phase(key, Phase::Connecting);
        self.orders.push(Order::Open(key.clone(), address));
    }

    /// Hands out the connections that are free: this tab's own messages first, then in turn.
    pub(super) fn hand_out(&mut self) {
        while self.busy() < SLOTS {
            let cards = self.cards.iter().filter(|card| card.burst.line.phase == Phase::Queued);
            let cards = cards.map(|card| ((!card.own, card.burst.turn), Key::Burst(card.message.id.clone())));
            let taps = Demo::ALL.into_iter().filter(|demo| self.tap(*demo).line.phase == Phase::Queued);
            let taps = taps.map(|demo| ((false, self.tap(demo).turn), Key::Demo(demo)));
            let Some((_, next)) = cards.chain(taps).min_by_key(|(order, _)| *order) else { break };
            self.connect(&next);
        }
    }

    fn busy(&self) -> usize {
        let bursts = self.cards.iter().filter(|card| card.burst.line.holds_connection()).count();
        bursts + self.taps.iter().filter(|tap| tap.line.holds_connection()).count()
    }

    pub(super) fn can_pause(&self) -> bool {
        let endless = std::iter::once(&self.live).chain(self.taps.iter().map(|tap| &tap.line));
        endless.into_iter().any(|line| line.is_under_way() && line.phase != Phase::Paused)
    }

    pub(super) fn set_phase(&mut self, key: &Key, phase: Phase) {
        if let Some(line) = self.line_mut(key) {
            line.phase = phase;
            self.orders.push(Order::Show(key.clone()));
        }
    }

    pub(super) fn address(&self, key: &Key) -> Option<String> {
        let last_id = self.line(key)?.last_id.as_deref();
        let (path, after) = match key {
            Key::Live => (paths::MESSAGES, Some(last_id.unwrap_or(paths::EARLIEST))),
            Key::Burst(id) => (self.card(id)?.message.stream.as_str(), last_id),
            Key::Demo(demo) => (demo.path(), last_id),
        };
        let Some(after) = after else { return Some(path.to_owned()) };
        let sign = if path.contains('?') { '&' } else { '?' };
        Some(format!("{path}{sign}{}={after}", paths::LAST_EVENT_ID))
    }

    pub(super) fn keys_where(&self, wanted: impl Fn(&Line) -> bool) -> Vec<Key> {
        let bursts = self.cards.iter().filter(|card| wanted(&card.burst.line));
        let taps = Demo::ALL.into_iter().filter(|demo| wanted(&self.tap(*demo).line));
        let live = wanted(&self.live).then_some(Key::Live);
        live.into_iter()
            .chain(bursts.map(|card| Key::Burst(card.message.id.clone())))
            .chain(taps.map(Key::Demo))
            .collect()
    }

    pub(super) fn line(&self, key: &Key) -> Option<&Line> {
        match key {
            Key::Live => Some(&self.live),
            Key::Burst(id) => self.card(id).map(|card| &card.burst.line),
            Key::Demo(demo) => Some(&self.tap(*demo).line),
        }
    }

    pub(super) fn line_mut(&mut self, key: &Key) -> Option<&mut Line> {
        match key {
            Key::Live => Some(&mut self.live),
            Key::Burst(id) => self.card_mut(id).map(|card| &mut card.burst.line),
            Key::Demo(demo) => Some(&mut self.taps[*demo as usize].line),
        }
    }
}
