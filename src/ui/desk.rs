//! The desk: where the feed meets the browser. It tells the feed what happens, carries out what the
//! feed orders, and shows the outcome in signals.
//!
//! It decides nothing: the rules are the feed's.

use std::sync::Arc;

use leptos::prelude::*;
use leptos::task::spawn_local;

use super::PageData;
use super::browser::{self, Listeners, PageEvent, Stream, Timer};
use super::feed::{Burst, Card, Demo, Feed, Key, Line, Moment, Order, Tap};
use crate::wire::message::Message;

/// A card of the list: what never changes about it, and the signals of what does.
#[derive(Clone)]
pub struct Row {
    /// The message.
    pub message: Arc<Message>,
    /// Whether it came while the page was open.
    pub fresh: bool,
    /// Whether it was submitted in this tab.
    pub own: ArcRwSignal<bool>,
    /// Its burst.
    pub burst: ArcRwSignal<Burst>,
}

impl Row {
    fn of(card: &Card) -> Self {
        Self {
            message: Arc::new(card.message.clone()),
            fresh: card.fresh,
            own: ArcRwSignal::new(card.own),
            burst: ArcRwSignal::new(card.burst.clone()),
        }
    }

    /// The name of its stream.
    pub fn key(&self) -> Key {
        Key::Burst(self.message.id.clone())
    }
}

/// See the head of this file. Panels get it as context.
#[derive(Clone, Copy)]
pub struct Desk {
    /// The cards, newest first.
    pub rows: RwSignal<Vec<Row>>,
    /// The page's own stream.
    pub live: RwSignal<Line>,
    /// What is said to somebody who listens instead of looking.
    pub said: RwSignal<String>,
    /// Whether the browser believes to have a network.
    pub online: RwSignal<bool>,
    /// Whether the page has come to life: false in everything the server renders, and while hydrating.
    pub alive: RwSignal<bool>,
    taps: [RwSignal<Tap>; Demo::ALL.len()],
    feed: StoredValue<Feed>,
    streams: StoredValue<Vec<(Key, Stream)>>,
    timer: StoredValue<Option<Timer>>,
    listeners: StoredValue<Option<Listeners>>,
}

impl Desk {
    /// The desk of a page with this data. Nothing happens before [`Desk::start`].
    pub fn new(page: &PageData) -> Self {
        let feed = Feed::new(page.messages.clone(), page.repeat);
        Self {
            rows: RwSignal::new(feed.cards().iter().map(Row::of).collect()),
            live: RwSignal::new(Line::default()),
            said: RwSignal::new(String::new()),
            online: RwSignal::new(true),
            alive: RwSignal::new(false),
            taps: Demo::ALL.map(|_| RwSignal::new(Tap::default())),
            feed: StoredValue::new(feed),
            streams: StoredValue::new(Vec::new()),
            timer: StoredValue::new(None),
            listeners: StoredValue::new(None),
        }
    }

    /// A demo stream.
    pub fn tap(&self, demo: Demo) -> RwSignal<Tap> {
        self.taps[demo as usize]
    }

    /// Brings the page to life. Call it once, in the browser, after hydration.
    pub fn start(self) {
        let kept = browser::recall().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        self.alive.set(true);
        let happened = move |event| match event {
            PageEvent::Visible(visible) => self.act(|feed, at| feed.visible(visible, at)),
            PageEvent::Online(online) => {
                self.online.set(online);
                if online {
                    self.act(Feed::retry_all);
                }
            }
        };
        self.act(|feed, at| feed.start(kept, at));
        self.listeners.set_value(Some(Listeners::new(Box::new(happened))));
    }

    /// Tells the feed that something happens, and carries out what it orders.
    pub fn act(self, happens: impl FnOnce(&mut Feed, Moment)) {
        let at = browser::moment();
        let (orders, next_tick) = self
            .feed
            .try_update_value(|feed| {
                happens(feed, at);
                (feed.take_orders(), feed.next_tick())
            })
            .unwrap_or_default();
        self.carry_out(orders);
        let timer = next_tick.map(|due| {
            let tick = move || self.act(Feed::tick);
            Timer::after(due - at.now, Box::new(tick))
        });
        self.timer.set_value(timer);
    }

    fn carry_out(self, orders: Vec<Order>) {
        let mut keep = false;
        for order in orders {
            match order {
                Order::Open(key, address) => self.open(key, &address),
                Order::Close(key) => self.close(&key),
                Order::Ask(key, address) => self.ask(key, address),
                Order::Show(key) => self.show(&key),
                Order::List => self.list(),
                Order::Say(text) => self.said.set(text),
                Order::Keep => keep = true,
            }
        }
        if keep {
            let kept = self.feed.with_value(Feed::kept);
            browser::remember(&serde_json::to_string(&kept).unwrap_or_default());
        }
    }

    fn open(self, key: Key, address: &str) {
        self.close(&key);
        let stream = Stream::open(address, {
            let key = key.clone();
            Box::new(move |heard| self.act(|feed, at| feed.heard(&key, heard, at)))
        });
        self.streams.update_value(|streams| streams.push((key, stream)));
    }

    fn close(self, key: &Key) {
        self.streams.update_value(|streams| streams.retain(|(open, _)| open != key));
    }

    fn ask(self, key: Key, address: String) {
        spawn_local(async move {
            let answer = browser::ask(&address).await;
            self.act(|feed, at| feed.answered(&key, answer, at));
        });
    }

    fn show(self, key: &Key) {
        self.feed.with_value(|feed| match key {
            Key::Live => self.live.set(feed.live().clone()),
            Key::Demo(demo) => self.tap(*demo).set(feed.tap(*demo).clone()),
            Key::Burst(id) => self.rows.with_untracked(|rows| {
                let row = rows.iter().find(|row| row.message.id == *id);
                if let (Some(row), Some(burst)) = (row, feed.burst(id)) {
                    row.burst.set(burst.clone());
                }
            }),
        });
    }

    /// Brings the rows in line with the cards. A row that is there already is kept, with its signals.
    fn list(self) {
        self.feed.with_value(|feed| {
            self.rows.update(|rows| {
                let mut old = std::mem::take(rows);
                rows.extend(feed.cards().iter().map(|card| {
                    let Some(place) = old.iter().position(|row| row.message.id == card.message.id) else {
                        return Row::of(card);
                    };
                    let row = old.swap_remove(place);
                    if row.own.get_untracked() != card.own {
                        row.own.set(card.own);
                    }
                    row
                }));
            });
        });
    }
}
