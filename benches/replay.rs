//! What coming back costs, through HTTP: the speed of a replay, the memory of many at once, the time to the first
//! event from anywhere in a large log; and what being kept costs: durable publishes in a second.
//!
//! `--updates` is how many the large log has, `--clients` and `--replayed` change the replay of many. The data is
//! under `target/`, or on the disk that `TIDINGS_BENCH_FOLDER` names. `--only replay|memory|resume|publish` does one.

#![expect(clippy::print_stdout, reason = "its figures are what it is for")]

mod support;

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use support::client::{Publisher, Reader};
use support::{Server, arg, cpu_time, quantile, resident, seed, settle};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const BYTES: usize = 1024;
const EARLIEST: Option<&str> = Some("earliest");

/// How many updates one client replays, and the goal in MB of their data a second.
const REPLAYED: usize = 100_000;
const REPLAY_GOAL: f64 = 100.0;

/// How often a place is resumed from, and the goal for the first event.
const RESUMES: usize = 200;
const RESUME_GOAL: Duration = Duration::from_millis(5);

/// How long each rate is measured, and how often.
const RUN: Duration = Duration::from_secs(2);
const ROUNDS: usize = 3;
/// The text of an update where only the count matters.
const SMALL: usize = 200;

const QUIET: [&str; 4] = ["--rate-limit", "0", "--log-level", "warn"];

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let updates = arg("--updates", REPLAYED);
    let only: String = arg("--only", String::new());
    let wanted = |part: &str| only.is_empty() || only == part;
    rlimit::increase_nofile_limit(u64::MAX).expect("enough open files");
    if wanted("publish") {
        publish().await;
    }
    if !["replay", "memory", "resume"].into_iter().any(wanted) {
        return;
    }
    let begin = Instant::now();
    let large = seed::messages(updates, BYTES);
    println!("a log of {updates} updates of {BYTES} bytes, read in in {:.1?}", begin.elapsed());
    if wanted("resume") {
        resume(large.path(), updates).await;
    }
    if wanted("replay") {
        replay(large.path(), updates.min(REPLAYED)).await;
    }
    if wanted("memory") {
        let (clients, replayed) = (arg("--clients", 1000), arg("--replayed", 10_000));
        println!("memory: {clients} clients replay so many updates each, all at the same time, from all over the log");
        let small = seed::messages(updates / 2, BYTES);
        for (data, count, replayed) in [
            (large.path(), updates, replayed / 10),
            (large.path(), updates, replayed),
            (small.path(), updates / 2, replayed),
        ] {
            memory(data, count, clients, replayed).await;
        }
    }
}

/// One client that reads as fast as it can.
async fn replay(data: &Path, count: usize) {
    println!("replay: {count} updates to one client, goal {REPLAY_GOAL} MB of data per second");
    let server = Server::start_with(data, &QUIET);
    let mut wire = 0;
    for round in 1..=ROUNDS {
        settle(server.pid());
        let (begin, before) = (Instant::now(), cpu_time(server.pid()));
        let mut reader = Reader::open(server.address(), EARLIEST, 256 * 1024).await;
        reader.read_events(count).await;
        let (took, cpu) = (begin.elapsed(), cpu_time(server.pid()) - before);
        wire = reader.bytes;
        println!(
            "  round {round}: {:>6.0} MB/s, {:.0} events/s; the server's CPU {cpu:.2?} of {took:.2?}",
            (count * BYTES) as f64 / 1e6 / took.as_secs_f64(),
            count as f64 / took.as_secs_f64(),
        );
    }
    let bare = bare_writes(wire).await;
    println!("  a bare loop that writes as many bytes, 8 KiB each time, to the same client: {bare:.0} MB/s");
}

/// How fast a loop that does nothing else writes so many bytes to a client on this machine.
async fn bare_writes(bytes: usize) -> f64 {
    const PIECE: usize = 8 * 1024;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mut client = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("a connection");
    let (stream, _) = listener.accept().await.expect("a connection");
    let mut stream = stream.into_std().expect("a socket");
    stream.set_nonblocking(false).expect("a blocking socket");
    let begin = Instant::now();
    let writer = std::thread::spawn(move || {
        let piece = [b'x'; PIECE];
        (0..bytes / PIECE).for_each(|_| stream.write_all(&piece).expect("a client"));
    });
    let (mut buffer, mut got) = (vec![0; 256 * 1024], 0);
    while got < bytes / PIECE * PIECE {
        got += client.read(&mut buffer).await.expect("a stream");
    }
    let took = begin.elapsed();
    writer.join().expect("no panic");
    bytes as f64 / 1e6 / took.as_secs_f64()
}

