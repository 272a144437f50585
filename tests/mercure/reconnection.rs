//! 2.6 Reconnection, State Reconciliation, and Event Sourcing.

use serde_json::Value;
use tidings::server::settings::Options;

use crate::app::Ask;
use crate::hub::Hub;
use crate::listener::Listener;
use crate::token::{Claims, exact};

fn preceding(listener: &Listener) -> String {
    crate::answer::header(&listener.headers, "mercure-last-event-id")
}

#[tokio::test]
async fn everything_after_the_last_id_is_sent_and_then_what_comes() {
    let hub = Hub::start().await;
    let ids = [hub.update("a", "0").await, hub.update("b", "x").await, hub.update("a", "1").await];
    let mut listener = hub.stream(&[("match", "a")]).header("last-event-id", &ids[0]).open().await;
    assert_eq!(preceding(&listener), ids[0]);
    let live = hub.update("a", "2").await;
    assert_eq!([listener.event().await.id, listener.event().await.id], [ids[2].clone(), live]);
}

#[tokio::test]
async fn the_query_and_its_alias_stand_for_the_header_which_wins() {
    let hub = Hub::start().await;
    let ids = [hub.update("a", "0").await, hub.update("a", "1").await, hub.update("a", "2").await];
    for name in ["last_event_id", "lastEventId"] {
        let mut listener = hub.subscribe(&[("match", "a"), (name, &ids[0])]).await;
        assert_eq!(listener.event().await.id, ids[1]);
    }
    let both = hub.stream(&[("match", "a"), ("last_event_id", &ids[0])]).header("last-event-id", &ids[1]);
    assert_eq!(both.open().await.event().await.id, ids[2]);
}

#[tokio::test]
async fn an_empty_last_event_id_says_nothing_and_hides_no_other() {
    // Presence events are events too, and would precede the streams.
    let hub = Hub::start_with(Options { presence: Some(false), ..Options::default() }).await;
    let empty_at_first = hub.stream(&[("match", "a")]).header("last-event-id", "").open().await;
    assert_eq!(preceding(&empty_at_first), "earliest");
    let ids = [hub.update("a", "0").await, hub.update("a", "1").await, hub.update("b", "").await];
    for stream in [
        hub.stream(&[("match", "a"), ("last_event_id", &ids[0])]).header("last-event-id", ""),
        hub.stream(&[("match", "a"), ("last_event_id", ""), ("lastEventId", &ids[0])]),
        hub.stream(&[("match", "a"), ("last_event_id", ""), ("last_event_id", &ids[0])]),
    ] {
        let mut listener = stream.open().await;
        assert_eq!(preceding(&listener), ids[0]);
        assert_eq!(listener.event().await.id, ids[1]);
    }
    // Where there is no other, nothing is replayed, and the answer says after what the stream begins.
    for stream in [
        hub.stream(&[("match", "a")]).header("last-event-id", ""),
        hub.stream(&[("match", "a"), ("last_event_id", "")]),
    ] {
        let mut listener = stream.open().await;
        assert_eq!(preceding(&listener), ids[2]);
        let live = hub.publish(&[("topic", "a"), ("id", &ids[2])]).await.body;
        assert_eq!(listener.event().await.id, live);
    }
}

#[tokio::test]
async fn earliest_is_all_history() {
    let hub = Hub::start().await;
    let mut empty = hub.subscribe(&[("match", "a"), ("last_event_id", "earliest")]).await;
    assert_eq!(preceding(&empty), "earliest");
    let ids = [hub.update("a", "").await, hub.update("a", "").await];
    assert_eq!([empty.event().await.id, empty.event().await.id], ids);
    let mut listener = hub.subscribe(&[("match", "a"), ("last_event_id", "earliest")]).await;
    assert_eq!(preceding(&listener), "earliest");
    assert_eq!([listener.event().await.id, listener.event().await.id], ids);
}

#[tokio::test]
async fn an_unknown_id_gets_what_is_kept_and_is_told() {
    let hub = Hub::start().await;
    let id = hub.update("a", "").await;
    let mut listener = hub.subscribe(&[("match", "a"), ("last_event_id", "nobody's")]).await;
    assert_eq!(preceding(&listener), "earliest");
    assert_eq!(listener.event().await.id, id);
    // Who asks for it is told in the stream too.
    let mut listener = hub.subscribe(&[("match", "a"), ("last_event_id", "nobody's"), ("gap", "1")]).await;
    let gap = listener.event().await;
    let data: Value = serde_json::from_str(&gap.data).expect("JSON");
    assert_eq!((&*gap.event, &data["asked"], &data["oldest"]), ("gap", &"nobody's".into(), &id.clone().into()));
    assert_eq!(listener.event().await.id, id);
}

#[tokio::test]
async fn an_id_that_retention_has_passed_leads_to_the_earliest() {
    let hub = Hub::start_with(Options { keep_count: Some(2), ..Options::default() }).await;
    let mut ids = Vec::new();
    for _ in 0..6 {
        ids.push(hub.update("a", "").await);
    }
    let mut listener = loop {
        let listener = hub.subscribe(&[("match", "a"), ("last_event_id", &ids[0])]).await;
        // Retention works in the background.
        if preceding(&listener) == "earliest" {
            break listener;
        }
        tokio::task::yield_now().await;
    };
    assert!(ids[1..].contains(&listener.event().await.id));
}

#[tokio::test]
async fn a_reused_id_leads_to_its_earliest_update() {
    let hub = Hub::start().await;
    for data in ["0", "1", "2"] {
        hub.publish(&[("topic", "a"), ("id", "same"), ("data", data)]).await.assert_status(200);
    }
    let mut listener = hub.subscribe(&[("match", "a"), ("last_event_id", "same")]).await;
    assert_eq!([listener.event().await.data, listener.event().await.data], ["1", "2"]);
}

#[tokio::test]
async fn each_candidate_is_authorized_with_the_token_of_today() {
    let hub = Hub::start().await;
    let ids =
        [hub.update("a", "").await, hub.private("a", "").await, hub.private("b", "").await, hub.update("a", "").await];
    let token = Claims::new().subscribe(&[exact("b")]).subscriber();
    let mut listener = hub.subscribe_as(&token, &[("match", "*"), ("last_event_id", &ids[0])]).await;
    assert_eq!([listener.event().await.id, listener.event().await.id], [ids[2].clone(), ids[3].clone()]);
    let mut anonymous = hub.subscribe(&[("match", "*"), ("last_event_id", &ids[0])]).await;
    assert_eq!(anonymous.event().await.id, ids[3]);
}

#[tokio::test]
async fn resuming_works_right_after_a_restart() {
    let hub = Hub::start().await;
    let ids = [hub.update("a", "").await, hub.update("a", "").await];
    let hub = hub.restart().await;
    let mut listener = hub.subscribe(&[("match", "a"), ("last_event_id", &ids[0])]).await;
    assert_eq!((preceding(&listener), listener.event().await.id), (ids[0].clone(), ids[1].clone()));
}

#[tokio::test]
async fn a_stream_without_an_id_begins_with_what_comes_and_says_nothing_of_before() {
    let hub = Hub::start().await;
    hub.update("a", "").await;
    let mut listener = hub.subscribe(&[("match", "a")]).await;
    assert_eq!(preceding(&listener), "");
    let id = hub.update("a", "").await;
    assert_eq!(listener.event().await.id, id);
}
