//! `/counter`: numbered events at random short intervals.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use eventsource_stream::Event;
use uuid::Uuid;

use crate::app::App;

#[tokio::test]
async fn the_counter_numbers_its_events_from_one_with_uuids_as_ids() {
    let app = App::start().await;
    let start = Instant::now();
    let events = app.open("/counter").await.take(8).await;
    assert!(start.elapsed() >= Duration::from_millis(80), "eight events come at least 10 ms apart");
    assert_numbered(&events, 1);
    let ids: HashSet<_> = events.iter().map(|event| Uuid::parse_str(&event.id).expect("a UUID")).collect();
    assert_eq!(ids.len(), events.len());
}

#[tokio::test]
async fn each_client_has_its_own_count() {
    let app = App::start().await;
    let (mut one, mut two) = (app.open("/counter").await, app.open("/counter").await);
    let (one, two) = tokio::join!(one.take(3), two.take(3));
    assert_numbered(&one, 1);
    assert_numbered(&two, 1);
    assert_ne!(one[0].id, two[0].id);
}

#[tokio::test]
async fn a_client_that_reconnects_continues_its_count() {
    let app = App::start().await;
    let last = app.open("/counter").await.take(3).await.pop().expect("an event").id;
    let other = App::start().await;
    assert_numbered(&app.reopen("/counter", &last).await.take(2).await, 4);
    assert_numbered(&app.open(&format!("/counter?last_event_id={last}")).await.take(2).await, 4);
    assert_numbered(&other.reopen("/counter", &last).await.take(2).await, 4);
}

#[tokio::test]
async fn an_unknown_last_event_id_begins_at_one() {
    let app = App::start().await;
    for id in ["nobody", "7", "", "7e3a1c1e-8f5a-4c8e-9d1f-2f6b7a3c9e10"] {
        assert_numbered(&app.reopen("/counter", id).await.take(1).await, 1);
    }
}

#[track_caller]
fn assert_numbered(events: &[Event], from: usize) {
    for (event, number) in events.iter().zip(from..) {
        assert_eq!((&*event.event, &*event.data), ("message", &*format!("Data pushed from server: ({number})")));
    }
}