/// Many clients replay a part of the log each; what the server's memory comes to.
async fn memory(data: &Path, count: usize, clients: usize, replayed: usize) {
    let server = Server::start_with(data, &QUIET);
    settle(server.pid());
    let before = resident(server.pid());
    let begin = Instant::now();
    let address = server.address();
    let replay = move |client| async move {
        // Spread over the log; where it has no more than each replays, all replay all of it.
        let first = (count - replayed) / clients * client;
        let id = (first > 0).then(|| seed::id(first - 1));
        let mut reader = Reader::open(address, id.as_deref().or(EARLIEST), 16 * 1024).await;
        reader.read_events(replayed).await;
    };
    // Each a task: in one they would share its budget, and some would not be read from until the server cuts them.
    let mut replays = pin!(join_all((0..clients).map(|client| tokio::spawn(replay(client)))));
    let mut most = before;
    let replays = loop {
        match timeout(Duration::from_millis(100), &mut replays).await {
            Ok(replays) => break replays,
            Err(_) => most = most.max(resident(server.pid())),
        }
    };
    replays.into_iter().for_each(|replay| replay.expect("all that was asked for"));
    println!(
        "  {replayed:>6} of a log of {count:>8}: {:>6.1} MB before, {:>6.1} at most, {:>5.1} KiB for each client; {:.0} events/s",
        before as f64 / 1e6,
        most as f64 / 1e6,
        (most - before) as f64 / 1024.0 / clients as f64,
        (clients * replayed) as f64 / begin.elapsed().as_secs_f64(),
    );
}

/// Clients that come back after an event at the log's start, in its middle and at its end.
async fn resume(data: &Path, updates: usize) {
    println!("resume: from the request to the first event after a cursor, of {RESUMES} each; goal {RESUME_GOAL:?}");
    let server = Server::start_with(data, &QUIET);
    settle(server.pid());
    let places = [("start", 0), ("middle", updates / 2), ("end", updates - 2 * RESUMES)];
    let mut times = [const { Vec::new() }; 3];
    // By turns, so that each place has the same share of what else goes on.
    for turn in 0..RESUMES {
        for ((_, first), times) in places.iter().zip(&mut times) {
            let stream = TcpStream::connect(server.address()).await.expect("the server listens");
            let begin = Instant::now();
            let mut reader = Reader::on(stream, Some(&seed::id(first + turn)), 16 * 1024).await;
            reader.read_events(1).await;
            times.push(begin.elapsed());
            drop(reader);
            // The server may have begun to send a good part of the log.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    for ((place, _), times) in places.iter().zip(&mut times) {
        let (p50, p99) = (quantile(times, 0.5), quantile(times, 0.99));
        println!("  {place:<8} median {p50:>8.2?}, 99th percentile {p99:>8.2?}");
    }
}

/// Publishers that wait for each acknowledgement before they publish again, and the disk alone, by turns: both
/// depend on what else the machine does.
async fn publish() {
    println!("publish: durable publishes of {SMALL} bytes per second, over connections that are kept");
    let folder = seed::folder();
    let server = Server::start_with(&folder.path().join("data"), &QUIET);
    for round in 1..=ROUNDS {
        let disk = syncs(folder.path());
        let (one, one_cpu) = rate(&server, 1).await;
        let (many, many_cpu) = rate(&server, 64).await;
        println!(
            "  round {round}: 1 at a time {one:>6.0} ({:.2} x fdatasync, {one_cpu:.0} % CPU), 64 at a time {many:>6.0} \
             ({:.2} x, {many_cpu:.0} % CPU); {disk:.0} times 4 KiB appended and fdatasync'ed",
            one / disk,
            many / disk,
        );
    }
}

/// Publishes per second, and what of a core the server used.
async fn rate(server: &Server, publishers: usize) -> (f64, f64) {
    let connect = || Publisher::connect(server.address(), SMALL);
    let connections = join_all((0..publishers).map(|_| connect())).await;
    settle(server.pid());
    let (begin, before) = (Instant::now(), cpu_time(server.pid()));
    let counts = join_all(connections.into_iter().map(async |mut publisher| {
        let mut count = 0;
        while begin.elapsed() < RUN {
            publisher.publish().await;
            count += 1;
        }
        count
    }));
    let count: u32 = counts.await.iter().sum();
    let (took, cpu) = (begin.elapsed(), cpu_time(server.pid()) - before);
    (f64::from(count) / took.as_secs_f64(), 100.0 * cpu.div_duration_f64(took))
}

fn syncs(folder: &Path) -> f64 {
    let mut file = File::create(folder.join("syncs")).expect("a file");
    let begin = Instant::now();
    let mut count = 0.0;
    while begin.elapsed() < RUN {
        file.write_all(&[7; 4096]).and_then(|()| file.sync_data()).expect("room");
        count += 1.0;
    }
    count / begin.elapsed().as_secs_f64()
}
