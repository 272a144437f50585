//! Connects the feed to the browser: reports to the feed what happens, executes its commands, and shows the outcome
//! in signals.
//!
//! It decides nothing: the rules are the feed's and the draft's.

use std::sync::Arc;

use leptos::prelude::*;
use leptos::task::spawn_local;

use super::PageData;
use super::draft::Draft;
use super::feed::{Burst, Card, Command, Demo, DemoStream, Feed, Key};
use crate::ui::browser::{self, Listeners, PageEvent, Stream, Timer};
use crate::ui::stream::{Connection, Moment};
use crate::wire::message::{Message, Submission};
use crate::wire::paths;

/// Where the tab's storage has the saved cards.
const STORAGE_KEY: &str = "tidings.bursts";

/// A card of the list: its constant parts, and signals for the others.
#[derive(Clone)]
pub struct Row {
    /// The message.
    pub message: Arc<Message>,
    /// Whether it arrived while the page was open.
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

/// See the head of this file. Panels get it from the context.
#[derive(Clone, Copy)]
pub struct Controller {
    /// The cards, newest first.
    pub rows: RwSignal<Vec<Row>>,
    /// Whether there are messages older than the oldest card.
    pub has_older: RwSignal<bool>,
    /// The message that is being written.
    pub draft: RwSignal<Draft>,
    /// The page's own stream.
    pub live: RwSignal<Connection>,
    /// What is announced to users of screen readers.
    pub announcement: RwSignal<String>,
    /// Whether the browser reports a network.
    pub online: RwSignal<bool>,
    /// Whether the page is hydrated: false in everything the server renders, and while hydrating.
    pub alive: RwSignal<bool>,
    demo_streams: [RwSignal<DemoStream>; Demo::ALL.len()],
    feed: StoredValue<Feed>,
    streams: StoredValue<Vec<(Key, Stream)>>,
    timer: StoredValue<Option<Timer>>,
    listeners: StoredValue<Option<Listeners>>,
}

impl Controller {
    /// The controller of a page with this data. Nothing is connected before [`Controller::start`].
    pub fn new(page: &PageData) -> Self {
        let feed = Feed::new(page.messages.clone(), page.has_older, page.repeat);
        Self {
            rows: RwSignal::new(feed.cards().iter().map(Row::of).collect()),
            has_older: RwSignal::new(feed.has_older()),
            draft: RwSignal::new(Draft::new(page.draft.as_ref(), page.max_bytes)),
            live: RwSignal::new(Connection::default()),
            announcement: RwSignal::new(String::new()),
            online: RwSignal::new(true),
            alive: RwSignal::new(false),
            demo_streams: Demo::ALL.map(|_| RwSignal::new(DemoStream::default())),
            feed: StoredValue::new(feed),
            streams: StoredValue::new(Vec::new()),
            timer: StoredValue::new(None),
            listeners: StoredValue::new(None),
        }
    }

    /// A demo stream.
    pub fn demo_stream(&self, demo: Demo) -> RwSignal<DemoStream> {
        self.demo_streams[demo as usize]
    }

    /// Connects the page. Call it once, in the browser, after hydration.
    pub fn start(self) {
        let saved = browser::load(STORAGE_KEY).and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        self.alive.set(true);
        let on_event = move |event| match event {
            PageEvent::Visible(visible) => self.act(|feed, at| feed.visible(visible, at)),
            PageEvent::Online(online) => {
                self.online.set(online);
                if online {
                    self.act(Feed::retry_all);
                }
            }
        };
        self.act(|feed, at| feed.start(saved, at));
        self.listeners.set_value(Some(Listeners::new(Box::new(on_event))));
    }

    /// Changes the feed, and executes its commands.
    pub fn act(self, change: impl FnOnce(&mut Feed, Moment)) {
        let at = browser::moment();
        let (commands, next_tick) = self
            .feed
            .try_update_value(|feed| {
                change(feed, at);
                (feed.take_commands(), feed.next_tick())
            })
            .unwrap_or_default();
        self.execute(commands);
        let timer = next_tick.map(|due| {
            let tick = move || self.act(Feed::tick);
            Timer::after(due - at.now, Box::new(tick))
        });
        self.timer.set_value(timer);
    }

    /// Submits a text through the REST API, as any other client does. Answers whether the server accepted it.
    pub async fn submit(self, text: String) -> bool {
        let result = browser::post::<Message>(paths::MESSAGES, &Submission { message: text }).await;
        let accepted = result.is_ok();
        match result {
            Ok(message) => {
                self.draft.update(Draft::sent);
                self.act(|feed, at| feed.submitted(message, at));
            }
            Err(error) => {
                self.draft.update(|draft| draft.failed(error));
                let error = self.draft.with_untracked(|draft| draft.error().map(str::to_owned));
                self.announcement.set(error.unwrap_or_default());
            }
        }
        accepted
    }

    fn execute(self, commands: Vec<Command>) {
        let mut save = false;
        for command in commands {
            match command {
                Command::Open(key, address) => self.open(key, &address),
                Command::Close(key) => self.close(&key),
                Command::Ask(key, address) => self.ask(key, address),
                Command::Show(key) => self.show(&key),
                Command::ShowCards => self.show_cards(),
                Command::ServerReached => self.draft.maybe_update(Draft::server_reached),
                Command::Announce(text) => self.announcement.set(text),
                Command::Save => save = true,
            }
        }
        if save {
            let saved = self.feed.with_value(Feed::saved);
            browser::save(STORAGE_KEY, &serde_json::to_string(&saved).unwrap_or_default());
        }
    }

    fn open(self, key: Key, address: &str) {
        self.close(&key);
        let stream = Stream::open(address, {
            let key = key.clone();
            Box::new(move |event| self.act(|feed, at| feed.connection_event(&key, event, at)))
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
            Key::Demo(demo) => self.demo_stream(*demo).set(feed.demo_stream(*demo).clone()),
            Key::Burst(id) => self.rows.with_untracked(|rows| {
                let row = rows.iter().find(|row| row.message.id == *id);
                if let (Some(row), Some(burst)) = (row, feed.burst(id)) {
                    row.burst.set(burst.clone());
                }
            }),
        });
    }

    /// Updates the rows from the cards. An existing row is kept, with its signals.
    fn show_cards(self) {
        self.feed.with_value(|feed| {
            self.has_older.set(feed.has_older());
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
