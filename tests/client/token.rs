//! The token: it reaches the hub and nobody else.

use std::fs;

use super::hub::Hub;
use super::program::Program;

const SECRET: &str = "eyJhbGciOiJub25lIn0.secret.signature";
const OTHER: &str = "eyJhbGciOiJub25lIn0.other.signature";

/// The environment that a program is started with.
type Environment<'a> = &'a [(&'a str, &'a str)];

#[test]
fn a_token_from_wherever_it_is_set_reaches_the_hub_and_is_never_printed() {
    let hub = Hub::start();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    fs::write(&file, format!("{SECRET}\n")).expect("a file");
    let file = file.to_str().expect("a path");
    let url = hub.url();
    // A flag takes precedence over the environment.
    let given: [(Environment, &[&str]); 6] = [
        (&[], &["--token", SECRET]),
        (&[("TIDINGS_TOKEN", SECRET)], &[]),
        (&[("TIDINGS_TOKEN_FILE", file), ("TIDINGS_TOKEN", "")], &[]),
        (&[], &["--token-file", file]),
        (&[("TIDINGS_TOKEN", OTHER)], &["--token-file", file]),
        (&[("TIDINGS_TOKEN_FILE", "/nowhere")], &["--token", SECRET]),
    ];
    for (environment, flags) in given {
        let environment = [environment, &[("TIDINGS_HUB", &*url)]].concat();
        for command in [&["publish", "a", "b"][..], &["subscribe", "a"]] {
            let program = Program::start_with(&environment, &[command, flags].concat());
            let asked = hub.request();
            assert_eq!(asked.header("authorization"), Some(&*format!("Bearer {SECRET}")), "{environment:?} {flags:?}");
            asked.refuse(403, "no");
            let ended = program.end();
            ended.assert(3, "403");
            assert!(!ended.output.contains("secret") && !ended.errors.contains("secret"), "{ended:?}");
        }
        let help = Program::start_with(&environment, &["publish", "--help"]).end();
        assert!(help.output.contains("TIDINGS_TOKEN") && !help.output.contains("secret"), "{help:?}");
    }
}

#[test]
fn a_token_that_can_not_be_had_or_is_none_is_an_error_that_does_not_repeat_it() {
    let hub = Hub::start();
    let url = hub.url();
    let folder = tempfile::tempdir().expect("a folder");
    let empty = folder.path().join("token");
    fs::write(&empty, "\n").expect("a file");
    let empty = empty.to_str().expect("a path");
    let given: [(Environment, i32, &str); 6] = [
        (&[("TIDINGS_TOKEN_FILE", "/nowhere/token")], 1, "/nowhere/token"),
        (&[("TIDINGS_TOKEN_FILE", empty)], 1, "is empty"),
        (&[("TIDINGS_TOKEN_FILE", "-")], 2, "standard input"),
        (&[("TIDINGS_TOKEN", "secret secret")], 2, "no token can have"),
        (&[("TIDINGS_TOKEN", "sécret")], 2, "no token can have"),
        (&[("TIDINGS_TOKEN", SECRET), ("TIDINGS_TOKEN_FILE", empty)], 2, "both set"),
    ];
    for (environment, code, words) in given {
        let environment = [environment, &[("TIDINGS_HUB", &*url)]].concat();
        let ended = Program::start_with(&environment, &["publish", "a", "b"]).end();
        ended.assert(code, words);
        assert!(!ended.errors.contains("cret"), "{ended:?}");
    }
}

#[test]
fn a_token_is_not_sent_in_the_clear_to_another_machine_unless_that_is_wanted() {
    for command in [&["publish", "a", "b", "--token", SECRET][..], &["subscribe", "a", "--token", SECRET]] {
        let hub = ("TIDINGS_HUB", "http://hub.invalid");
        let ended = Program::start_with(&[hub], command).end();
        ended.assert(2, "plain http");
        ended.assert(2, "--insecure");
        assert!(!ended.errors.contains("secret"), "{ended:?}");
    }
    // Wanted, it is only stopped by there being no such machine; so is one that needs no token.
    let hub = ("TIDINGS_HUB", "http://hub.invalid");
    for flags in [&["--token", SECRET, "--insecure"][..], &[]] {
        let ended = Program::start_with(&[hub], &[&["publish", "a", "b"], flags].concat()).end();
        ended.assert(5, "http://hub.invalid can't be reached");
    }
}

#[test]
fn a_token_that_was_renewed_in_its_file_is_used_for_the_next_connection() {
    let hub = Hub::start();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    fs::write(&file, SECRET).expect("a file");
    let program = Program::start(&hub, &["subscribe", "a", "--token-file", file.to_str().expect("a path")]);
    let asked = hub.request();
    assert_eq!(asked.header("authorization"), Some(&*format!("Bearer {SECRET}")));
    let stream = asked.stream("retry: 0\ndata: x\n\n");
    assert_eq!(program.line(), "x");
    // Whoever renews it is not done yet.
    fs::write(&file, "").expect("a file");
    stream.cut();
    program.told("is empty");
    fs::write(&file, OTHER).expect("a file");
    assert_eq!(hub.request().header("authorization"), Some(&*format!("Bearer {OTHER}")));
}
