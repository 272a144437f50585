//! The feed's rules, one by one.

use chrono::DateTime;

use super::*;
use crate::wire::paths;

const START: Moment = Moment { now: 0.0, roll: 0.5 };

fn at(now: f64) -> Moment {
    Moment { now, ..START }
}

/// The n-th message ever: its id is `m<n>`, its time is n seconds.
fn message(n: u32) -> Message {
    Message {
        id: format!("m{n}"),
        message: format!("text {n}"),
        published_at: DateTime::from_timestamp(i64::from(n), 0).unwrap_or_default(),
        stream: paths::burst(&format!("m{n}")),
    }
}

fn burst(n: u32) -> Key {
    Key::Burst(format!("m{n}"))
}

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn live(n: u32) -> Heard {
    Heard::Event { id: format!("m{n}"), name: "message".into(), data: json(&message(n)) }
}

fn arrival(n: u32, repeat: u32) -> Heard {
    let data = format!(r#"{{"message":"text {n}","repeat":{repeat},"of":3}}"#);
    Heard::Event { id: format!("m{n}:{repeat}"), name: "message".into(), data }
}

fn close(n: u32) -> Heard {
    Heard::Event { id: format!("m{n}:close"), name: "close".into(), data: r#"{"reason":"complete"}"#.into() }
}

fn started(messages: Vec<Message>) -> Feed {
    let mut feed = Feed::new(messages, 3);
    feed.start(Vec::new(), START);
    feed.heard(&Key::Live, Heard::Open, START);
    feed.take_orders();
    feed
}

fn opened(feed: &mut Feed) -> Vec<String> {
    let orders = feed.take_orders();
    orders
        .into_iter()
        .filter_map(|order| if let Order::Open(_, address) = order { Some(address) } else { None })
        .collect()
}

fn phase(feed: &Feed, n: u32) -> Phase {
    feed.burst(&format!("m{n}")).map(|burst| burst.line.phase.clone()).unwrap_or_default()
}

fn run(feed: &mut Feed, n: u32) {
    feed.heard(&burst(n), Heard::Open, START);
    for repeat in 1..=3 {
        feed.heard(&burst(n), arrival(n, repeat), START);
    }
    feed.heard(&burst(n), close(n), START);
}

#[test]
fn the_live_stream_begins_after_the_newest_message_that_came_with_the_page() {
    let mut feed = Feed::new(vec![message(2), message(1)], 3);
    feed.start(Vec::new(), START);
    assert_eq!(opened(&mut feed), ["/api/messages?last_event_id=m2"]);
}

#[test]
fn the_live_stream_of_an_empty_page_begins_with_everything() {
    let mut feed = Feed::new(Vec::new(), 3);
    feed.start(Vec::new(), START);
    assert_eq!(opened(&mut feed), ["/api/messages?last_event_id=earliest"]);
}

#[test]
fn messages_that_came_with_the_page_rest_until_somebody_watches() {
    let mut feed = started(vec![message(1)]);
    assert_eq!(phase(&feed, 1), Phase::Rest);
    feed.watch(&burst(1), START);
    assert_eq!(opened(&mut feed), ["/stream?message=m1"]);
}

#[test]
fn a_message_has_one_card_whichever_way_it_comes_first() {
    let mut feed = started(Vec::new());
    feed.heard(&Key::Live, live(1), START);
    feed.submitted(message(1), START);
    feed.submitted(message(2), START);
    feed.heard(&Key::Live, live(2), START);
    let own: Vec<_> = feed.cards().iter().map(|card| (card.message.id.as_str(), card.own)).collect();
    assert_eq!(own, [("m2", true), ("m1", true)]);
    assert_eq!(opened(&mut feed).len(), 2);
}

#[test]
fn a_message_overtaken_by_a_newer_one_takes_its_place() {
    let mut feed = started(vec![message(1)]);
    feed.submitted(message(3), START);
    feed.heard(&Key::Live, live(2), START);
    let ids: Vec<_> = feed.cards().iter().map(|card| card.message.id.as_str()).collect();
    assert_eq!(ids, ["m3", "m2", "m1"]);
}

#[test]
fn a_burst_arrives_three_times_and_closes() {
    let mut feed = started(Vec::new());
    feed.submitted(message(1), START);
    assert_eq!(phase(&feed, 1), Phase::Connecting);
    run(&mut feed, 1);
    assert_eq!(phase(&feed, 1), Phase::Closed);
    assert!(feed.take_orders().contains(&Order::Close(burst(1))));
    let burst = feed.burst("m1").cloned().unwrap_or_else(|| Burst::new(0));
    assert_eq!(burst.arrived(), 3);
    let frames: Vec<_> = burst.log.iter().filter_map(|entry| entry.what.frame()).collect();
    assert_eq!(frames[0], "id: m1:1\ndata: {\"message\":\"text 1\",\"repeat\":1,\"of\":3}\n\n");
    assert_eq!(frames[3], "id: m1:close\nevent: close\ndata: {\"reason\":\"complete\"}\n\n");
}

#[test]
fn an_event_heard_twice_counts_once() {
    let mut feed = started(Vec::new());
    feed.submitted(message(1), START);
    feed.heard(&burst(1), arrival(1, 1), START);
    feed.heard(&burst(1), arrival(1, 1), START);
    assert_eq!(feed.burst("m1").map(|burst| burst.log.len()), Some(1));
}

#[test]
fn four_streams_are_open_and_ten_messages_complete() {
    let mut feed = started(Vec::new());
    for n in 1..=10 {
        feed.submitted(message(n), START);
    }
    assert_eq!(opened(&mut feed).len(), SLOTS);
    assert_eq!(phase(&feed, 5), Phase::Queued);
    for n in 1..=10 {
        assert_eq!(phase(&feed, n), Phase::Connecting, "message {n}");
        run(&mut feed, n);
    }
    assert!((1..=10).all(|n| phase(&feed, n) == Phase::Closed));
    assert_eq!(opened(&mut feed).len(), 6);
}

#[test]
fn what_this_tab_submitted_goes_before_what_came_from_elsewhere() {
    let mut feed = started(Vec::new());
    for n in 1..=6 {
        feed.heard(&Key::Live, live(n), START);
    }
    feed.submitted(message(7), START);
    run(&mut feed, 1);
    assert_eq!(phase(&feed, 7), Phase::Connecting);
    assert_eq!(phase(&feed, 5), Phase::Queued);
}

#[test]
fn a_flood_from_elsewhere_is_shown_at_rest() {
    let mut feed = started(Vec::new());
    for n in 1..=100 {
        feed.heard(&Key::Live, live(n), START);
    }
    let waiting = feed.cards().iter().filter(|card| card.burst.line.phase == Phase::Queued).count();
    assert_eq!(waiting, MOST_WAITING);
    assert_eq!(phase(&feed, 100), Phase::Rest);
}

#[test]
fn old_cards_make_room_and_their_streams_are_closed() {
    let mut feed = started(vec![message(1)]);
    feed.watch(&burst(1), START);
    feed.take_orders();
    for n in 2..=201 {
        feed.heard(&Key::Live, live(n), START);
    }
    assert_eq!(feed.cards().len(), MOST_CARDS);
    assert!(feed.take_orders().contains(&Order::Close(burst(1))));
}

#[test]
fn a_lost_burst_goes_on_after_the_last_event_heard() {
    let mut feed = started(Vec::new());
    feed.submitted(message(1), START);
    feed.heard(&burst(1), Heard::Open, START);
    feed.heard(&burst(1), arrival(1, 1), START);
    feed.take_orders();
    feed.heard(&burst(1), Heard::Lost { refused: false }, at(1_500.0));
    assert_eq!(phase(&feed, 1), Phase::Lost { again_at: 2_500.0, seconds: 1 });
    feed.tick(at(2_400.0));
    assert!(opened(&mut feed).is_empty());
    feed.tick(at(2_500.0));
    assert_eq!(opened(&mut feed), ["/stream?message=m1&last_event_id=m1:1"]);
    feed.heard(&burst(1), Heard::Open, at(2_600.0));
    assert_eq!(feed.burst("m1").and_then(|burst| burst.line.resumed_after.clone()).as_deref(), Some("m1:1"));
}

#[test]
fn each_failure_waits_longer_and_being_open_forgets_them() {
    let mut feed = started(Vec::new());
    for expected in [1, 2, 4, 8, 15, 15] {
        feed.heard(&Key::Live, Heard::Lost { refused: false }, START);
        assert!(matches!(feed.live().phase, Phase::Lost { seconds, .. } if seconds == expected), "{expected}");
    }
    feed.retry(&Key::Live, START);
    assert_eq!(opened(&mut feed), ["/api/messages?last_event_id=earliest"]);
    feed.heard(&Key::Live, Heard::Open, START);
    assert_eq!(feed.live().failures, 0);
}

#[test]
fn a_refused_stream_asks_why_and_shows_the_words() {
    let mut feed = started(vec![message(1)]);
    feed.watch(&burst(1), START);
    feed.heard(&burst(1), Heard::Lost { refused: true }, START);
    assert!(feed.take_orders().contains(&Order::Ask(burst(1), "/stream?message=m1".into())));
    let problem = Problem { status: 404, title: "Unknown message".into(), detail: "No message has this id.".into() };
    feed.answered(&burst(1), Answer::Refused(problem.clone()), START);
    assert_eq!(phase(&feed, 1), Phase::Refused(problem));
    feed.tick(at(60_000.0));
    assert!(opened(&mut feed).is_empty());
    feed.retry(&burst(1), at(60_000.0));
    assert_eq!(opened(&mut feed), ["/stream?message=m1"]);
}

#[test]
fn a_server_that_is_busy_is_tried_again() {
    let mut feed = started(vec![message(1)]);
    feed.watch(&burst(1), START);
    for status in [429, 503] {
        feed.heard(&burst(1), Heard::Lost { refused: true }, START);
        let problem = Problem { status, title: String::new(), detail: String::new() };
        feed.answered(&burst(1), Answer::Refused(problem), START);
        assert!(matches!(phase(&feed, 1), Phase::Lost { .. }), "{status}");
        feed.tick(at(30_000.0));
    }
}

#[test]
fn a_finished_stream_is_closed_and_gives_its_place_to_the_next() {
    let mut feed = started(Vec::new());
    for n in 1..=5 {
        feed.submitted(message(n), START);
    }
    feed.heard(&burst(1), Heard::Lost { refused: true }, START);
    assert_eq!(phase(&feed, 5), Phase::Queued);
    feed.answered(&burst(1), Answer::Ended, START);
    assert_eq!(phase(&feed, 1), Phase::Closed);
    assert_eq!(phase(&feed, 5), Phase::Connecting);
}

#[test]
fn a_late_answer_changes_nothing() {
    let mut feed = started(vec![message(1)]);
    feed.watch(&burst(1), START);
    feed.answered(&burst(1), Answer::Ended, START);
    assert_eq!(phase(&feed, 1), Phase::Connecting);
}

#[test]
fn a_reload_in_the_middle_of_a_burst_loses_nothing() {
    let mut before = started(vec![message(1)]);
    for n in 2..=7 {
        before.submitted(message(n), START);
    }
    run(&mut before, 2);
    before.heard(&burst(3), arrival(3, 1), at(3.0));
    let stored = json(&before.kept());
    let kept: Vec<Kept> = serde_json::from_str(&stored).unwrap_or_default();

    // Message 7 has fallen out of the list that came with the new page.
    let mut feed = Feed::new((1..=6).rev().map(message).collect(), 3);
    feed.start(kept, START);
    assert_eq!(feed.cards().len(), 7);
    assert_eq!(feed.cards()[0].message.id, "m7");
    assert_eq!(phase(&feed, 1), Phase::Rest);
    assert_eq!(phase(&feed, 2), Phase::Closed);
    assert_eq!(feed.burst("m2").map(Burst::arrived), Some(3));
    assert_eq!(feed.burst("m3").map(|burst| burst.arrivals.clone()), Some(vec![Some(3.0), None, None]));
    assert_eq!(phase(&feed, 7), Phase::Queued);
    assert_eq!(
        opened(&mut feed),
        [
            "/api/messages?last_event_id=m6",
            "/stream?message=m3&last_event_id=m3:1",
            "/stream?message=m4",
            "/stream?message=m5",
            "/stream?message=m6",
        ]
    );
}

#[test]
fn what_nobody_watched_is_not_kept_and_finished_bursts_only_so_far() {
    let mut feed = started(vec![message(1)]);
    for n in 2..=40 {
        feed.submitted(message(n), START);
        run(&mut feed, n);
    }
    assert_eq!(feed.kept().len(), MOST_KEPT);
}

#[test]
fn a_hidden_page_lets_its_endless_streams_go_and_takes_them_up_again() {
    let mut feed = started(vec![message(1)]);
    feed.watch(&Key::Demo(Demo::Counter), START);
    feed.watch(&burst(1), START);
    feed.heard(
        &Key::Demo(Demo::Counter),
        Heard::Event { id: "c9".into(), name: "message".into(), data: "9".into() },
        START,
    );
    feed.visible(false, START);
    assert_eq!(feed.next_tick(), Some(HIDDEN_FOR));
    feed.tick(at(HIDDEN_FOR));
    assert_eq!(feed.live().phase, Phase::Paused);
    assert_eq!(feed.tap(Demo::Counter).line.phase, Phase::Paused);
    assert_eq!(phase(&feed, 1), Phase::Connecting);
    assert_eq!(feed.next_tick(), None);
    feed.take_orders();
    feed.visible(true, at(99_000.0));
    assert_eq!(opened(&mut feed), ["/api/messages?last_event_id=m1", "/counter?last_event_id=c9"]);
}

#[test]
fn a_short_look_away_changes_nothing() {
    let mut feed = started(vec![message(1)]);
    feed.visible(false, START);
    feed.tick(at(5_000.0));
    feed.visible(true, at(6_000.0));
    assert_eq!(feed.live().phase, Phase::Open);
    assert!(opened(&mut feed).is_empty());
}

#[test]
fn the_network_coming_back_retries_everything_at_once() {
    let mut feed = started(vec![message(1)]);
    feed.watch(&burst(1), START);
    feed.heard(&burst(1), Heard::Lost { refused: false }, START);
    feed.heard(&Key::Live, Heard::Lost { refused: false }, START);
    feed.take_orders();
    feed.retry_all(at(10.0));
    assert_eq!(opened(&mut feed).len(), 2);
}

#[test]
fn demo_streams_share_the_four_connections() {
    let mut feed = started(Vec::new());
    for demo in Demo::ALL {
        feed.watch(&Key::Demo(demo), START);
    }
    for n in 1..=2 {
        feed.submitted(message(n), START);
    }
    assert_eq!(phase(&feed, 2), Phase::Queued);
    feed.stop(&Key::Demo(Demo::Clock), START);
    assert_eq!(phase(&feed, 2), Phase::Connecting);
}

#[test]
fn a_demo_stream_shows_the_last_events_and_begins_anew_when_switched_on_again() {
    let mut feed = started(Vec::new());
    let key = Key::Demo(Demo::Clock);
    feed.watch(&key, START);
    for n in 0..9 {
        feed.heard(&key, Heard::Event { id: n.to_string(), name: "message".into(), data: n.to_string() }, START);
    }
    let shown: Vec<_> = feed.tap(Demo::Clock).last.iter().map(|event| event.data.as_str()).collect();
    assert_eq!(shown, ["8", "7", "6"]);
    assert_eq!(feed.tap(Demo::Clock).count, 9);
    feed.stop(&key, START);
    feed.take_orders();
    feed.watch(&key, START);
    assert_eq!(opened(&mut feed), ["/clock"]);
    assert_eq!(feed.tap(Demo::Clock).count, 0);
}

#[test]
fn a_gap_is_said_and_an_event_that_makes_no_sense_is_passed_over() {
    let mut feed = started(Vec::new());
    let gap = Heard::Event { id: String::new(), name: "gap".into(), data: r#"{"lost":true}"#.into() };
    feed.heard(&Key::Live, gap, at(5_000.0));
    let said =
        feed.take_orders().into_iter().any(|order| matches!(order, Order::Say(text) if text.contains("no longer")));
    assert!(said);
    feed.heard(&Key::Live, Heard::Event { id: "x".into(), name: "message".into(), data: "{".into() }, START);
    assert!(feed.cards().is_empty());
}

#[test]
fn numbers_that_cannot_be_true_are_passed_over() {
    let mut feed = started(Vec::new());
    feed.submitted(message(1), START);
    for data in [r#"{"message":"x","repeat":0,"of":3}"#, r#"{"message":"x","repeat":1,"of":4000000000}"#] {
        let event = Heard::Event { id: String::new(), name: "message".into(), data: data.into() };
        feed.heard(&burst(1), event, START);
    }
    assert_eq!(feed.burst("m1").map(|burst| (burst.arrived(), burst.arrivals.len())), Some((0, 3)));
}
