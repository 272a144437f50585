//! `tidings subscribe` over a bad line: when it comes back, with what, and what it says about it.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use super::hub::Hub;
use super::program::Program;

#[test]
fn a_connection_that_is_lost_is_made_again_and_goes_on_after_the_last_update() {
    let hub = Hub::start();
    let program = Program::start(&hub, &["subscribe", "a"]);
    let stream = hub.request().stream("retry: 0\nid: urn:x:é\ndata: one\n\nid: 2\ndata: never whole");
    assert_eq!(program.line(), "one");
    stream.cut();
    program.told("the connection broke");
    let asked = hub.request();
    assert_eq!(asked.header("last-event-id"), Some("urn:x:é"));
    assert_eq!(asked.query()[0], ("match".into(), "a".into()));
    // An id without an event is one to come back with, too.
    drop(asked.stream("id: 2\ndata: two\n\nid: 3\n\n"));
    program.told("reconnected, resuming after urn:x:é");
    assert_eq!(program.line(), "two");
    program.told("the hub has closed the stream");
    assert_eq!(hub.request().header("last-event-id"), Some("3"));
}

#[test]
fn an_id_that_no_header_can_carry_goes_into_the_query() {
    let hub = Hub::start();
    let program = Program::start(&hub, &["subscribe", "a"]);
    let stream = hub.request().stream("retry: 0\nid:  a\u{1}\ndata: one\n\n");
    assert_eq!(program.line(), "one");
    stream.cut();
    let asked = hub.request();
    assert_eq!(asked.header("last-event-id"), None);
    assert_eq!(asked.query().last(), Some(&("last_event_id".into(), " a\u{1}".into())));
}

#[test]
fn before_any_id_was_seen_it_says_that_updates_published_meanwhile_are_lost() {
    let hub = Hub::start();
    let program = Program::start(&hub, &["subscribe", "a"]);
    let stream = hub.request().stream("retry: 0\n\n");
    program.told("connected to ");
    stream.cut();
    let asked = hub.request();
    assert_eq!(asked.header("last-event-id"), None);
    let _stream = asked.stream("");
    program.told("reconnected; updates published meanwhile are lost");
}

#[test]
fn it_waits_as_long_as_the_stream_asks_for_even_if_that_came_alone_at_its_end() {
    let hub = Hub::start();
    let program = Program::start(&hub, &["subscribe", "a"]);
    drop(hub.request().stream("data: x\n\nretry: 1500\n\n"));
    let start = Instant::now();
    program.told("reconnecting in 1s 500ms");
    let asked = hub.request();
    assert!(start.elapsed() >= Duration::from_millis(1400), "{:?}", start.elapsed());
    // It holds for the connections after this one.
    let stream = asked.stream("data: y\n\n");
    assert_eq!([program.line(), program.line()], ["x", "y"]);
    stream.cut();
    program.told("reconnecting in 1s 500ms");
}

#[test]
fn a_hub_that_fails_is_asked_again_and_for_as_long_as_it_says_left_alone() {
    let hub = Hub::start();
    let program = Program::start(&hub, &["subscribe", "a"]);
    hub.request().refuse(500, "the disk");
    program.told("the hub answered 500 Internal Server Error: Refused: the disk; reconnecting in ");
    let asked = hub.request();
    let start = Instant::now();
    asked.answer(429, &[("retry-after", "2")], "");
    program.told("429");
    let asked = hub.request();
    assert!(start.elapsed() >= Duration::from_secs(2), "{:?}", start.elapsed());
    let _stream = asked.stream("data: x\n\n");
    program.told("connected to ");
    assert_eq!(program.line(), "x");
}

#[test]
fn a_hub_that_is_not_there_yet_is_waited_for() {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let program = Program::start_with(&[("TIDINGS_HUB", &format!("http://{free}"))], &["subscribe", "a"]);
    program.told("can't be reached");
    let hub = Hub::start_on(free);
    let _stream = hub.request().stream("data: x\n\n");
    assert_eq!(program.line(), "x");
}

#[test]
fn a_connection_that_brings_nothing_is_dead_and_one_that_brings_heartbeats_is_not() {
    let hub = Hub::start();
    let program = Program::start(&hub, &["subscribe", "a", "--silence", "1s"]);
    // Neither an answer...
    let unanswered = hub.request();
    program.told("nothing came for 1s, not even a heartbeat");
    // ...nor a byte after it.
    let asked = hub.request();
    drop(unanswered);
    let stream = asked.stream("retry: 0\nid: 1\ndata: x\n\n");
    assert_eq!(program.line(), "x");
    for _ in 0..6 {
        assert!(hub.is_left_alone(Duration::from_millis(300)));
        stream.send(":\n");
    }
    let start = Instant::now();
    program.told("nothing came for 1s");
    assert!(start.elapsed() > Duration::from_millis(900), "{:?}", start.elapsed());
    assert_eq!(hub.request().header("last-event-id"), Some("1"));
}

#[test]
fn it_does_not_come_back_if_it_shall_not() {
    let hub = Hub::start();
    let arguments = ["subscribe", "a", "--no-reconnect", "--silence", "1s", "--quiet"];
    let start = || (Program::start(&hub, &arguments), hub.request());
    let (program, asked) = start();
    drop(asked.stream("data: x\n\n"));
    let ended = program.end();
    assert_eq!((ended.code(), &*ended.output, &*ended.errors), (Some(0), "x\n", ""));
    let (program, asked) = start();
    asked.stream("data: x\n\n").cut();
    program.end().assert(5, "the connection broke");
    let (program, asked) = start();
    let _silent = asked.stream("data: x\n\n");
    program.end().assert(5, "nothing came for 1s");
    let (program, asked) = start();
    asked.refuse(503, "not now");
    program.end().assert(5, "not now");
}

#[test]
fn a_refusal_after_the_connection_was_lost_ends_it() {
    let hub = Hub::start();
    let program = Program::start(&hub, &["subscribe", "a", "--quiet"]);
    let stream = hub.request().stream("retry: 0\nid: 1\ndata: x\n\n");
    assert_eq!(program.line(), "x");
    stream.cut();
    hub.request().refuse(401, "the token has expired");
    let ended = program.end();
    ended.assert(3, "the token has expired");
    assert_eq!((&*ended.output, ended.errors.lines().count()), ("", 1));
}
