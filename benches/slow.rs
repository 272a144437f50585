//! What readers that have stopped reading cost the others: how long an update takes from its publish to fast
//! readers, with ten such readers and without, by turns in the same run, and the server's memory meanwhile.
//!
//! `--readers`, `--slow`, `--updates` (for each of the two), `--pace-ms`, `--backlog` and `--durability` change
//! the load. The log is not flushed to the disk by default: the disk's own moods would be measured too.

#![expect(clippy::print_stdout, reason = "its figures are what it is for")]

mod support;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use support::client::{Publisher, Reader};
use support::{Server, arg, quantile, resident, seed, settle};
use tokio::net::TcpSocket;
use tokio::time::{MissedTickBehavior, interval};

const BYTES: usize = 1024;
/// How often the two take turns.
const ROUNDS: usize = 8;
/// Fast readers may be so much slower: the goal.
const GOAL: f64 = 1.1;

struct Load {
    readers: usize,
    slow: usize,
    updates: usize,
    pace: Duration,
}

/// Of one turn, or of many: the middle and the 99th percentile.
#[derive(Default)]
struct Times {
    p50: Vec<Duration>,
    p99: Vec<Duration>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (updates, backlog): (usize, usize) = (arg("--updates", 2000), arg("--backlog", 100_000));
    let pace = Duration::from_millis(arg("--pace-ms", 4));
    let load = Load { readers: arg("--readers", 50), slow: arg("--slow", 10), updates: updates / ROUNDS, pace };
    let durability: String = arg("--durability", "os".into());
    println!(
        "{} fast readers, an update of {BYTES} bytes each {pace:?}, durability {durability}; by turns without and with \
         {} readers that stopped before a backlog of {backlog}",
        load.readers, load.slow
    );
    let data = seed::messages(backlog, BYTES);
    let flags = ["--rate-limit", "0", "--log-level", "warn", "--stall-timeout", "1h", "--durability", &durability];
    let server = Server::start_with(data.path(), &flags);
    turn(&server, &load).await;
    let (mut without, mut with) = (Times::default(), Times::default());
    let (mut memory_without, mut memory_with) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        settle(server.pid());
        without.add(&mut turn(&server, &load).await);
        memory_without.push(resident(server.pid()));
        let stopped = stopped(server.address(), load.slow).await;
        settle(server.pid());
        with.add(&mut turn(&server, &load).await);
        memory_with.push(resident(server.pid()));
        drop(stopped);
    }
    println!("{:>28}{:>12}{:>12}", "publish to arrival", "median", "99th");
    for (name, times) in [("without", &mut without), ("with", &mut with)] {
        println!(
            "{name:>28}{:>12.2?}{:>12.2?}",
            quantile(&mut times.p50.clone(), 0.5),
            quantile(&mut times.p99.clone(), 0.5)
        );
    }
    let (p50, p99) = (ratio(&without.p50, &with.p50), ratio(&without.p99, &with.p99));
    println!("{:>28}{p50:>12.2}{p99:>12.2}   goal {GOAL}; the median of {ROUNDS} turns", "ratio");
    println!("resident memory, turn by turn: without {}, with {} MB", list(&memory_without), list(&memory_with));
}

/// Publishes the updates and answers how long each took to each reader.
async fn turn(server: &Server, load: &Load) -> Vec<Duration> {
    let mut readers = Vec::new();
    for _ in 0..load.readers {
        let reader = Reader::open(server.address(), None, 16 * 1024).await;
        reader.wait().await;
        readers.push(reader);
    }
    let mut publisher = Publisher::connect(server.address(), BYTES).await;
    let sent = RefCell::new(Vec::new());
    let publish = async {
        let mut turns = interval(load.pace);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for _ in 0..load.updates {
            turns.tick().await;
            sent.borrow_mut().push(Instant::now());
            publisher.publish().await;
        }
    };
    let listen = readers.into_iter().map(|reader| times(reader, &sent, load.updates));
    let ((), times) = join(publish, join_all(listen)).await;
    times.concat()
}

/// How long each update took to this reader.
async fn times(mut reader: Reader, sent: &RefCell<Vec<Instant>>, updates: usize) -> Vec<Duration> {
    let mut times = Vec::new();
    while times.len() < updates {
        let arrived = reader.read().await;
        let now = Instant::now();
        times.extend(sent.borrow()[times.len()..arrived.max(times.len())].iter().map(|sent| now - *sent));
    }
    times
}

/// Readers of everything that take the first byte and no more.
async fn stopped(address: SocketAddr, count: usize) -> Vec<Reader> {
    let mut readers = Vec::new();
    for _ in 0..count {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        let stream = socket.connect(address).await.expect("the server listens");
        let reader = Reader::on(stream, Some("earliest"), 0).await;
        reader.wait().await;
        readers.push(reader);
    }
    readers
}

impl Times {
    fn add(&mut self, times: &mut [Duration]) {
        self.p50.push(quantile(times, 0.5));
        self.p99.push(quantile(times, 0.99));
    }
}

/// The median of how much longer it took with than without, turn by turn.
fn ratio(without: &[Duration], with: &[Duration]) -> f64 {
    let mut ratios: Vec<_> = with.iter().zip(without).map(|(with, without)| with.div_duration_f64(*without)).collect();
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

fn list(bytes: &[usize]) -> String {
    bytes.iter().map(|bytes| format!("{:.1}", *bytes as f64 / 1e6)).collect::<Vec<_>>().join(" ")
}
