//! Bursts: a message sent several times, an interval apart, then the end of the stream.
//!
//! A burst is paced for the client that reads it: its first event comes at once, however late the client opened it.
//! All clients that read the same burst at a time share its encoded frames.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::time::{Sleep, sleep};

use super::messages::{self, Messages};
use crate::server::hub::{Delivery, Start, Subscription};
use crate::server::log::ReadError;
use crate::wire::event::{Arrival, CLOSE, CLOSE_SUFFIX, Close, CloseReason};
use crate::wire::frame::Frame;
use crate::wire::message::Message;

/// How bursts are paced.
#[derive(Clone, Copy, Debug)]
pub struct BurstOptions {
    /// How many times a message is sent, at least once.
    pub repeat: u32,
    /// The time between two events with the message.
    pub interval: Duration,
}

/// Opens bursts. Cheap to clone.
#[derive(Clone)]
pub struct Bursts {
    messages: Messages,
    encoder: Arc<BurstEncoder>,
}

/// What a client gets that asks for the burst of one message.
pub enum Resume {
    /// The burst, or the part of it that the client has not received.
    Burst(Burst),
    /// Nothing: the client has received all of it.
    Ended,
    /// Nothing: there is no such message.
    Unknown,
}

impl Bursts {
    /// The bursts of these messages.
    pub fn new(messages: Messages, options: BurstOptions) -> Self {
        Self { messages, encoder: Arc::new(BurstEncoder { options, open: Mutex::default() }) }
    }

    /// The burst of one message. After the event `last_event_id`, the rest of it; an id of another burst is ignored.
    pub async fn resume(&self, message_id: &str, last_event_id: Option<&str>) -> Result<Resume, ReadError> {
        let Some((_, message)) = self.messages.find(message_id).await? else { return Ok(Resume::Unknown) };
        let position = last_event_id.and_then(BurstPosition::parse);
        let received = position.filter(|position| position.message_id == message.id).map(|position| position.received);
        Ok(match received {
            Some(Received::All) => Resume::Ended,
            received => Resume::Burst(self.encoder.burst(&message, received)),
        })
    }

    /// The burst of the next message.
    ///
    /// Where `last_event_id` is the end of a burst, the next message is the one after that burst's, and its burst
    /// begins at once if it has been published already. Where `last_event_id` is in the middle of a burst, the rest of
    /// that burst. Otherwise, and for an unknown id, the next message that is published.
    pub async fn next(&self, last_event_id: Option<&str>) -> Result<NextBurst, ReadError> {
        let position = last_event_id.and_then(BurstPosition::parse);
        let found = match &position {
            Some(position) => self.messages.find(position.message_id).await?,
            None => None,
        };
        let state = match (found, position.map(|position| position.received)) {
            (Some((cursor, _)), Some(Received::All)) => {
                NextBurstState::Waiting(self.messages.subscribe(Start::After(cursor)).await)
            }
            (Some((_, message)), received) => NextBurstState::Playing(self.encoder.burst(&message, received)),
            (None, _) => NextBurstState::Waiting(self.messages.subscribe(Start::Now).await),
        };
        Ok(NextBurst { encoder: self.encoder.clone(), state })
    }
}

/// A position in a burst, as the ids of its events state it.
struct BurstPosition<'a> {
    message_id: &'a str,
    received: Received,
}

/// What a client has received of a burst.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Received {
    /// This many events.
    Events(u32),
    /// All events, the closing one too.
    All,
}

impl<'a> BurstPosition<'a> {
    fn parse(event_id: &'a str) -> Option<Self> {
        let (message_id, suffix) = event_id.rsplit_once(':')?;
        let received = if suffix == CLOSE_SUFFIX { Received::All } else { Received::Events(suffix.parse().ok()?) };
        Some(Self { message_id, received })
    }
}

struct BurstEncoder {
    options: BurstOptions,
    /// The frames of bursts that some client is reading, by message id.
    open: Mutex<HashMap<String, Weak<BurstFrames>>>,
}

/// The events of a burst, the closing one last.
struct BurstFrames {
    events: Vec<Bytes>,
}

impl BurstEncoder {
    fn burst(&self, message: &Message, received: Option<Received>) -> Burst {
        let frames = self.frames(message);
        let next = match received {
            None => 0,
            // A greater number is that of a server with longer bursts: the closing event is left.
            Some(Received::Events(n)) => usize::try_from(n).unwrap_or(usize::MAX).min(frames.events.len() - 1),
            Some(Received::All) => frames.events.len(),
        };
        Burst { frames, next, interval: self.options.interval, pause: None }
    }

    fn frames(&self, message: &Message) -> Arc<BurstFrames> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(frames) = open.get(&message.id).and_then(Weak::upgrade) {
            return frames;
        }
        open.retain(|_, frames| frames.strong_count() > 0);
        let frames = Arc::new(BurstFrames::encode(message, self.options.repeat));
        open.insert(message.id.clone(), Arc::downgrade(&frames));
        frames
    }
}

impl BurstFrames {
    fn encode(message: &Message, of: u32) -> Self {
        let mut events = Vec::new();
        for repeat in 1..=of {
            let arrival = Arrival { message: message.message.clone(), repeat, of };
            let data = serde_json::to_string(&arrival).unwrap_or_default();
            events.push(encode(&format!("{}:{repeat}", message.id), None, &data));
        }
        let data = serde_json::to_string(&Close { reason: CloseReason::Complete }).unwrap_or_default();
        events.push(encode(&format!("{}:{CLOSE_SUFFIX}", message.id), Some(CLOSE), &data));
        Self { events }
    }
}

fn encode(id: &str, event: Option<&str>, data: &str) -> Bytes {
    Bytes::from(Frame { id: Some(id), event, retry: None, data }.to_string())
}

/// A burst as one client reads it: a stream of frames that ends after the closing event.
pub struct Burst {
    frames: Arc<BurstFrames>,
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

/// Waits for a message, then reads its burst.
pub struct NextBurst {
    encoder: Arc<BurstEncoder>,
    state: NextBurstState,
}

enum NextBurstState {
    Waiting(Subscription),
    Playing(Burst),
}

impl Stream for NextBurst {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            match &mut self.state {
                NextBurstState::Playing(burst) => return burst.poll_next_unpin(cx),
                NextBurstState::Waiting(subscription) => match ready!(subscription.poll_next_unpin(cx)) {
                    Some(Delivery::Update(entry)) => {
                        if let Some(message) = messages::decode(&entry) {
                            self.state = NextBurstState::Playing(self.encoder.burst(&message, None));
                        }
                    }
                    // Evicted messages have no burst: the next message that is kept has.
                    Some(Delivery::Gap { .. }) => {}
                    None => return Poll::Ready(None),
                },
            }
        }
    }
}
