//! `tidings subscribe`: what it asks for, what it prints, and when it ends.

use std::io::{self, BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use super::hub::Hub;
use super::program::Program;

#[test]
fn it_asks_for_topics_and_patterns_and_for_what_was_after_an_id() {
    let hub = Hub::start();
    let program =
        Program::start(&hub, &["subscribe", "a b", "*", "--pattern", "/books/:id", "--last-event-id", "urn:x:é"]);
    let asked = hub.request();
    assert_eq!(asked.line(), "GET /.well-known/mercure");
    let query = [("match", "a b"), ("match", "*"), ("match_urlpattern", "/books/:id"), ("gap", "1")];
    assert_eq!(asked.query(), query.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(asked.header("accept"), Some("text/event-stream"));
    assert_eq!(asked.header("last-event-id"), Some("urn:x:é"));
    drop(program);
    let _program = Program::start(&hub, &["subscribe", "a"]);
    assert_eq!(hub.request().header("last-event-id"), None);
}

#[test]
fn it_says_that_it_is_connected_before_anything_comes_unless_it_shall_be_quiet() {
    let hub = Hub::start();
    let program = Program::start(&hub, &["subscribe", "a"]);
    let _stream = hub.request().stream("");
    assert_eq!(program.told("connected"), format!("tidings: connected to {}/.well-known/mercure", hub.url()));
    let program = Program::start(&hub, &["subscribe", "a", "--last-event-id", "urn:x:1"]);
    let _stream = hub.request().stream("");
    assert!(program.told("connected").ends_with("/.well-known/mercure, resuming after urn:x:1"));
    let program = Program::start(&hub, &["subscribe", "a", "--quiet", "--count", "1"]);
    let _stream = hub.request().stream("data: x\n\n");
    assert_eq!(program.end().errors, "");
}

#[test]
fn an_update_is_printed_as_its_data_as_soon_as_it_comes() {
    let hub = Hub::start();
    let program = Program::start(&hub, &["subscribe", "a"]);
    let stream = hub.request().stream(":\nid: 1\ndata: one\n\n");
    assert_eq!(program.line(), "one");
    stream.send("event: news\ndata: tw");
    stream.send("o\ndata:\ndata:  lines\n\n");
    assert_eq!([program.line(), program.line(), program.line()], ["two", "", " lines"]);
    stream.send(&b"data: \xF0\x9F"[..]);
    stream.send(&b"\x91\x8B\n\n"[..]);
    assert_eq!(program.line(), "\u{1F44B}");
}

#[test]
fn json_lines_say_all_that_an_update_has() {
    let hub = Hub::start();
    let program = Program::start(&hub, &["subscribe", "a", "--json"]);
    let _stream = hub.request().stream("data: x\n\nid: 1\nevent: news\nretry: 9\ndata: a\ndata: \"b\"\n\ndata:\n\n");
    assert_eq!(program.line(), r#"{"id":"","type":"message","data":"x"}"#);
    assert_eq!(program.line(), r#"{"id":"1","type":"news","data":"a\n\"b\"","retry":9}"#);
    assert_eq!(program.line(), r#"{"id":"1","type":"message","data":""}"#);
}

#[test]
fn it_ends_after_so_many_updates_however_many_come_and_over_however_many_connections() {
    let hub = Hub::start();
    let program = Program::start(&hub, &["subscribe", "a", "--count", "3", "--quiet"]);
    let stream = hub.request().stream("retry: 0\ndata: 1\n\n");
    assert_eq!(program.line(), "1");
    stream.cut();
    let _stream = hub.request().stream("data: 2\n\ndata: 3\n\ndata: 4\n\n");
    let ended = program.end();
    assert_eq!((ended.code(), &*ended.output, &*ended.errors), (Some(0), "2\n3\n", ""));
}

#[test]
fn a_hub_that_says_that_there_is_no_more_ends_it() {
    let hub = Hub::start();
    let program = Program::start(&hub, &["subscribe", "a"]);
    drop(hub.request().stream("retry: 0\nid: 1\ndata: x\n\n"));
    let asked = hub.request();
    assert_eq!(asked.header("last-event-id"), Some("1"));
    asked.answer(204, &[], "");
    program.end().assert(0, "nothing more to send");
}

#[test]
fn without_updates_for_too_long_it_gives_up_and_says_whether_there_is_a_connection() {
    let hub = Hub::start();
    let program = Program::start(&hub, &["subscribe", "a", "--timeout", "1s"]);
    let stream = hub.request().stream("data: x\n\n");
    assert_eq!(program.line(), "x");
    let start = Instant::now();
    // A heartbeat is no update.
    assert!(hub.is_left_alone(Duration::from_millis(300)));
    stream.send(":\n");
    program.end().assert(6, "no update came for 1s\n");
    assert!(start.elapsed() > Duration::from_millis(900), "{:?}", start.elapsed());

    let program = Program::start(&hub, &["subscribe", "a", "--timeout", "1s"]);
    hub.request().stream("retry: 60000\n\n").cut();
    program.end().assert(6, "there is no connection: the connection broke");
}

#[test]
fn lost_updates_are_told_on_standard_error_or_as_a_json_line_and_do_not_count() {
    const GAP: &str = r#"{"asked":"7","oldest":"9","lost":true}"#;
    let hub = Hub::start();
    let begin = format!("event: gap\ndata: {GAP}\n\nid: 9\ndata: x\n\n");
    let program = Program::start(&hub, &["subscribe", "a", "--count", "1", "--quiet"]);
    let stream = hub.request().stream(&begin);
    let ended = program.end();
    ended.assert(0, "updates after 7 were lost: the oldest that is kept is 9");
    assert_eq!(ended.output, "x\n");
    drop(stream);

    let program = Program::start(&hub, &["subscribe", "a", "--count", "1", "--json", "--quiet"]);
    let _stream = hub.request().stream(&begin);
    let ended = program.end();
    let lines: Vec<serde_json::Value> = ended.output.lines().map(|line| line.parse().expect("JSON")).collect();
    assert_eq!((&lines[0]["type"], &lines[0]["data"]), (&"gap".into(), &GAP.into()));
    assert_eq!((lines.len(), &lines[1]["data"], &*ended.errors), (2, &"x".into(), ""));
}

#[test]
fn an_update_that_is_only_called_gap_is_an_update() {
    let hub = Hub::start();
    let program = Program::start(&hub, &["subscribe", "a", "--count", "1"]);
    let _stream = hub.request().stream("event: gap\ndata: mind it\n\n");
    assert_eq!(program.end().output, "mind it\n");
}

#[test]
fn an_event_that_is_too_long_to_hold_ends_it_and_is_not_asked_for_again() {
    let hub = Hub::start();
    let program = Program::start(&hub, &["subscribe", "a"]);
    let stream = hub.request().stream("id: 1\ndata: x\n\nid: 2\ndata: ");
    let mib = bytes::Bytes::from(vec![b'x'; 1 << 20]);
    for _ in 0..65 {
        stream.send(mib.clone());
    }
    program.end().assert(1, "the event after 1 is longer than 64 MiB");
    assert!(hub.is_left_alone(Duration::from_millis(300)));
}

#[test]
fn a_reader_that_has_had_enough_ends_it_quietly_even_if_nothing_comes_any_more() {
    let hub = Hub::start();
    let (reader, writer) = io::pipe().expect("a pipe");
    let program = Program::start_to(writer, &hub, &["subscribe", "a", "--quiet"]);
    let _stream = hub.request().stream("data: one\n\ndata: two\n\n");
    let mut line = String::new();
    BufReader::new(reader).read_line(&mut line).expect("a line");
    assert_eq!(line, "one\n");
    let ended = program.end();
    assert_eq!((ended.code(), &*ended.errors), (Some(0), ""));
}

#[test]
fn an_output_that_can_not_be_written_is_an_error() {
    let hub = Hub::start();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux's /dev/full");
    let program = Program::start_to(full, &hub, &["subscribe", "a"]);
    let _stream = hub.request().stream("data: one\n\n");
    program.end().assert(1, "the output can't be written");
}

#[test]
fn ctrl_c_ends_it_as_any_command() {
    let hub = Hub::start();
    let program = Program::start(&hub, &["subscribe", "a", "--quiet"]);
    let _stream = hub.request().stream("data: x\n\n");
    assert_eq!(program.line(), "x");
    program.signal("-INT");
    let ended = program.end();
    // A shell makes 130 of it.
    assert_eq!((ended.status.signal(), &*ended.errors), (Some(2), ""));
}

#[test]
fn usage_that_makes_no_sense_is_refused() {
    for (arguments, words) in [
        (&["subscribe"][..], "TOPIC"),
        (&["subscribe", "a", "--count", "0"], "--count"),
        (&["subscribe", "a", "--timeout", "soon"], "for example 300ms"),
        (&["subscribe", "a", "--silence", "0s"], "must not be zero"),
    ] {
        Program::start_with(&[], arguments).end().assert(2, words);
    }
}
