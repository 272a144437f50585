//! Frames, read back by a parser that is not ours.

use std::convert::Infallible;

use eventsource_stream::{Event, EventStream};
use futures_util::{FutureExt, StreamExt, stream};
use proptest::prelude::*;
use tidings::wire::frame::{Frame, HEARTBEAT, is_field, lines};

#[derive(Clone, Debug)]
struct Sent {
    id: Option<String>,
    event: Option<String>,
    retry: Option<u64>,
    data: String,
    heartbeat: bool,
}

fn field() -> impl Strategy<Value = Option<String>> {
    prop::option::of("\\PC{0,12}|[ :\u{feff}\t]{1,3}.{0,3}".prop_filter("a field", |value| is_field(value)))
}

fn sent() -> impl Strategy<Value = Sent> {
    let data = prop_oneof![any::<String>(), "([a :]|\r|\n|\r\n|data: |id: |\u{feff}|\u{85}|\u{2028}|\0){0,12}"];
    (field(), field(), prop::option::of(any::<u32>()), data, any::<bool>()).prop_map(
        |(id, event, retry, data, heartbeat)| Sent { id, event, retry: retry.map(Into::into), data, heartbeat },
    )
}

proptest! {
    #[test]
    fn a_parser_reads_back_what_was_framed_however_it_was_cut(
        all in prop::collection::vec(sent(), 1..6),
        cuts in prop::collection::vec(1..40_usize, 0..30),
    ) {
        let mut bytes = String::new();
        for Sent { id, event, retry, data, heartbeat } in &all {
            if *heartbeat {
                bytes.push_str(HEARTBEAT);
            }
            let frame = Frame { id: id.as_deref(), event: event.as_deref(), retry: *retry, data };
            bytes.push_str(&frame.to_string());
        }
        prop_assert_eq!(parse(bytes.as_bytes(), &cuts), expected(&all));
    }

    #[test]
    fn lines_are_what_a_browser_splits_at(text in "([a ]|\r|\n|\r\n){0,20}") {
        let normalized = normalized(&text);
        prop_assert_eq!(lines(&text).collect::<Vec<_>>(), normalized.split('\n').collect::<Vec<_>>());
    }
}

/// The events a browser would dispatch: an id stays until there is another.
fn expected(all: &[Sent]) -> Vec<Event> {
    let mut last_id = String::new();
    let events = all.iter().map(|sent| {
        last_id = sent.id.clone().unwrap_or(std::mem::take(&mut last_id));
        let name = sent.event.clone().filter(|name| !name.is_empty());
        Event {
            id: last_id.clone(),
            event: name.unwrap_or_else(|| "message".into()),
            data: normalized(&sent.data),
            retry: sent.retry.map(std::time::Duration::from_millis),
        }
    });
    events.collect()
}

fn normalized(data: &str) -> String {
    data.replace("\r\n", "\n").replace('\r', "\n")
}

/// The parser's events, from bytes that come in chunks of these sizes.
fn parse(mut bytes: &[u8], cuts: &[usize]) -> Vec<Event> {
    let mut chunks = Vec::new();
    for &cut in cuts {
        let (chunk, rest) = bytes.split_at(cut.min(bytes.len()));
        chunks.push(Ok::<_, Infallible>(chunk));
        bytes = rest;
    }
    chunks.push(Ok(bytes));
    let events = EventStream::new(stream::iter(chunks)).map(|event| event.expect("UTF-8"));
    events.collect().now_or_never().expect("no waiting")
}
