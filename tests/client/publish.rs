//! `tidings publish`: what the hub gets, and what the person who published sees.

use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Read};
use std::net::TcpListener;
use std::thread;

use super::hub::Hub;
use super::program::Program;

#[test]
fn an_update_is_a_form_with_every_field_that_was_given_and_its_id_is_printed() {
    let hub = Hub::start();
    let arguments = [
        "publish",
        "https://example.com/a&b",
        "Grüße\r\n\u{1F44B}=+%",
        "--topic",
        "second",
        "--topic",
        "third",
        "--private",
        "--id",
        "urn:x:1",
        "--type",
        "news",
        "--retry",
        "2500",
        "--ttl",
        "2m",
    ];
    let program = Program::start(&hub, &arguments);
    let asked = hub.request();
    assert_eq!(asked.line(), "POST /.well-known/mercure");
    assert_eq!(asked.header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(asked.header("authorization"), None);
    let fields = [
        ("topic", "https://example.com/a&b"),
        ("topic", "second"),
        ("topic", "third"),
        ("private", "on"),
        ("id", "urn:x:1"),
        ("type", "news"),
        ("retry", "2500"),
        ("ttl", "120"),
        ("data", "Grüße\r\n\u{1F44B}=+%"),
    ];
    assert_eq!(asked.form(), fields.map(|(name, value)| (name.to_owned(), value.to_owned())));
    asked.accept("urn:x:1");
    let ended = program.end();
    assert_eq!((ended.code(), &*ended.output, &*ended.errors), (Some(0), "urn:x:1\n", ""));
}

#[test]
fn an_update_of_a_topic_alone_has_no_further_fields() {
    let hub = Hub::start();
    let program = Program::start(&hub, &["publish", "jobs/7", "", "--json"]);
    let asked = hub.request();
    assert_eq!(asked.body, "topic=jobs%2F7&data=");
    asked.accept("urn:uuid:\"1");
    assert_eq!(program.end().output, "{\"id\":\"urn:uuid:\\\"1\"}\n");
}

#[test]
fn the_data_is_standard_input_to_its_end_just_as_it_is() {
    let hub = Hub::start();
    for arguments in [&["publish", "a"][..], &["publish", "a", "-"]] {
        let mut program = Program::start(&hub, arguments);
        program.write("one\r\n\ntwo");
        program.write(" é\n");
        program.close_input();
        let asked = hub.request();
        assert_eq!(asked.form()[1].1, "one\r\n\ntwo é\n");
        asked.accept("1");
        assert_eq!(program.end().code(), Some(0));
    }
}

#[test]
fn input_that_is_no_text_is_an_error_and_nothing_is_published() {
    let hub = Hub::start();
    let mut program = Program::start(&hub, &["publish", "a"]);
    program.write(b"ab\xFF");
    program.end().assert(1, "standard input is not UTF-8 (from byte 2 on)");
    let mut program = Program::start(&hub, &["publish", "a", "--lines"]);
    program.write(b"ab\n\xFF\n");
    hub.request().accept("1");
    assert_eq!(program.line(), "1");
    program.end().assert(1, "line 2: standard input is not UTF-8");
}

#[test]
fn each_line_is_published_as_it_comes_and_in_order() {
    let hub = Hub::start();
    let mut program = Program::start(&hub, &["publish", "a", "--lines", "--type", "line"]);
    for (number, (line, data)) in [("one\n", "one"), ("\r\n", ""), ("é=&\n", "é=&")].into_iter().enumerate() {
        program.write(line);
        let asked = hub.request();
        assert_eq!(asked.form()[1..], [("type", "line"), ("data", data)].map(|(n, v)| (n.to_owned(), v.to_owned())));
        asked.accept(&number.to_string());
        assert_eq!(program.line(), number.to_string());
    }
    program.write("without an end");
    program.close_input();
    let asked = hub.request();
    assert_eq!(asked.form()[2].1, "without an end");
    asked.accept("4");
    let ended = program.end();
    assert_eq!((ended.code(), &*ended.output), (Some(0), "4\n"));
}

#[test]
fn lines_share_a_connection() {
    let hub = Hub::start();
    let mut program = Program::start(&hub, &["publish", "a", "--lines"]);
    program.write("line\n".repeat(100));
    program.close_input();
    let mut from = HashSet::new();
    for number in 0..100 {
        let asked = hub.request();
        from.insert(asked.from);
        asked.accept(&number.to_string());
    }
    assert_eq!(program.end().output.lines().count(), 100);
    // A line that comes very soon after an answer may find its connection not yet free.
    assert!(from.len() <= 10, "{} connections for 100 lines", from.len());
}

#[test]
fn a_line_that_is_refused_ends_it_with_the_lines_number_and_the_refusals_code() {
    let hub = Hub::start();
    let mut program = Program::start(&hub, &["publish", "a", "--lines"]);
    program.write("one\ntwo\nthree\n");
    hub.request().accept("1");
    hub.request().refuse(403, "not this topic");
    let ended = program.end();
    ended.assert(3, "line 2: the hub answered 403 Forbidden: Refused: not this topic");
    assert_eq!(ended.output, "1\n");
}

#[test]
fn a_hub_that_asks_to_come_back_later_is_asked_again_and_that_is_told() {
    let hub = Hub::start();
    let program = Program::start(&hub, &["publish", "a", "b"]);
    let first = hub.request();
    let form = first.form();
    first.answer(429, &[("retry-after", "0")], "");
    program.told("429 Too Many Requests; retrying in 0s");
    hub.request().answer(503, &[("retry-after", "1")], "");
    program.told("503 Service Unavailable; retrying in 1s");
    let again = hub.request();
    assert_eq!(again.form(), form);
    again.accept("1");
    assert_eq!(program.end().output, "1\n");
}

#[test]
fn a_hub_that_is_never_ready_or_asks_for_too_long_is_left_alone() {
    let hub = Hub::start();
    let program = Program::start(&hub, &["publish", "a", "b"]);
    for _ in 0..5 {
        hub.request().answer(429, &[("retry-after", "0")], "");
    }
    program.end().assert(4, "429");
    for (status, headers, code) in
        [(429, &[("retry-after", "3600")][..], 4), (503, &[], 5), (500, &[("retry-after", "0")], 5)]
    {
        let program = Program::start(&hub, &["publish", "a", "b"]);
        hub.request().answer(status, headers, "");
        program.end().assert(code, &status.to_string());
    }
}

#[test]
fn a_hub_that_breaks_off_may_have_published_and_that_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let hub = format!("http://{}", listener.local_addr().expect("an address"));
    let broken = thread::spawn(move || {
        let (mut connection, _) = listener.accept().expect("a connection");
        let mut request = [0; 4];
        connection.read_exact(&mut request).expect("a request");
        assert_eq!(&request, b"POST");
    });
    let program = Program::start_with(&[("TIDINGS_HUB", &hub)], &["publish", "a", "b"]);
    broken.join().expect("a request");
    program.end().assert(5, "may or may not be published");
}

