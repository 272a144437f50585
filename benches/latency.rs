//! How late updates come when they are published at a rate of their own, whether or not the ones before have arrived:
//! from the time at which each was due to be published until each subscriber has read it.
//!
//! The server has one core and this client the other, but for the comparison of shards, which share both. The log is on
//! disk and presence is on. `--streams` and `--rate` measure one load alone, `--seconds` says for how long.
#![expect(clippy::print_stdout, reason = "its figures are what it is for")]

mod support;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use support::client::open_hub_stream;
use support::{Server, arg, cpu_time, pin_to, quantile, settle};
use tidings::wire::paths::HUB;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{sleep, sleep_until, timeout};

const SERVER_CORE: usize = 0;
const CLIENT_CORE: usize = 1;

/// The loads that are always measured: streams, and updates a second.
const LOADS: [(usize, u64); 2] = [(10_000, 100), (1_000, 1_000)];
/// Numbers of streams for which the highest rate is looked for.
const SEARCHED: [usize; 2] = [500, 4_000];
/// The latency that the highest rate must hold.
const GOAL: Duration = Duration::from_millis(10);
/// Connections that publish in turn: the rate holds though each waits for its answer.
const PUBLISHERS: u64 = 16;
const TOPIC: &str = "https://example.com/books/1";
const BYTES: usize = 100;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    rlimit::increase_nofile_limit(u64::MAX).expect("enough open files");
    let (streams, rate) = (arg("--streams", 0), arg("--rate", 0));
    let length = Duration::from_secs(arg("--seconds", 5));
    pin_to(std::process::id(), CLIENT_CORE);
    // It never sleeps: to wake another core can cost the server more than the write that does it.
    tokio::spawn(async {
        loop {
            yield_now().await;
        }
    });
    if streams > 0 {
        Load::on(&start(true, &[]), streams).await.report(rate, length).await;
        return;
    }
    println!(
        "latency: {BYTES} bytes, from the time an update is due until all have it; server and client on a core each"
    );
    for (streams, rate) in LOADS {
        Load::on(&start(true, &[]), streams).await.report(rate, length).await;
    }
    println!("the highest rate whose 99th percentile stays below {GOAL:?}");
    for streams in SEARCHED {
        let server = start(true, &[]);
        let load = Load::on(&server, streams).await;
        let (mut rate, mut best) = (4, 0);
        while load.run(rate, Duration::from_secs(2)).await.is_some_and(|run| run.p99 < GOAL) {
            best = rate;
            rate = rate * 5 / 4 + 1;
        }
        match best {
            0 => println!("  {streams:>6} streams: not even {rate} updates/s"),
            _ => load.report(best, length).await,
        }
    }
    println!("shards, which share both cores with this client");
    for shards in ["1", "2"] {
        print!("  {shards} of them:");
        Load::on(&start(false, &["--shards", shards]), 4_000).await.report(20, length).await;
    }
}

fn start(on_one_core: bool, flags: &[&str]) -> Server {
    const COMMON: [&str; 10] = [
        "--rate-limit",
        "0",
        "--log-level",
        "warn",
        "--max-streams",
        "0",
        "--max-connections",
        "100000",
        "--publish-without-token",
        "true",
    ];
    let flags = [&COMMON, flags].concat();
    if on_one_core { Server::start_on(SERVER_CORE, &flags) } else { Server::start(&flags) }
}

/// Open streams, and what they have heard.
struct Load {
    address: SocketAddr,
    pid: u32,
    streams: usize,
    begin: Instant,
    latencies: Arc<Mutex<Vec<Duration>>>,
    _readers: JoinSet<()>,
}

/// What came of one rate.
struct Run {
    p50: Duration,
    p99: Duration,
    deliveries: usize,
    cpu: f64,
}

