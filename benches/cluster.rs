//! What a cluster costs: three NATS servers that flush every message, two nodes and this client, all on the same cores.
//!
//! JetStream alone comes first in the same run, for comparison. `--seconds` sets how long each rate is measured, and
//! `--entries` how many updates a new node has to copy.
#![expect(clippy::print_stdout, reason = "its figures are what it is for")]

#[path = "../tests/support/nats.rs"]
mod nats;
mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use async_nats::jetstream::{self, Context, stream::Config};
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use nats::Nats;
use support::client::open_hub_stream;
use support::{Server, arg, quantile};
use tidings::wire::paths::{HUB, READY};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

const BYTES: usize = 256;
/// Messages that are in flight at a time when publishing is pipelined.
const PIPELINED: usize = 512;
const PUBLISHERS: [usize; 2] = [1, 64];
/// Updates in one request where many are published at a time.
const ARRAY: usize = 500;

#[tokio::main]
async fn main() {
    rlimit::increase_nofile_limit(u64::MAX).expect("enough open files");
    let length = Duration::from_secs(arg("--seconds", 5));
    let Some(nats) = Nats::start(3) else { return };
    println!("publishes per second, {BYTES} bytes, three replicas, every message flushed");
    let alone = jetstream_alone(&nats, length).await;

    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("secret").display().to_string();
    std::fs::write(&secret, "the secret of this bench, long enough").expect("room");
    let servers = nats.urls();
    let flags = ["--cluster", &servers, "--cluster-secret-file", &secret, "--publish-without-token"];
    let flags =
        [&flags[..], &["--rate-limit", "0", "--log-level", "warn", "--keep-count", "0", "--keep-bytes", "4GiB"]]
            .concat();
    let start = |name| Server::start(&[&flags[..], &["--cluster-node", name]].concat());
    let nodes = [start("one"), start("two")];
    for node in &nodes {
        ready(node.address()).await;
    }
    for publishers in PUBLISHERS {
        let rate = publish_rate(nodes[0].address(), publishers, length).await;
        println!(
            "  one node, {publishers:>2} publishers    {rate:>8.0}/s   {:.2} of JetStream pipelined",
            rate / alone
        );
    }
    latency(&nodes).await;
    catch_up(&nodes, start, arg("--entries", 1_000_000)).await;
}

/// Publishes to JetStream without a node. Returns the pipelined rate.
async fn jetstream_alone(nats: &Nats, length: Duration) -> f64 {
    let client = async_nats::connect(
        nats.urls().split(',').map(|url| url.parse().expect("a URL")).collect::<Vec<async_nats::ServerAddr>>(),
    );
    let context = jetstream::new(client.await.expect("a NATS server"));
    let config = Config { name: "alone".into(), subjects: vec!["alone".into()], num_replicas: 3, ..Config::default() };
    while context.create_stream(config.clone()).await.is_err() {
        sleep(Duration::from_millis(100)).await;
    }
    for publishers in PUBLISHERS {
        let begun = Instant::now();
        let counts = (0..publishers).map(async |_| {
            let mut count = 0;
            while begun.elapsed() < length {
                publish(&context).await.await.expect("an acknowledgement");
                count += 1;
            }
            count
        });
        let count: usize = join_all(counts).await.into_iter().sum();
        println!("  JetStream, {publishers:>2} publishers   {:>8.0}/s", count as f64 / length.as_secs_f64());
    }
    let (begun, mut in_flight, mut count) = (Instant::now(), FuturesUnordered::new(), 0);
    while begun.elapsed() < length {
        while in_flight.len() < PIPELINED {
            in_flight.push(publish(&context).await.into_future());
        }
        in_flight.next().await.expect("a message").expect("an acknowledgement");
        count += 1;
    }
    let rate = f64::from(count) / begun.elapsed().as_secs_f64();
    println!("  JetStream, pipelined       {rate:>8.0}/s");
    rate
}

