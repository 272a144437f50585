//! What a restart costs those who listen to the hub with its presence on: the server is killed and started again on
//! the same port, and all clients come back at once, each with the id of the last update it has had. How long until
//! the last one is answered, has had the update that was published meanwhile, is in the list of subscriptions, and
//! has been told of to a client that watches who comes.
//!
//! `--clients` and `--rounds` change the load, `--match` what the clients ask for, `--presence false` turns presence off.

#![expect(clippy::print_stdout, reason = "its figures are what it is for")]

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use serde_json::Value;
use support::{Server, arg, quantile, seed};
use tidings::wire::paths;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// All 2,000 are to be back within this time of the server's start.
const GOAL: Duration = Duration::from_secs(3);
/// A client that found nobody listening waits so long: less than a browser does, so that all come at once.
const PAUSE: Duration = Duration::from_millis(20);
/// How long a round may take before something is wrong.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often the list of subscriptions is asked for, until it is whole.
const LOOK: Duration = Duration::from_millis(50);
/// What the watcher asks for.
const WATCHED: &str = "match_urlpattern=/.well-known/mercure/subscriptions/*";

/// A client of the hub, as a browser's: it knows the last id it has had.
struct Client {
    address: SocketAddr,
    query: Arc<str>,
    token: Option<String>,
    stream: Option<TcpStream>,
    unread: Vec<u8>,
    last: Option<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (count, rounds, presence) = (arg("--clients", 2000), arg("--rounds", 3), arg("--presence", true));
    rlimit::increase_nofile_limit(u64::MAX).expect("enough open files");
    let data = seed::folder();
    let told = format!("--presence={presence}");
    let flags = ["--rate-limit", "0", "--log-level", "warn", "--publish-without-token", &told];
    let mut server = Server::start_with(data.path(), &flags);
    let address = server.address();
    let hub = Hub { http: reqwest::Client::builder().no_proxy().build().expect("a client"), address };
    let token = token(data.path(), address);
    let mut watcher = Client::new(address, WATCHED.into(), Some(token.clone()));
    watcher.come_back().await;
    let query: Arc<str> = arg("--match", "match=news".to_owned()).into();
    let mut clients: Vec<_> = (0..count).map(|_| Client::new(address, query.clone(), None)).collect();
    for client in &mut clients {
        client.come_back().await;
    }
    hub.publish("0").await;
    join_all(clients.iter_mut().map(|client| client.read_until(1, "data: 0"))).await;
    if presence {
        watcher.read_until(count + 1, "\"active\":true").await;
    }

    println!("{count} clients come back after a restart, presence {presence}; goal {GOAL:?} for all of it");
    println!(
        "{:>9}{:>13}{:>13}{:>13}{:>13}{:>13}",
        "", "half have", "all have", "all have the", "all are in", "a watcher"
    );
    println!("{:>9}{:>13}{:>13}{:>13}{:>13}{:>13}", "", "an answer", "an answer", "update", "the list", "knows of all");
    for round in 1..=rounds {
        drop(server);
        for client in clients.iter_mut().chain([&mut watcher]) {
            timeout(PATIENCE, client.end()).await.expect("a stream that ends");
        }
        let (text, begin) = (round.to_string(), Instant::now());
        let starting = tokio::task::spawn_blocking({
            let (data, flags) = (data.path().to_owned(), flags.map(str::to_owned));
            move || Server::start_at(address, &data, &flags.each_ref().map(String::as_str))
        });
        let update = format!("data: {text}");
        let back = join_all(clients.iter_mut().map(async |client| {
            client.come_back().await;
            let answered = begin.elapsed();
            client.read_until(1, &update).await;
            (answered, begin.elapsed())
        }));
        let watch = async {
            watcher.come_back().await;
            hub.publish(&text).await;
            if !presence {
                return (Duration::ZERO, Duration::ZERO);
            }
            let list = async {
                hub.listed(&token, count + 1).await;
                begin.elapsed()
            };
            let told = async {
                watcher.read_until(count + 1, "\"active\":true").await;
                begin.elapsed()
            };
            join(list, told).await
        };
        let (back, (listed, told)) = timeout(PATIENCE, join(back, watch)).await.expect("clients that come back");
        server = starting.await.expect("a server");
        let (mut answered, updated): (Vec<_>, Vec<_>) = back.into_iter().unzip();
        let (half, all) = (quantile(&mut answered, 0.5), quantile(&mut answered, 1.0));
        let updated = updated.into_iter().max().unwrap_or_default();
        println!(
            "{:>9}{half:>13.2?}{all:>13.2?}{updated:>13.2?}{listed:>13.2?}{told:>13.2?}",
            format!("round {round}")
        );
    }
}

