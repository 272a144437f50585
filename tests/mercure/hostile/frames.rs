//! What may be published, and whatever else is framed, is read back as it was by a parser that is not ours and by the
//! client's own: one event each, and no field that nobody sent.

use std::convert::Infallible;
use std::time::Duration;

use eventsource_stream::{Event, EventStream};
use futures_util::{FutureExt, StreamExt, stream};
use tidings::server::log::{Cursor, Entry, Field, Topic, Update};
use tidings::wire::decode::{self, Decoder};
use tidings::wire::event::Gap;
use tidings::wire::frame::{Frame, HEARTBEAT, is_field, lines};

use super::*;

/// What is to be framed, if it may be.
#[derive(Clone, Debug)]
struct Sent {
    kind: Kind,
    id: Option<String>,
    event: Option<String>,
    retry: Option<u64>,
    data: String,
    heartbeat: bool,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Update,
    Frame,
    Gap,
}

fn sent() -> impl Strategy<Value = Sent> {
    let field = || prop::option::of(prop_oneof![text(), "[ :\u{feff}\t]{1,3}.{0,3}", Just("a".to_owned())]);
    let data = prop_oneof![text(), "([a :]|\r|\n|\r\n|data: |id: |\u{feff}|\u{85}|\u{2028}|\0){0,12}"];
    let retry = prop::option::of(prop_oneof![any::<u32>().prop_map(u64::from), any::<u64>()]);
    let kind = prop_oneof![3 => Just(Kind::Update), 2 => Just(Kind::Frame), 1 => Just(Kind::Gap)];
    (kind, field(), field(), retry, data, any::<bool>()).prop_map(|(kind, id, event, retry, data, heartbeat)| Sent {
        kind,
        id,
        event,
        retry,
        data,
        heartbeat,
    })
}

impl Sent {
    /// Writes it to the stream, without the fields that are refused; answers the event that was meant. Its id is the last
    /// one, if it has none of its own.
    fn write(&self, stream: &mut String, last_id: &str) -> Event {
        if self.heartbeat {
            stream.push_str(HEARTBEAT);
        }
        let (id, event) = (self.id.as_deref(), self.event.as_deref());
        let (id, event, retry, data) = match self.kind {
            Kind::Update => {
                let parse = |value: Option<&str>| Field::parse(value?).ok();
                let update = Update {
                    topics: vec![Topic::parse("a").expect("a topic")],
                    data: self.data.clone(),
                    id: parse(id),
                    event: parse(event),
                    retry: self.retry,
                    private: false,
                    ttl: None,
                };
                let event = update.event.clone();
                let entry = Entry::new(Cursor(1), chrono::Utc::now(), update);
                assert_eq!(
                    (entry.data(), entry.retry()),
                    (normalized(&self.data).into(), self.retry),
                    "read from the log"
                );
                assert_eq!(entry.event(), event.as_ref().map(Field::as_str), "read from the log");
                stream.push_str(std::str::from_utf8(&entry.frame).expect("UTF-8"));
                (
                    Some(entry.id.to_string()),
                    event.map(|event| event.as_str().to_owned()),
                    self.retry,
                    self.data.clone(),
                )
            }
            Kind::Frame => {
                let (id, event) = (id.filter(|value| is_field(value)), event.filter(|value| is_field(value)));
                stream.push_str(&Frame { id, event, retry: self.retry, data: &self.data }.to_string());
                (id.map(str::to_owned), event.map(str::to_owned), self.retry, self.data.clone())
            }
            Kind::Gap => {
                let gap = Gap { asked: self.id.clone(), oldest: self.event.clone(), lost: true };
                stream.push_str(&gap.frame());
                (None, Some("gap".into()), None, serde_json::to_string(&gap).expect("JSON"))
            }
        };
        Event {
            id: id.unwrap_or_else(|| last_id.to_owned()),
            event: event.filter(|event| !event.is_empty()).unwrap_or_else(|| "message".into()),
            data: normalized(&data),
            retry: retry.map(Duration::from_millis),
        }
    }
}

#[test]
fn two_parsers_read_back_what_was_framed_however_it_was_cut() {
    let inputs = (vec(sent(), 1..6), vec(1..40_usize, 0..30));
    fuzz("frames", inputs, |(all, cuts)| {
        let (mut stream, mut expected) = (String::new(), Vec::<Event>::new());
        for sent in all {
            let event = sent.write(&mut stream, expected.last().map_or("", |last| &last.id));
            expected.push(event);
        }
        let chunks = chunks(stream.as_bytes(), cuts);
        prop_assert_eq!(&parsed(&chunks), &expected);
        prop_assert_eq!(decoded(&chunks), expected);
        Ok(())
    });
}

#[test]
fn what_would_be_more_than_one_line_or_no_id_is_no_field() {
    fuzz("fields", text(), |value| {
        let is_wrong = value.is_empty() || !is_field(value);
        prop_assert!(!is_wrong || Field::parse(value).is_err() && Topic::parse(value).is_err());
        let expected = normalized(value);
        prop_assert_eq!(lines(value).collect::<Vec<_>>(), expected.split('\n').collect::<Vec<_>>());
        Ok(())
    });
}

/// With LF for every line end.
fn normalized(data: &str) -> String {
    data.replace("\r\n", "\n").replace('\r', "\n")
}

/// The stream in chunks of these sizes, and what is left.
fn chunks<'a>(mut stream: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut chunks = Vec::new();
    for &cut in cuts {
        let (chunk, rest) = stream.split_at(cut.min(stream.len()));
        chunks.push(chunk);
        stream = rest;
    }
    chunks.push(stream);
    chunks
}

/// The events as the parser reads them that is not ours.
fn parsed(chunks: &[&[u8]]) -> Vec<Event> {
    let chunks = chunks.iter().map(Ok::<_, Infallible>);
    let events = EventStream::new(stream::iter(chunks)).map(|event| event.expect("UTF-8"));
    events.collect().now_or_never().expect("no waiting")
}

/// The events as the client reads them.
fn decoded(chunks: &[&[u8]]) -> Vec<Event> {
    let (mut decoder, mut events) = (Decoder::new("", 1 << 20), Vec::new());
    for mut chunk in chunks.iter().copied() {
        while let Some(decode::Event { id, name, data, retry }) = decoder.next(&mut chunk).expect("short events") {
            events.push(Event { id, event: name, data, retry: retry.map(Duration::from_millis) });
        }
    }
    events
}
