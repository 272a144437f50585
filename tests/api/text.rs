//! Every text that a message can hold arrives as it was sent, however it is submitted and read.

use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tidings::server::settings::Options;
use tidings::wire::event::Arrival;
use tidings::wire::message::{Message, MessageText};
use tokio::runtime;

use crate::app::{App, FORM, JSON, TEXT, form, millis};
use crate::listener::Listener;

const CASES: u32 = 150;

/// Characters and sequences that mean something to a parser on the way.
const TRICKY: [&str; 24] = [
    "\n",
    "\r",
    "\r\n",
    "\n\n",
    "\r\r",
    "data: x",
    "data:",
    "id: 9",
    "event: close",
    "retry: 1",
    ": comment",
    " ",
    "  ",
    "\t",
    "\u{feff}",
    "\u{7f}",
    "\u{1}",
    "\u{1b}[31m",
    "\u{85}",
    "\u{2028}",
    "\u{200d}",
    "\u{1f469}\u{200d}\u{1f680}",
    "\\u0000",
    "+%20&message=x",
];

/// A text with line ends, SSE fields, control characters and other Unicode, without NUL and not only white space.
fn text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        3 => prop::sample::select(&TRICKY[..]).prop_map(str::to_owned),
        2 => any::<char>().prop_map(String::from),
        1 => "[a-z:\" ]{1,8}",
    ];
    let text = prop::collection::vec(part, 1..24).prop_map(|parts| parts.concat().replace('\0', ""));
    text.prop_filter("no message", |text| MessageText::parse(text.clone(), 4096).is_ok())
}

#[test]
fn any_text_arrives_unchanged_in_its_burst_in_the_feed_and_in_the_list() {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let options = Options { burst_interval: Some(millis(0)), burst_repeat: Some(2), ..Options::default() };
    let app = runtime.block_on(App::start_with(options));
    let feed = Cell::new(Some(runtime.block_on(app.open("/api/messages"))));
    let mut runner = TestRunner::new(Config { cases: CASES, ..Config::default() });
    let outcome = runner.run(&(text(), 0..4_u8), |(text, way)| {
        runtime.block_on(async {
            let mut listener = feed.take().expect("a feed");
            let checked = check(&app, &mut listener, &text, way).await;
            feed.set(Some(listener));
            checked
        })
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

async fn check(app: &App, feed: &mut Listener, text: &str, way: u8) -> Result<(), TestCaseError> {
    let mut waiting = app.open("/stream").await;
    let json = serde_json::json!({ "message": text }).to_string();
    let id = match way {
        0 => app.post("/api/messages", JSON, json).await.created().id,
        1 => app.post("/api/messages", FORM, form(text)).await.created().id,
        2 => app.post("/publish", TEXT, text.to_owned()).await.assert_status(200).body.trim_end().to_owned(),
        _ => app.post("/publish", JSON, json).await.assert_status(200).body.trim_end().to_owned(),
    };
    let message: Message = app.get(&format!("/api/messages/{id}")).await.json();
    prop_assert_eq!(&message.message, text);
    prop_assert_eq!(&feed.message().await, &message);
    for event in &waiting.take(2).await {
        let arrival: Arrival = serde_json::from_str(&event.data).expect("an arrival");
        prop_assert_eq!(&arrival.message, text);
        prop_assert!(event.id.starts_with(&id));
    }
    prop_assert_eq!(waiting.rest().await.len(), 1);
    Ok(())
}