impl Load {
    async fn on(server: &Server, streams: usize) -> Self {
        let (address, begin) = (server.address(), Instant::now());
        let latencies = Arc::new(Mutex::new(Vec::new()));
        let mut readers = JoinSet::new();
        for _ in 0..streams.div_ceil(100) {
            for stream in join_all((0..100).map(|_| open(address))).await {
                readers.spawn(read(stream, begin, latencies.clone()));
            }
        }
        settle(server.pid());
        Self { address, pid: server.pid(), streams: readers.len(), begin, latencies, _readers: readers }
    }

    async fn report(&self, rate: u64, length: Duration) {
        let streams = self.streams;
        match self.run(rate, length).await {
            Some(Run { p50, p99, deliveries, cpu }) => println!(
                "  {streams:>6} streams, {rate:>5} updates/s: median {p50:>8.2?}, 99th percentile {p99:>8.2?}; {:.0} \
                 deliveries/s, {cpu:.0} % of a core",
                deliveries as f64 / length.as_secs_f64(),
            ),
            None => println!("  {streams:>6} streams, {rate:>5} updates/s: not all had come 10 s later"),
        }
    }

    /// Publishes at a rate, and waits until all have everything; `None` if that takes too long.
    async fn run(&self, rate: u64, length: Duration) -> Option<Run> {
        self.latencies.lock().expect("no panic").clear();
        let updates = (rate as f64 * length.as_secs_f64()) as u64;
        let before = cpu_time(self.pid);
        let first = Instant::now() + Duration::from_millis(50);
        let publishers = (0..PUBLISHERS).map(async |publisher| {
            let mut connection = TcpStream::connect(self.address).await.expect("the server listens");
            connection.set_nodelay(true).expect("TCP_NODELAY");
            for number in (publisher..updates).step_by(PUBLISHERS as usize) {
                let due = first + Duration::from_secs_f64(number as f64 / rate as f64);
                sleep_until(due.into()).await;
                publish(&mut connection, due.duration_since(self.begin)).await;
            }
        });
        join_all(publishers).await;
        let deliveries = updates as usize * self.streams;
        let all = async {
            while self.latencies.lock().expect("no panic").len() < deliveries {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(10), all).await.ok()?;
        let cpu = 100.0 * (cpu_time(self.pid) - before).div_duration_f64(length);
        let mut latencies = std::mem::take(&mut *self.latencies.lock().expect("no panic"));
        Some(Run { p50: quantile(&mut latencies, 0.5), p99: quantile(&mut latencies, 0.99), deliveries, cpu })
    }
}

async fn open(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.expect("the server listens");
    open_hub_stream(stream, &format!("match={TOPIC}")).await
}

/// Publishes when an update was due, in nanoseconds.
async fn publish(connection: &mut TcpStream, due: Duration) {
    let form = format!("topic={TOPIC}&data={:0<BYTES$}", format!("{}.", due.as_nanos()));
    let length = form.len();
    let request = format!(
        "POST {HUB} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {length}\r\n\r\n{form}"
    );
    connection.write_all(request.as_bytes()).await.expect("a request");
    let mut answer = [0; 2048];
    let read = connection.read(&mut answer).await.expect("an answer");
    assert!(answer[..read].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..read]));
}

/// Notes how late each update comes.
async fn read(mut stream: TcpStream, begin: Instant, latencies: Arc<Mutex<Vec<Duration>>>) {
    const DATA: &[u8] = b"data: ";
    let mut unread = Vec::with_capacity(4096);
    while let Ok(1..) = stream.read_buf(&mut unread).await {
        let now = begin.elapsed();
        let mut taken = 0;
        while let Some(end) = unread[taken..].iter().position(|&byte| byte == b'\n') {
            let line = &unread[taken..taken + end];
            taken += end + 1;
            let due = line.strip_prefix(DATA).and_then(|data| str::from_utf8(data).ok()?.split_once('.'));
            if let Some((due, _)) = due {
                let due = Duration::from_nanos(due.parse().expect("nanoseconds"));
                latencies.lock().expect("no panic").push(now.saturating_sub(due));
            }
        }
        unread.drain(..taken);
    }
}
