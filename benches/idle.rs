//! What an idle stream costs: the server's resident memory with many open streams, against with none.
//!
//! `--streams` changes how many.
#![expect(clippy::print_stdout, reason = "its figures are what it is for")]

mod support;

use support::{Listeners, Server, arg, resident};

/// The goal, in bytes for each stream.
const GOAL: usize = 8 * 1024;

/// How many streams are opened at once: the listen queue is not what is measured here.
const STEP: usize = 100;

fn main() {
    let count = arg("--streams", 4000);
    rlimit::increase_nofile_limit(u64::MAX).expect("enough open files");
    println!("idle: {count} streams, resident memory of each, goal {} KiB", GOAL / 1024);
    let hub = "/.well-known/mercure?match=https://example.com/books/1";
    for (name, path, presence) in [
        ("the messages", "/api/messages", "true"),
        ("a topic of the hub, without presence", hub, "false"),
        ("a topic of the hub, with presence", hub, "true"),
    ] {
        println!("  {name:<37} {:>5.2} KiB", cost(path, presence, count) / 1024.0);
    }
}

/// Bytes for each of so many streams of an address.
fn cost(path: &str, presence: &str, count: usize) -> f64 {
    let server = Server::start(&["--log-level", "warn", "--presence", presence]);
    // What the first streams set up once is no part of the price of one more.
    let mut streams = vec![Listeners::open(server.address(), path, STEP)];
    let before = resident(server.pid());
    for _ in 0..count / STEP {
        streams.push(Listeners::open(server.address(), path, STEP));
    }
    let grown = resident(server.pid()).saturating_sub(before);
    grown as f64 / (count / STEP * STEP) as f64
}
