//! Bursts: a message told several times, an interval apart, then the stream's end.
//!
//! A burst is paced for the client that reads it: its first event comes at once, however late it was
//! opened. Its frames are encoded once for all who read it at the time.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::time::{Sleep, sleep};

use super::messages::Messages;
use crate::server::hub::{Delivery, Start, Subscription};
use crate::server::log::ReadError;
use crate::wire::event::{Arrival, CLOSE, CLOSE_SUFFIX, Close, CloseReason};
use crate::wire::frame::Frame;
use crate::wire::message::Message;

/// How bursts are told.
#[derive(Clone, Copy, Debug)]
pub struct BurstOptions {
    /// How often a message is told, at least once.
    pub repeat: u32,
    /// The time between two tellings.
    pub interval: Duration,
}

/// Opens bursts. Cheap to clone.
#[derive(Clone)]
pub struct Bursts {
    messages: Messages,
    encoder: Arc<Encoder>,
}

/// What a client that asks for a message's burst gets.
pub enum Resume {
    /// The burst, or what the client has not had of it.
    Burst(Burst),
    /// Nothing: it has had all of it.
    Ended,
    /// Nothing: there is no such message.
    Unknown,
}

impl Bursts {
    /// The bursts of these messages.
    pub fn new(messages: Messages, options: BurstOptions) -> Self {
        Self { messages, encoder: Arc::new(Encoder { options, open: Mutex::default() }) }
    }

    /// The burst of one message, or the rest of it after the event `last_event_id`. An id that is not of
    /// this message's burst is ignored.
    pub async fn of(&self, message_id: &str, last_event_id: Option<&str>) -> Result<Resume, ReadError> {
        let Some((_, message)) = self.messages.find(message_id).await? else { return Ok(Resume::Unknown) };
        let had = last_event_id.and_then(Place::parse).filter(|place| place.message_id == message.id);
        Ok(match had.map(|place| place.had) {
            Some(Had::All) => Resume::Ended,
            had => Resume::Burst(self.encoder.burst(&message, had)),
        })
    }

    /// The burst of the next message: of the one that follows the burst whose end is `last_event_id`, at once
    /// if it is there already. In the middle of a burst, the rest of that one. Otherwise, and for an unknown
    /// id, of the next one that comes.
    pub async fn next(&self, last_event_id: Option<&str>) -> Result<NextBurst, ReadError> {
        let place = last_event_id.and_then(Place::parse);
        let found = match &place {
            Some(place) => self.messages.find(place.message_id).await?.map(|found| (place.had, found)),
            None => None,
        };
        let state = match found {
            Some((Had::All, (cursor, _))) => Next::Waiting(self.messages.subscribe(Start::After(cursor))),
            Some((had, (_, message))) => Next::Playing(self.encoder.burst(&message, Some(had))),
            None => Next::Waiting(self.messages.subscribe(Start::Now)),
        };
        Ok(NextBurst { encoder: self.encoder.clone(), state })
    }
}

/// A place in a burst, as its event ids say it.
struct Place<'a> {
    message_id: &'a str,
    had: Had,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Had {
    Events(u32),
    All,
}

impl<'a> Place<'a> {
    fn parse(event_id: &'a str) -> Option<Self> {
        let (message_id, place) = event_id.rsplit_once(':')?;
        let had = if place == CLOSE_SUFFIX { Had::All } else { Had::Events(place.parse().ok()?) };
        Some(Self { message_id, had })
    }
}

struct Encoder {
    options: BurstOptions,
    /// The bursts that somebody reads now, by message id.
    open: Mutex<HashMap<String, Weak<Frames>>>,
}

/// A burst's events, the closing one last.
struct Frames {
    events: Vec<Bytes>,
}

impl Encoder {
    fn burst(&self, message: &Message, had: Option<Had>) -> Burst {
        let frames = self.frames(message);
        let next = match had {
            Some(Had::Events(n)) => usize::try_from(n).unwrap_or(usize::MAX).min(frames.events.len() - 1),
            Some(Had::All) => frames.events.len(),
            None => 0,
        };
        Burst { frames, next, interval: self.options.interval, pause: None }
    }

    fn frames(&self, message: &Message) -> Arc<Frames> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(frames) = open.get(&message.id).and_then(Weak::upgrade) {
            return frames;
        }
        open.retain(|_, frames| frames.strong_count() > 0);
        let frames = Arc::new(Frames::encode(message, self.options.repeat));
        open.insert(message.id.clone(), Arc::downgrade(&frames));
        frames
    }
}

impl Frames {
    fn encode(message: &Message, of: u32) -> Self {
        let arrival = |repeat| {
            let data = serde_json::to_string(&Arrival { message: message.message.clone(), repeat, of });
            let id = format!("{}:{repeat}", message.id);
            encode(&id, None, &data.unwrap_or_default())
        };
        let close = || {
            let data = serde_json::to_string(&Close { reason: CloseReason::Complete });
            let id = format!("{}:{CLOSE_SUFFIX}", message.id);
            encode(&id, Some(CLOSE), &data.unwrap_or_default())
        };
        Self { events: (1..=of).map(arrival).chain(std::iter::once_with(close)).collect() }
    }
}

fn encode(id: &str, event: Option<&str>, data: &str) -> Bytes {
    Bytes::from(Frame { id: Some(id), event, retry: None, data }.to_string())
}

/// One client's reading of a burst: a stream of frames that ends after the closing event.
pub struct Burst {
    frames: Arc<Frames>,
    next: usize,
    interval: Duration,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Stream for Burst {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        let Some(frame) = self.frames.events.get(self.next).cloned() else { return Poll::Ready(None) };
        self.next += 1;
        let repeats_left = self.frames.events.len().saturating_sub(self.next + 1);
        self.pause = (repeats_left > 0).then(|| Box::pin(sleep(self.interval)));
        Poll::Ready(Some(frame))
    }
}

/// Waits for a message and then reads its burst.
pub struct NextBurst {
    encoder: Arc<Encoder>,
    state: Next,
}

enum Next {
    Waiting(Subscription),
    Playing(Burst),
}

impl Stream for NextBurst {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            match &mut self.state {
                Next::Playing(burst) => return burst.poll_next_unpin(cx),
                Next::Waiting(subscription) => match ready!(subscription.poll_next_unpin(cx)) {
                    Some(Delivery::Update(entry)) => {
                        if let Some(message) = super::messages::decode(&entry) {
                            self.state = Next::Playing(self.encoder.burst(&message, None));
                        }
                    }
                    // What retention has removed can't be told any more: the next one that is kept is.
                    Some(Delivery::Gap { .. }) => {}
                    None => return Poll::Ready(None),
                },
            }
        }
    }
}
