//! What opening a stream costs: how many a client opens in a second, one closed for each, and what of the server's time
//! each takes. The log is on disk and presence is on, so each is told of when it begins and when it ends.
//!
//! The server has one core and this client the other. `--seconds` says for how long, `--open` how many are open at a time.
#![expect(clippy::print_stdout, reason = "its figures are what it is for")]

mod support;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use support::client::open_hub_stream;
use support::{Server, arg, cpu_time, pin_to, quantile, resident, settle};
use tokio::net::{TcpSocket, TcpStream};

const SERVER_CORE: usize = 0;
const CLIENT_CORE: usize = 1;
/// Streams that are being opened at a time.
const AT_ONCE: usize = 64;
const GOAL: f64 = 10_000.0;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    rlimit::increase_nofile_limit(u64::MAX).expect("enough open files");
    let (length, most) = (Duration::from_secs(arg("--seconds", 10)), arg("--open", 5_000));
    pin_to(std::process::id(), CLIENT_CORE);
    let flags = ["--log-level", "warn", "--max-streams", "0", "--max-connections", "100000"];
    let server = Server::start_on(SERVER_CORE, &flags);
    println!(
        "opening: streams of the hub for {length:?}, the oldest closed when {most} are open; goal {GOAL} a second"
    );
    let (begin, mut before, mut counted) = (Instant::now(), cpu_time(server.pid()), 0);
    let (mut number, mut times, mut streams) = (0, Vec::new(), VecDeque::new());
    let mut opening = FuturesUnordered::new();
    let mut second = 1;
    while begin.elapsed() < length {
        while opening.len() < AT_ONCE {
            opening.push(open(server.address(), number));
            number += 1;
        }
        let Some((stream, took)) = opening.next().await else { break };
        streams.push_back(stream);
        times.push(took);
        if streams.len() > most {
            streams.pop_front();
        }
        if begin.elapsed() >= Duration::from_secs(second) {
            let spent = cpu_time(server.pid()) - before;
            let opened = times.len() - counted;
            println!(
                "  second {second:>2}: {opened:>6} opened, {:>5.1} µs of the server each, {:.1} MB resident",
                spent.as_secs_f64() * 1e6 / opened as f64,
                resident(server.pid()) as f64 / 1e6
            );
            (second, counted, before) = (second + 1, times.len(), cpu_time(server.pid()));
        }
    }
    let rate = times.len() as f64 / begin.elapsed().as_secs_f64();
    let (p50, p99) = (quantile(&mut times, 0.5), quantile(&mut times, 0.99));
    println!("  {rate:.0} a second, {AT_ONCE} at a time: median {p50:.2?}, 99th percentile {p99:.2?}");
    drop((opening, streams));
    settle(server.pid());
    println!("  {:.1} MB resident once all have gone", resident(server.pid()) as f64 / 1e6);
}

/// Opens a stream, from one of many addresses: each has a limit of its own. Answers how long that took.
async fn open(server: SocketAddr, number: u32) -> (TcpStream, Duration) {
    let begin = Instant::now();
    let socket = TcpSocket::new_v4().expect("a socket");
    let [_, _, high, low] = number.to_be_bytes();
    socket.bind(SocketAddr::from(([127, 1, high % 100, low], 0))).expect("an address of this machine");
    let stream = socket.connect(server).await.expect("the server listens");
    let stream = open_hub_stream(stream, "match=https://example.com/books/1").await;
    // A port that waits for late packets could not be used again.
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("an option");
    (stream, begin.elapsed())
}