#[test]
fn nobody_who_reads_the_ids_ends_it_quietly() {
    let hub = Hub::start();
    let (reader, writer) = io::pipe().expect("a pipe");
    let mut program = Program::start_to(writer, &hub, &["publish", "a", "--lines"]);
    program.write("line\n".repeat(1000));
    hub.request().accept("1");
    let mut reader = BufReader::new(reader);
    let mut first = String::new();
    reader.read_line(&mut first).expect("an id");
    assert_eq!(first, "1\n");
    drop(reader);
    // More than one of them, perhaps: a program that another test starts just now has the pipe for a moment, too.
    hub.accept_all();
    let ended = program.end();
    assert_eq!((ended.code(), &*ended.errors), (Some(0), ""));
}

#[test]
fn usage_that_makes_no_sense_is_refused_before_anything_is_sent() {
    for (arguments, words) in [
        (&["publish"][..], "TOPIC"),
        (&["publish", "a", "b", "--lines"], "--lines reads standard input"),
        (&["publish", "a", "--lines", "--id", "1"], "--id"),
        (&["publish", "a", "b", "--ttl", "1500ms"], "whole seconds"),
        (&["publish", "a", "b", "--hub", "localhost:3000"], "must begin with http:// or https://"),
        (&["publish", "a", "b", "--token", "x", "--token-file", "y"], "--token-file"),
    ] {
        Program::start_with(&[], arguments).end().assert(2, words);
    }
}
