//! `/clock`, `/remote` and `/sse`: the server's time.

use chrono::{DateTime, Local, NaiveDateTime, TimeDelta, Timelike};
use serde_json::Value;

use crate::app::App;

#[tokio::test]
async fn the_clock_sends_the_local_time_every_second() {
    let app = App::start().await;
    let mut clock = app.open("/clock").await;
    let times: Vec<_> = clock.take(2).await.iter().map(|event| local(&event.data)).collect();
    assert_eq!(times[1] - times[0], TimeDelta::seconds(1));
    assert_now(times[1]);
}

#[tokio::test]
async fn the_root_is_the_same_clock_for_a_client_that_wants_an_event_stream() {
    let app = App::start().await;
    let (mut root, mut clock) = tokio::join!(app.open("/"), app.open("/clock"));
    let (root, clock) = tokio::join!(root.take(2), clock.take(2));
    assert!(root.iter().any(|event| clock.contains(event)), "{root:?} {clock:?}");
}

#[tokio::test]
async fn remote_sends_the_local_time_with_its_offset_every_second() {
    let app = App::start().await;
    let mut remote = app.open("/remote").await;
    let times: Vec<_> = remote.take(2).await.iter().map(|event| remote_time(&event.data)).collect();
    assert_eq!(times[1] - times[0], TimeDelta::seconds(1));
    assert_eq!(*times[1].offset(), *Local::now().fixed_offset().offset());
    assert_now(times[1].naive_local());
}

#[tokio::test]
async fn sse_sends_every_client_the_same_message_and_timestamp_every_five_seconds() {
    let app = App::start().await;
    let (mut one, mut two) = tokio::join!(app.open("/sse"), app.open("/sse"));
    let event = one.event().await;
    let data: Value = serde_json::from_str(&event.data).expect("JSON");
    let time = remote_time(data["timestamp"].as_str().expect("a timestamp"));
    assert_eq!(time.second() % 5, 0, "{data}");
    assert_eq!(data["message"], format!("The server's time is {}", time.format("%H:%M:%S")));
    assert_eq!(two.event().await, event);
}

#[track_caller]
fn local(text: &str) -> NaiveDateTime {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[track_caller]
fn remote_time(text: &str) -> DateTime<chrono::FixedOffset> {
    assert!(!text.ends_with('Z') && !text.contains('.'), "{text}");
    DateTime::parse_from_rfc3339(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[track_caller]
fn assert_now(time: NaiveDateTime) {
    let off = Local::now().naive_local() - time;
    assert!(off.abs() < TimeDelta::seconds(10), "{time} is {off} off");
}
