//! An open stream: its events, parsed by a third-party parser, and its bytes as they were received.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;

use eventsource_stream::{Event, EventStream, EventStreamError};
use futures_util::{FutureExt, Stream, StreamExt, stream};
use reqwest::Response;
use reqwest::header::HeaderMap;
use tidings::wire::event::{Arrival, CLOSE, Close, CloseReason};
use tidings::wire::message::Message;

use crate::answer::header;
use crate::app::in_time;

type Events = Pin<Box<dyn Stream<Item = Result<Event, EventStreamError<Infallible>>> + Send>>;

/// Reads a stream.
pub(crate) struct Listener {
    pub(crate) headers: HeaderMap,
    response: Response,
    raw: Vec<u8>,
    /// Data that the parser has not read yet. A tokio channel would not work: its cooperative budget makes it look empty
    /// after many reads in one task, and here nothing would wake the task again.
    unread: Arc<Mutex<Unread>>,
    events: Events,
}

#[derive(Default)]
struct Unread {
    chunks: VecDeque<Vec<u8>>,
    ended: bool,
}

impl Listener {
    /// Waits for the first comment.
    pub(crate) async fn open(response: Response) -> Self {
        assert_eq!(response.status(), 200, "{response:?}");
        let headers = response.headers().clone();
        assert_eq!(header(&headers, "content-type"), "text/event-stream");
        let unread = Arc::<Mutex<Unread>>::default();
        let events = Box::pin(parser(unread.clone()));
        let mut listener = Self { headers, response, raw: Vec::new(), unread, events };
        listener.read_until(":\n").await;
        assert!(
            listener.raw().starts_with(":\n") && !listener.raw().starts_with(":\n\n"),
            "a stream begins with a comment: {}",
            listener.raw()
        );
        listener
    }

    /// Everything received so far.
    pub(crate) fn raw(&self) -> &str {
        std::str::from_utf8(&self.raw).expect("whole characters")
    }

    /// Reads until this text has been received.
    pub(crate) async fn read_until(&mut self, text: &str) {
        while !String::from_utf8_lossy(&self.raw).contains(text) {
            assert!(self.read().await, "the stream ended before {text:?}: {:?}", self.raw());
        }
    }

    /// The next event; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.events.next().now_or_never() {
                return event.map(|event| event.expect("UTF-8"));
            }
            self.read().await;
        }
    }

    /// The next event, which must come.
    pub(crate) async fn event(&mut self) -> Event {
        self.next().await.unwrap_or_else(|| panic!("the stream has ended: {:?}", self.raw()))
    }

    /// The next `count` events, which must come.
    pub(crate) async fn take(&mut self, count: usize) -> Vec<Event> {
        let mut events = Vec::new();
        while events.len() < count {
            events.push(self.event().await);
        }
        events
    }

    /// All events up to the end of the stream.
    pub(crate) async fn rest(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }

    /// The next event of the live feed.
    pub(crate) async fn message(&mut self) -> Message {
        let event = self.event().await;
        let message: Message = serde_json::from_str(&event.data).unwrap_or_else(|error| panic!("{error}: {event:?}"));
        assert_eq!((&*event.event, &event.id), ("message", &message.id));
        message
    }

    /// Reads the next chunk; false at the end of the stream.
    async fn read(&mut self) -> bool {
        let chunk = in_time("more of the stream", self.response.chunk()).await.expect("the stream was cut");
        let mut unread = lock(&self.unread);
        unread.ended = chunk.is_none();
        let Some(chunk) = chunk else { return false };
        self.raw.extend_from_slice(&chunk);
        unread.chunks.push_back(chunk.to_vec());
        true
    }
}

/// Parses the unread data. It is pending, without a waker, while there is none.
fn parser(unread: Arc<Mutex<Unread>>) -> EventStream<impl Stream<Item = Result<Vec<u8>, Infallible>>> {
    EventStream::new(stream::poll_fn(move |_| {
        let mut unread = lock(&unread);
        match unread.chunks.pop_front() {
            Some(chunk) => Poll::Ready(Some(Ok(chunk))),
            None if unread.ended => Poll::Ready(None),
            None => Poll::Pending,
        }
    }))
}

fn lock(unread: &Mutex<Unread>) -> MutexGuard<'_, Unread> {
    unread.lock().expect("no panic before")
}

/// The events of a burst of `of` repeats, from the repeat `from` on, and its close.
pub(crate) fn burst(message: &Message, from: u32, of: u32) -> Vec<Event> {
    let arrival = |repeat| Event {
        event: "message".into(),
        id: format!("{}:{repeat}", message.id),
        data: json(&Arrival { message: message.message.clone(), repeat, of }),
        retry: None,
    };
    let close = Event {
        event: CLOSE.into(),
        id: format!("{}:close", message.id),
        data: json(&Close { reason: CloseReason::Complete }),
        retry: None,
    };
    (from..=of).map(arrival).chain([close]).collect()
}

fn json(data: &impl serde::Serialize) -> String {
    serde_json::to_string(data).expect("JSON")
}
