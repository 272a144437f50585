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
    let server = Server::start(&["--log-level", "warn"]);
    // What the first streams set up once is no part of the price of one more.
    let mut streams = vec![Listeners::open(server.address(), "/api/messages", STEP)];
    let before = resident(server.pid());
    for _ in 0..count / STEP {
        streams.push(Listeners::open(server.address(), "/api/messages", STEP));
    }
    let grown = resident(server.pid()).saturating_sub(before);
    let each = grown as f64 / (count / STEP * STEP) as f64;
    println!("idle: {count} streams, {:.2} KiB of resident memory each, goal {} KiB", each / 1024.0, GOAL / 1024);
}
