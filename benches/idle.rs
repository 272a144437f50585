//! What an idle stream costs: the server's resident memory with many open streams, against with a few. What the kernel
//! holds for its socket comes on top. Over HTTP/2 a hundred streams share a connection. Over TLS each connection keeps its keys.
//!
//! `--streams` changes how many.
#![expect(clippy::print_stdout, reason = "its figures are what it is for")]

mod support;

use std::thread;
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{Client, ClientBuilder};
use support::{Listeners, Server, arg, resident, settle};

/// How many streams are opened at once: the listen queue is not what is measured here.
const STEP: usize = 100;

/// What opening took is given back to the system within this time.
const DECAY: Duration = Duration::from_secs(12);

const FLAGS: [&str; 6] = ["--log-level", "warn", "--max-streams", "0", "--max-connections", "100000"];

const HUB: &str = "/.well-known/mercure?match=https://example.com/books/1";

/// What is measured: its name, its address, whether with presence, and the goal in bytes for each stream.
const KINDS: [(&str, &str, &str, usize); 3] = [
    ("the messages", "/api/messages", "true", 1024),
    ("a topic of the hub, without presence", HUB, "false", 1024),
    ("a topic of the hub, with presence", HUB, "true", 2048),
];

type NewClient = fn() -> ClientBuilder;

/// The same over other protocols.
const OTHERS: [(&str, &str, NewClient); 3] = [
    ("the same over HTTP/2", "http", || Client::builder().http2_prior_knowledge()),
    ("the same over TLS, HTTP/1.1", "https", || Client::builder().http1_only()),
    ("the same over TLS, HTTP/2", "https", Client::builder),
];

fn main() {
    let count = arg("--streams", 10_000);
    rlimit::increase_nofile_limit(u64::MAX).expect("enough open files");
    println!("idle: {count} streams, resident memory of each; the kernel's comes on top");
    for (name, path, presence, goal) in KINDS {
        let (at_once, later) = cost(path, presence, count);
        println!("  {name:<37} {later:>5.2} KiB, goal {}; right after opening {at_once:.2} KiB", goal / 1024);
    }
    for (name, scheme, client) in OTHERS {
        println!("  {name:<37} {:>5.2} KiB", cost_over(count, scheme, client));
    }
    let compressed = (count / 10).max(STEP);
    println!(
        "  {:<37} {:>5.0} KiB",
        format!("{compressed} of them, compressed"),
        cost_over(compressed, "gzip", Client::builder)
    );
}

/// KiB for each of so many streams of the hub, a hundred for each client.
fn cost_over(count: usize, scheme: &str, client: NewClient) -> f64 {
    let flags: &[&str] = match scheme {
        "https" => &["--tls-self-signed"],
        "gzip" => &["--max-compressed-streams", "100000"],
        _ => &[],
    };
    let server = Server::start(&[&FLAGS[..], flags].concat());
    let scheme = if scheme == "https" { scheme } else { "http" };
    let url = format!("{scheme}://{}{HUB}", server.address());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut streams = streams(&url, client).await;
        settle(server.pid());
        let before = resident(server.pid());
        for _ in 0..count / STEP {
            streams.extend(self::streams(&url, client).await);
        }
        tokio::time::sleep(DECAY).await;
        resident(server.pid()).saturating_sub(before) as f64 / 1024.0 / (count / STEP * STEP) as f64
    })
}

/// Streams of one client: over HTTP/2 they share a connection.
async fn streams(url: &str, client: NewClient) -> Vec<reqwest::Response> {
    let client = client().no_proxy().danger_accept_invalid_certs(true).build().expect("a client");
    let open = || client.get(url).header("accept-encoding", "gzip").send();
    join_all((0..STEP).map(|_| open())).await.into_iter().map(|answer| answer.expect("a stream")).collect()
}

/// KiB for each of so many streams of an address: right after they were opened, and a little later.
fn cost(path: &str, presence: &str, count: usize) -> (f64, f64) {
    let server = Server::start(&[&FLAGS[..], &["--presence", presence]].concat());
    // What the first streams set up once is no part of the price of one more.
    let mut streams = vec![Listeners::open(server.address(), path, STEP)];
    settle(server.pid());
    let before = resident(server.pid());
    let grown = || resident(server.pid()).saturating_sub(before) as f64 / 1024.0 / (count / STEP * STEP) as f64;
    for _ in 0..count / STEP {
        streams.push(Listeners::open(server.address(), path, STEP));
    }
    settle(server.pid());
    let at_once = grown();
    thread::sleep(DECAY);
    (at_once, grown())
}
