//! The feed's rules, one by one.

use chrono::DateTime;

use super::*;
use crate::ui::stream::RESUMED_SHOWN;
use crate::wire::paths;
use crate::wire::problem::Problem;

const START: Moment = Moment { now: 0.0, jitter: 0.5 };

const CONNECTING: Phase = Phase::Connecting { since: 0.0, slow: false };
const OPEN: Phase = Phase::Open { resumed: None };

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

fn live(n: u32) -> ConnectionEvent {
    ConnectionEvent::Event { id: format!("m{n}"), name: "message".into(), data: json(&message(n)) }
}

fn arrival(n: u32, repeat: u32) -> ConnectionEvent {
    let data = format!(r#"{{"message":"text {n}","repeat":{repeat},"of":3}}"#);
    ConnectionEvent::Event { id: format!("m{n}:{repeat}"), name: "message".into(), data }
}

fn close(n: u32) -> ConnectionEvent {
    ConnectionEvent::Event { id: format!("m{n}:close"), name: "close".into(), data: r#"{"reason":"complete"}"#.into() }
}

fn started(messages: Vec<Message>) -> Feed {
    let mut feed = Feed::new(messages, false, 3);
    feed.start(Vec::new(), START);
    feed.connection_event(&Key::Live, ConnectionEvent::Opened, START);
    feed.take_commands();
    feed
}

fn opened(feed: &mut Feed) -> Vec<String> {
    let commands = feed.take_commands();
    commands
        .into_iter()
        .filter_map(|order| if let Command::Open(_, address) = order { Some(address) } else { None })
        .collect()
}

fn phase(feed: &Feed, n: u32) -> Phase {
    feed.burst(&format!("m{n}")).map(|burst| burst.connection.phase.clone()).unwrap_or_default()
}

fn run(feed: &mut Feed, n: u32) {
    feed.connection_event(&burst(n), ConnectionEvent::Opened, START);
    for repeat in 1..=3 {
        feed.connection_event(&burst(n), arrival(n, repeat), START);
    }
    feed.connection_event(&burst(n), close(n), START);
}

#[test]
fn the_live_stream_begins_after_the_newest_message_that_came_with_the_page() {
    let mut feed = Feed::new(vec![message(2), message(1)], false, 3);
    feed.start(Vec::new(), START);
    assert_eq!(opened(&mut feed), ["/api/messages?last_event_id=m2"]);
}

#[test]
fn the_live_stream_of_an_empty_page_begins_with_everything() {
    let mut feed = Feed::new(Vec::new(), false, 3);
    feed.start(Vec::new(), START);
    assert_eq!(opened(&mut feed), ["/api/messages?last_event_id=earliest"]);
}

#[test]
fn messages_that_came_with_the_page_rest_until_somebody_watches() {
    let mut feed = started(vec![message(1)]);
    assert_eq!(phase(&feed, 1), Phase::Idle);
    feed.watch(&burst(1), START);
    assert_eq!(opened(&mut feed), ["/stream?message=m1"]);
}

#[test]
fn a_message_has_one_card_whichever_way_it_comes_first() {
    let mut feed = started(Vec::new());
    feed.connection_event(&Key::Live, live(1), START);
    feed.submitted(message(1), START);
    feed.submitted(message(2), START);
    feed.connection_event(&Key::Live, live(2), START);
    let own: Vec<_> = feed.cards().iter().map(|card| (card.message.id.as_str(), card.own)).collect();
    assert_eq!(own, [("m2", true), ("m1", true)]);
    assert_eq!(opened(&mut feed).len(), 2);
}

#[test]
fn a_message_overtaken_by_a_newer_one_takes_its_place() {
    let mut feed = started(vec![message(1)]);
    feed.submitted(message(3), START);
    feed.connection_event(&Key::Live, live(2), START);
    let ids: Vec<_> = feed.cards().iter().map(|card| card.message.id.as_str()).collect();
    assert_eq!(ids, ["m3", "m2", "m1"]);
}

#[test]
fn a_burst_arrives_three_times_and_closes() {
    let mut feed = started(Vec::new());
    feed.submitted(message(1), START);
    assert_eq!(phase(&feed, 1), CONNECTING);
    run(&mut feed, 1);
    assert_eq!(phase(&feed, 1), Phase::Closed);
    assert!(feed.take_commands().contains(&Command::Close(burst(1))));
    let burst = feed.burst("m1").cloned().unwrap_or_else(|| Burst::new(0));
    assert_eq!(burst.arrived(), 3);
    let frames: Vec<_> = burst.log.iter().filter_map(|entry| entry.item.frame()).collect();
    assert_eq!(frames[0], "id: m1:1\ndata: {\"message\":\"text 1\",\"repeat\":1,\"of\":3}\n\n");
    assert_eq!(frames[3], "id: m1:close\nevent: close\ndata: {\"reason\":\"complete\"}\n\n");
}

#[test]
fn an_event_heard_twice_counts_once() {
    let mut feed = started(Vec::new());
    feed.submitted(message(1), START);
    feed.connection_event(&burst(1), arrival(1, 1), START);
    feed.connection_event(&burst(1), arrival(1, 1), START);
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
        assert_eq!(phase(&feed, n), CONNECTING, "message {n}");
        run(&mut feed, n);
    }
    assert!((1..=10).all(|n| phase(&feed, n) == Phase::Closed));
    assert_eq!(opened(&mut feed).len(), 6);
}

#[test]
fn what_this_tab_submitted_goes_before_what_came_from_elsewhere() {
    let mut feed = started(Vec::new());
    for n in 1..=6 {
        feed.connection_event(&Key::Live, live(n), START);
    }
    feed.submitted(message(7), START);
    run(&mut feed, 1);
    assert_eq!(phase(&feed, 7), CONNECTING);
    assert_eq!(phase(&feed, 5), Phase::Queued);
}

#[test]
fn a_flood_from_elsewhere_is_shown_at_rest() {
    let mut feed = started(Vec::new());
    for n in 1..=100 {
        feed.connection_event(&Key::Live, live(n), START);
    }
    let waiting = feed.cards().iter().filter(|card| card.burst.connection.phase == Phase::Queued).count();
    assert_eq!(waiting, MAX_QUEUED);
    assert_eq!(phase(&feed, 100), Phase::Idle);
}

#[test]
fn old_cards_make_room_and_their_streams_are_closed() {
    let mut feed = started(vec![message(1)]);
    feed.watch(&burst(1), START);
    feed.take_commands();
    for n in 2..=201 {
        feed.connection_event(&Key::Live, live(n), START);
    }
    assert_eq!(feed.cards().len(), MAX_CARDS);
    assert!(feed.take_commands().contains(&Command::Close(burst(1))));
}

#[test]
fn a_lost_burst_goes_on_after_the_last_event_heard() {
    let mut feed = started(Vec::new());
    feed.submitted(message(1), START);
    feed.connection_event(&burst(1), ConnectionEvent::Opened, START);
    feed.connection_event(&burst(1), arrival(1, 1), START);
    feed.take_commands();
    feed.connection_event(&burst(1), ConnectionEvent::Lost { refused: false }, at(1_500.0));
    assert_eq!(phase(&feed, 1), Phase::Lost { again_at: 2_500.0, seconds: 1, busy: false });
    feed.tick(at(2_400.0));
    assert!(opened(&mut feed).is_empty());
    feed.tick(at(2_500.0));
    assert_eq!(opened(&mut feed), ["/stream?message=m1&last_event_id=m1:1"]);
    feed.connection_event(&burst(1), ConnectionEvent::Opened, at(2_600.0));
    let log = feed.burst("m1").map(|burst| burst.log.clone()).unwrap_or_default();
    assert_eq!(log.last().map(|entry| &entry.item), Some(&LogItem::Opened { after: Some("m1:1".into()) }));
}

#[test]
fn each_failure_waits_longer_and_being_open_forgets_them() {
    let mut feed = started(Vec::new());
    for expected in [1, 2, 4, 8, 15, 15] {
        feed.connection_event(&Key::Live, ConnectionEvent::Lost { refused: false }, START);
        assert!(matches!(feed.live().phase, Phase::Lost { seconds, .. } if seconds == expected), "{expected}");
    }
    feed.retry(&Key::Live, START);
    assert_eq!(opened(&mut feed), ["/api/messages?last_event_id=earliest"]);
    feed.connection_event(&Key::Live, ConnectionEvent::Opened, START);
    assert_eq!(feed.live().failures, 0);
}

#[test]
fn a_stream_that_comes_back_ends_the_waits_of_the_others() {
    let mut feed = started(vec![message(1)]);
    feed.watch(&burst(1), START);
    feed.watch(&Key::Demo(Demo::Clock), START);
    for key in [Key::Live, burst(1), Key::Demo(Demo::Clock)] {
        for _ in 0..5 {
            feed.connection_event(&key, ConnectionEvent::Lost { refused: false }, START);
        }
    }
    feed.take_commands();
    feed.retry(&burst(1), at(100.0));
    assert_eq!(opened(&mut feed), ["/stream?message=m1"]);
    feed.connection_event(&burst(1), ConnectionEvent::Opened, at(200.0));
    assert_eq!(opened(&mut feed), ["/api/messages?last_event_id=m1", "/clock"]);
}

#[test]
fn a_message_that_was_accepted_ends_the_waits_of_the_streams() {
    let mut feed = started(Vec::new());
    for _ in 0..5 {
        feed.connection_event(&Key::Live, ConnectionEvent::Lost { refused: false }, START);
    }
    feed.take_commands();
    feed.submitted(message(1), START);
    assert_eq!(opened(&mut feed), ["/api/messages?last_event_id=earliest", "/stream?message=m1"]);
}

#[test]
fn streams_that_break_as_soon_as_they_open_do_not_wake_each_other() {
    let mut feed = started(vec![message(1)]);
    feed.watch(&burst(1), START);
    feed.connection_event(&burst(1), ConnectionEvent::Opened, START);
    feed.connection_event(&burst(1), ConnectionEvent::Lost { refused: false }, START);
    feed.connection_event(&Key::Live, ConnectionEvent::Lost { refused: false }, START);
    feed.take_commands();
    feed.retry(&Key::Live, START);
    feed.connection_event(&Key::Live, ConnectionEvent::Opened, START);
    assert_eq!(opened(&mut feed), ["/api/messages?last_event_id=m1"]);
}

#[test]
fn a_busy_server_is_given_its_time_whatever_it_answers_to_others() {
    let mut feed = started(vec![message(1)]);
    feed.watch(&burst(1), START);
    for _ in 0..3 {
        feed.connection_event(&burst(1), ConnectionEvent::Lost { refused: true }, START);
        let busy = Problem { status: 429, title: String::new(), detail: String::new() };
        feed.answered(&burst(1), Answer::Refused(busy), START);
    }
    feed.take_commands();
    feed.connection_event(&Key::Live, ConnectionEvent::Opened, START);
    assert!(opened(&mut feed).is_empty());
}

#[test]
fn a_quiet_page_is_live_again_a_moment_after_a_restart() {
    let mut feed = started(vec![message(1)]);
    feed.connection_event(&Key::Live, ConnectionEvent::Lost { refused: false }, START);
    feed.connection_event(&Key::Live, ConnectionEvent::Opened, at(1_000.0));
    assert!(feed.take_commands().contains(&Command::ServerReached));
    assert!(matches!(&feed.live().phase, Phase::Open { resumed: Some(resumed) } if resumed.after == "m1"));
    assert_eq!(feed.next_tick(), Some(1_000.0 + RESUMED_SHOWN));
    feed.tick(at(1_000.0 + RESUMED_SHOWN));
    assert_eq!(feed.live().phase, OPEN);
    assert!(feed.take_commands().contains(&Command::Show(Key::Live)));
}

#[test]
fn cards_that_made_room_are_messages_that_are_not_shown() {
    let mut feed = started(Vec::new());
    for n in 1..=200 {
        feed.connection_event(&Key::Live, live(n), START);
    }
    assert!(!feed.has_older());
    feed.connection_event(&Key::Live, live(201), START);
    assert!(feed.has_older());
    assert!(Feed::new(vec![message(1)], true, 3).has_older());
}

#[test]
fn a_refused_stream_asks_why_and_shows_the_words() {
    let mut feed = started(vec![message(1)]);
    feed.watch(&burst(1), START);
    feed.connection_event(&burst(1), ConnectionEvent::Lost { refused: true }, START);
    assert!(feed.take_commands().contains(&Command::Ask(burst(1), "/stream?message=m1".into())));
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
        feed.connection_event(&burst(1), ConnectionEvent::Lost { refused: true }, START);
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
    feed.connection_event(&burst(1), ConnectionEvent::Lost { refused: true }, START);
    assert_eq!(phase(&feed, 5), Phase::Queued);
    feed.answered(&burst(1), Answer::Ended, START);
    assert_eq!(phase(&feed, 1), Phase::Closed);
    assert_eq!(phase(&feed, 5), CONNECTING);
}

#[test]
fn a_late_answer_changes_nothing() {
    let mut feed = started(vec![message(1)]);
    feed.watch(&burst(1), START);
    feed.answered(&burst(1), Answer::Ended, START);
    assert_eq!(phase(&feed, 1), CONNECTING);
}

#[test]
fn a_reload_in_the_middle_of_a_burst_loses_nothing() {
    let mut before = started(vec![message(1)]);
    for n in 2..=7 {
        before.submitted(message(n), START);
    }
    run(&mut before, 2);
    before.connection_event(&burst(3), arrival(3, 1), at(3.0));
    let stored = json(&before.saved());
    let saved: Vec<SavedCard> = serde_json::from_str(&stored).unwrap_or_default();

    // Message 7 has fallen out of the list that came with the new page.
    let mut feed = Feed::new((1..=6).rev().map(message).collect(), false, 3);
    feed.start(saved, START);
    assert_eq!(feed.cards().len(), 7);
    assert_eq!(feed.cards()[0].message.id, "m7");
    assert_eq!(phase(&feed, 1), Phase::Idle);
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
fn what_nobody_watched_is_not_saved_and_finished_bursts_only_so_far() {
    let mut feed = started(vec![message(1)]);
    for n in 2..=40 {
        feed.submitted(message(n), START);
        run(&mut feed, n);
    }
    assert_eq!(feed.saved().len(), MAX_SAVED);
}

#[test]
fn a_hidden_page_lets_its_endless_streams_go_and_takes_them_up_again() {
    let mut feed = started(vec![message(1)]);
    feed.watch(&Key::Demo(Demo::Counter), START);
    feed.watch(&burst(1), START);
    feed.connection_event(
        &Key::Demo(Demo::Counter),
        ConnectionEvent::Event { id: "c9".into(), name: "message".into(), data: "9".into() },
        START,
    );
    feed.visible(false, START);
    assert_eq!(feed.next_tick(), Some(HIDDEN_FOR));
    feed.tick(at(HIDDEN_FOR));
    assert_eq!(feed.live().phase, Phase::Paused);
    assert_eq!(feed.demo_stream(Demo::Counter).connection.phase, Phase::Paused);
    assert!(matches!(phase(&feed, 1), Phase::Connecting { .. }));
    assert_eq!(feed.next_tick(), None);
    feed.take_commands();
    feed.visible(true, at(99_000.0));
    assert_eq!(opened(&mut feed), ["/api/messages?last_event_id=m1", "/counter?last_event_id=c9"]);
}

#[test]
fn a_short_look_away_changes_nothing() {
    let mut feed = started(vec![message(1)]);
    feed.visible(false, START);
    feed.tick(at(5_000.0));
    feed.visible(true, at(6_000.0));
    assert_eq!(feed.live().phase, OPEN);
    assert!(opened(&mut feed).is_empty());
}

#[test]
fn the_network_coming_back_retries_everything_at_once() {
    let mut feed = started(vec![message(1)]);
    feed.watch(&burst(1), START);
    feed.connection_event(&burst(1), ConnectionEvent::Lost { refused: false }, START);
    feed.connection_event(&Key::Live, ConnectionEvent::Lost { refused: false }, START);
    feed.take_commands();
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
    assert_eq!(phase(&feed, 2), CONNECTING);
}

#[test]
fn a_demo_stream_shows_the_last_events_and_begins_anew_when_switched_on_again() {
    let mut feed = started(Vec::new());
    let key = Key::Demo(Demo::Clock);
    feed.watch(&key, START);
    for n in 0..9 {
        feed.connection_event(
            &key,
            ConnectionEvent::Event { id: n.to_string(), name: "message".into(), data: n.to_string() },
            START,
        );
    }
    let shown: Vec<_> = feed.demo_stream(Demo::Clock).events.iter().map(|event| event.data.as_str()).collect();
    assert_eq!(shown, ["8", "7", "6"]);
    assert_eq!(feed.demo_stream(Demo::Clock).count, 9);
    feed.stop(&key, START);
    feed.take_commands();
    feed.watch(&key, START);
    assert_eq!(opened(&mut feed), ["/clock"]);
    assert_eq!(feed.demo_stream(Demo::Clock).count, 0);
}

#[test]
fn a_gap_is_said_and_an_event_that_makes_no_sense_is_passed_over() {
    let mut feed = started(Vec::new());
    let gap = ConnectionEvent::Event { id: String::new(), name: "gap".into(), data: r#"{"lost":true}"#.into() };
    feed.connection_event(&Key::Live, gap, at(5_000.0));
    let said = feed
        .take_commands()
        .into_iter()
        .any(|order| matches!(order, Command::Announce(text) if text.contains("no longer")));
    assert!(said);
    feed.connection_event(
        &Key::Live,
        ConnectionEvent::Event { id: "x".into(), name: "message".into(), data: "{".into() },
        START,
    );
    assert!(feed.cards().is_empty());
}

#[test]
fn numbers_that_cannot_be_true_are_passed_over() {
    let mut feed = started(Vec::new());
    feed.submitted(message(1), START);
    for data in [r#"{"message":"x","repeat":0,"of":3}"#, r#"{"message":"x","repeat":1,"of":4000000000}"#] {
        let event = ConnectionEvent::Event { id: String::new(), name: "message".into(), data: data.into() };
        feed.connection_event(&burst(1), event, START);
    }
    assert_eq!(feed.burst("m1").map(|burst| (burst.arrived(), burst.arrivals.len())), Some((0, 3)));
}