async fn publish(context: &Context) -> jetstream::context::PublishAckFuture {
    context.publish("alone", vec![b'x'; BYTES].into()).await.expect("a connection")
}

/// A publisher with a connection of its own, which waits for each answer.
struct Publisher {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Publisher {
    async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the server listens");
        stream.set_nodelay(true).expect("a socket");
        Self { stream, answer: vec![0; 1 << 16] }
    }

    async fn post(&mut self, media_type: &str, body: &str) {
        let length = body.len();
        let request = format!(
            "POST {HUB} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        self.stream.write_all(request.as_bytes()).await.expect("a request");
        let mut read = 0;
        loop {
            read += self.stream.read(&mut self.answer[read..]).await.expect("an answer");
            let text = String::from_utf8_lossy(&self.answer[..read]);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            if length.is_some_and(|length| body.len() >= length) {
                return;
            }
        }
    }

    async fn publish(&mut self, data: &str) {
        self.post("application/x-www-form-urlencoded", &format!("topic=a&data={data}")).await;
    }
}

async fn publish_rate(address: SocketAddr, publishers: usize, length: Duration) -> f64 {
    let data = "x".repeat(BYTES);
    let begun = Instant::now();
    let counts = (0..publishers).map(async |_| {
        let mut publisher = Publisher::connect(address).await;
        let mut count = 0;
        while begun.elapsed() < length {
            publisher.publish(&data).await;
            count += 1;
        }
        count
    });
    let count: usize = join_all(counts).await.into_iter().sum();
    count as f64 / begun.elapsed().as_secs_f64()
}

/// From a publish at the first node to its arrival at a stream of each node.
async fn latency(nodes: &[Server; 2]) {
    const UPDATES: usize = 500;
    let data = "y".repeat(BYTES);
    let mut publisher = Publisher::connect(nodes[0].address()).await;
    for (name, node) in ["the same node", "the other node"].iter().zip(nodes) {
        let stream = TcpStream::connect(node.address()).await.expect("the server listens");
        let mut stream = open_hub_stream(stream, "match=a").await;
        let (mut late, mut buffer) = (Vec::with_capacity(UPDATES), vec![0; 1 << 16]);
        for _ in 0..UPDATES {
            let begun = Instant::now();
            let arrival = async {
                let mut text = Vec::new();
                while !text.windows(data.len()).any(|window| window == data.as_bytes()) {
                    let read = stream.read(&mut buffer).await.expect("a stream");
                    text.extend_from_slice(&buffer[..read]);
                }
                begun.elapsed()
            };
            late.push(tokio::join!(publisher.publish(&data), arrival).1);
        }
        println!(
            "publish to delivery, {name}: p50 {:?}, p99 {:?}",
            quantile(&mut late, 0.5),
            quantile(&mut late, 0.99)
        );
    }
}

/// How long a new node needs to copy what the others have.
async fn catch_up(nodes: &[Server; 2], start: impl Fn(&'static str) -> Server, entries: usize) {
    let update = serde_json::json!({ "topic": ["a"], "data": "z".repeat(BYTES) });
    let array = serde_json::to_string(&vec![update; ARRAY]).expect("JSON");
    let begun = Instant::now();
    let publishing = (0..4).map(async |_| {
        let mut publisher = Publisher::connect(nodes[0].address()).await;
        for _ in 0..entries / ARRAY / 4 {
            publisher.post("application/json", &array).await;
        }
    });
    join_all(publishing).await;
    println!("in arrays of {ARRAY}: {:.0} updates/s", entries as f64 / begun.elapsed().as_secs_f64());
    let begun = Instant::now();
    let node = start("new");
    ready(node.address()).await;
    println!("a new node has copied {entries} updates after {:.1} s", begun.elapsed().as_secs_f64());
}

/// Waits until a node is ready for clients.
async fn ready(address: SocketAddr) {
    loop {
        let mut stream = TcpStream::connect(address).await.expect("the server listens");
        let request = format!("GET {READY} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        if answer.starts_with("HTTP/1.1 200") {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
}