impl Client {
    fn new(address: SocketAddr, query: Arc<str>, token: Option<String>) -> Self {
        Self { address, query, token, stream: None, unread: Vec::new(), last: None }
    }

    /// Connects as soon as somebody listens, and asks for what comes after the last id, until that is answered.
    async fn come_back(&mut self) {
        while !self.try_come_back().await {
            sleep(PAUSE).await;
        }
    }

    async fn try_come_back(&mut self) -> bool {
        let Ok(mut stream) = TcpStream::connect(self.address).await else { return false };
        // Of HTTP/1.0, for a body without chunks.
        let mut request = format!("GET {}?{} HTTP/1.0\r\nHost: localhost\r\n", paths::HUB, self.query);
        if let Some(token) = &self.token {
            request += &format!("Authorization: Bearer {token}\r\n");
        }
        if let Some(last) = &self.last {
            request += &format!("Last-Event-ID: {last}\r\n");
        }
        if stream.write_all(format!("{request}\r\n").as_bytes()).await.is_err() {
            return false;
        }
        self.unread.clear();
        while !self.unread.windows(4).any(|four| four == b"\r\n\r\n") {
            if !matches!(stream.read_buf(&mut self.unread).await, Ok(1..)) {
                return false;
            }
        }
        assert!(self.unread.starts_with(b"HTTP/1.0 200"), "{}", String::from_utf8_lossy(&self.unread));
        self.stream = Some(stream);
        true
    }

    /// Reads until so many lines with this text have come.
    async fn read_until(&mut self, count: usize, text: &str) {
        let (mut found, stream) = (0, self.stream.as_mut().expect("an open stream"));
        loop {
            while let Some(end) = self.unread.iter().position(|&byte| byte == b'\n') {
                let line: Vec<_> = self.unread.drain(..=end).collect();
                let line = String::from_utf8(line).expect("UTF-8");
                if let Some(id) = line.strip_prefix("id: ") {
                    self.last = Some(id.trim_end().to_owned());
                }
                found += usize::from(line.contains(text));
            }
            if found >= count {
                return;
            }
            assert!(matches!(stream.read_buf(&mut self.unread).await, Ok(1..)), "the server ended a stream");
        }
    }

    /// Waits until the connection has ended.
    async fn end(&mut self) {
        let Some(mut stream) = self.stream.take() else { return };
        while matches!(stream.read(&mut [0; 1024]).await, Ok(1..)) {}
    }
}

/// What the others do there.
struct Hub {
    http: reqwest::Client,
    address: SocketAddr,
}

impl Hub {
    async fn publish(&self, data: &str) {
        let request = self.http.post(self.url(paths::HUB)).body(format!("topic=news&data={data}"));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        assert_eq!(request.send().await.expect("an answer").status(), 200);
    }

    /// Waits until there are so many subscriptions.
    async fn listed(&self, token: &str, count: usize) {
        loop {
            let request = self.http.get(self.url(paths::SUBSCRIPTIONS) + "?limit=1").bearer_auth(token);
            let list = request.send().await.expect("an answer").bytes().await.expect("a list");
            let list: Value = serde_json::from_slice(&list).expect("JSON");
            if list["total"] == count {
                return;
            }
            sleep(LOOK).await;
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// A token of the server's own that may read everything.
fn token(data: &Path, address: SocketAddr) -> String {
    let address = address.to_string();
    let made = Command::new(support::binary())
        .args(["token", "--subscribe", "*", "--expires", "1day", "--listen", &address, "--data"])
        .arg(data)
        .output()
        .expect("the program runs");
    String::from_utf8(made.stdout).expect("a token").trim().to_owned()
}
