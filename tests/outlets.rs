//! Streams by both outlets: whatever a socket takes, whatever its client sends, however it leaves and however the hub ends
//! it, each reader gets its updates once and in order, and nothing is left of it.

#[path = "outlets/partial_writes.rs"]
mod partial_writes;
#[path = "outlets/stream.rs"]
mod stream;
mod support;

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use socket2::SockRef;
use stream::{Outlet, Stream};
use support::{Client, Program, in_time};
use tidings::wire::paths::{HUB, SUBSCRIPTIONS};
use tokio::io::AsyncWriteExt;
use tokio::time::sleep;

const TOPICS: [&str; 3] = ["https://example.com/a", "https://example.com/b", "https://example.com/c"];
/// The last update: whoever has it has all.
const END: &str = "https://example.com/end";

const READERS: u64 = 24;
const PUBLISHERS: u64 = 4;
const UPDATES: usize = 150;

macro_rules! by_each_outlet {
    ($($case:ident)*) => {
        mod direct {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(super::Outlet::Direct).await;
            })*
        }
        mod body {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(super::Outlet::Body).await;
            })*
        }
    };
}

by_each_outlet! {
    whatever_a_socket_takes_each_reader_gets_every_update_once_and_in_order
    nothing_is_left_of_clients_that_vanish_in_the_middle_of_updates
    a_silent_stream_gets_comments
    a_shutdown_ends_each_stream_with_a_time_to_come_back
    a_stream_ends_with_its_lifetime_and_its_token
    a_client_that_takes_nothing_is_cut_and_holds_up_nobody
    a_client_at_its_limit_may_open_a_stream_when_one_has_ended
}

/// Starts the program with these flags; by default for any number of streams that may stall for a while.
fn start(data: &tempfile::TempDir, flags: &[&str]) -> Program {
    let mut all = vec!["--publish-without-token", "true"];
    for default in [["--max-streams", "0"], ["--max-connections-per-client", "0"], ["--stall-timeout", "10s"]] {
        if !flags.contains(&default[0]) {
            all.extend(default);
        }
    }
    Program::start(data.path(), &[&all, flags].concat())
}

async fn open(outlet: Outlet, program: &Program, buffer: u32, query: &str) -> Stream {
    Stream::open(outlet, program.address(), buffer, query, "").await
}

async fn publish_end(client: &Client) {
    assert_eq!(client.publish_update(&[("topic", END)]).await.expect("an answer").status, 200);
}

async fn whatever_a_socket_takes_each_reader_gets_every_update_once_and_in_order(outlet: Outlet) {
    let data = tempfile::tempdir().expect("a folder");
    let program = start(&data, &[]);
    let mut readers = Vec::new();
    for seed in 1..=READERS {
        let stream = open(outlet, &program, seed as u32 * 512, "").await;
        readers.push(tokio::spawn(Reader { outlet, address: program.address(), seed }.read(stream)));
    }
    let publishers = (0..PUBLISHERS).map(|seed| tokio::spawn(publish(program.client(), seed)));
    for publisher in publishers.collect::<Vec<_>>() {
        publisher.await.expect("no panic");
    }
    publish_end(&program.client()).await;
    // In the order of the log, as one who reads it from its beginning has it.
    let mut all = open(outlet, &program, 1 << 20, "&last_event_id=earliest").await;
    in_time("all updates", async { while !all.is_over && all.read(64 * 1024).await {} }).await;
    assert_eq!(all.ids.len(), PUBLISHERS as usize * UPDATES + 1);
    for (number, reader) in readers.into_iter().enumerate() {
        let heard = in_time("a reader's end", reader).await.expect("no panic");
        assert!(heard == all.ids, "reader {number} heard {} of {} updates, or others", heard.len(), all.ids.len());
    }
}

/// Publishes updates of many sizes, with pauses in which slow readers catch up.
async fn publish(client: Client, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    for number in 0..UPDATES {
        let size = if rng.random_bool(0.1) { rng.random_range(1..60_000) } else { rng.random_range(1..300) };
        let (topic, text) = (TOPICS[rng.random_range(0..TOPICS.len())], "x".repeat(size));
        let answer = client.publish_update(&[("topic", topic), ("data", &text)]).await.expect("an answer");
        assert_eq!(answer.status, 200, "update {number}: {}", answer.body);
        if rng.random_bool(0.1) {
            sleep(Duration::from_millis(rng.random_range(0..40))).await;
        }
    }
}

/// Reads in pieces of any size, with pauses, and comes back now and then with the last id that it has had.
struct Reader {
    outlet: Outlet,
    address: std::net::SocketAddr,
    seed: u64,
}

impl Reader {
    /// Reads until the last update. Answers the ids.
    async fn read(self, mut stream: Stream) -> Vec<String> {
        let mut rng = StdRng::seed_from_u64(self.seed);
        let mut ids: Vec<String> = Vec::new();
        loop {
            if rng.random_bool(0.02) {
                sleep(Duration::from_millis(rng.random_range(0..30))).await;
            }
            assert!(stream.read(rng.random_range(1..20_000)).await, "the stream ended after {} updates", ids.len());
            ids.append(&mut stream.ids);
            if stream.is_over {
                return ids;
            }
            if let Some(last) = ids.last().filter(|_| rng.random_bool(0.01)) {
                let query = format!("&last_event_id={last}");
                stream = Stream::open(self.outlet, self.address, self.seed as u32 * 512, &query, "").await;
            }
        }
    }
}

#[tokio::test]
async fn what_a_client_sends_after_its_request_harms_no_stream() {
    let data = tempfile::tempdir().expect("a folder");
    let mut program = start(&data, &[]);
    let client = program.client();
    for behind in ["GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "\0garbage\r\n\r\n", "0\r\n\r\n"] {
        let mut stream = open(Outlet::Direct, &program, 1 << 16, "").await;
        stream.socket.write_all(behind.as_bytes()).await.expect("a connection");
        publish_end(&client).await;
        in_time("an update", async { while !stream.is_over && stream.read(1000).await {} }).await;
        assert_eq!(stream.ids.len(), 1, "{behind:?}");
    }
    let mut stream = open(Outlet::Direct, &program, 1 << 16, "").await;
    // It may be cut off before it has sent all.
    let _ = stream.socket.write_all(&[b'x'; 1 << 20]).await;
    stream.read_to_end().await;

    let mut stream = open(Outlet::Direct, &program, 1 << 16, "").await;
    stream.socket.shutdown().await.expect("a connection");
    stream.read_to_end().await;
    for _ in 0..5 {
        program.log("a stream has ended").await;
    }
}

async fn nothing_is_left_of_clients_that_vanish_in_the_middle_of_updates(outlet: Outlet) {
    const CLIENTS: usize = 400;
    let data = tempfile::tempdir().expect("a folder");
    let mut program = start(&data, &[]);
    let client = program.client();
    client.ping().await.expect("an answer");
    let before = program.open_files();
    for round in 0..3 {
        let mut streams = Vec::new();
        for _ in 0..CLIENTS {
            streams.push(open(outlet, &program, 4096, "").await);
        }
        assert!(program.open_files() > CLIENTS, "all are open");
        let publisher = tokio::spawn(publish(program.client(), round));
        for stream in streams {
            reset(stream);
            sleep(Duration::from_micros(200)).await;
        }
        publisher.await.expect("no panic");
        for _ in 0..CLIENTS {
            program.log("a stream has ended").await;
        }
    }
    closes(&program, before).await;
}

/// Ends a connection by RST instead of FIN.
fn reset(stream: Stream) {
    SockRef::from(&stream.socket).set_linger(Some(Duration::ZERO)).expect("an option");
}

async fn closes(program: &Program, before: usize) {
    let closed = async {
        while program.open_files() > before + 8 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    in_time("the end of all connections", closed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_clients_that_vanish_at_once_hold_up_nobody_and_leave_nothing() {
    // This test has a file for each, and so has the program.
    let limit = rlimit::increase_nofile_limit(u64::MAX).expect("a limit");
    let count = 10_000.min(usize::try_from(limit).unwrap_or(usize::MAX) - 500);
    let data = tempfile::tempdir().expect("a folder");
    let flags = ["--max-connections", "20000", "--log-level", "info,tidings::server::http::sse_body=warn"];
    let program = start(&data, &flags);
    let mut canary = open(Outlet::Direct, &program, 1 << 16, "").await;
    let before = program.open_files();
    let mut streams = Vec::new();
    while streams.len() < count {
        let opening = (0..100.min(count - streams.len())).map(|_| open(Outlet::Direct, &program, 4096, ""));
        streams.extend(futures_util::future::join_all(opening).await);
    }
    let vanishing = tokio::task::spawn_blocking(move || streams.into_iter().for_each(reset));
    for _ in 0..20 {
        publish_end(&program.client()).await;
    }
    in_time("all updates", async { while canary.ids.len() < 20 && canary.read(64 * 1024).await {} }).await;
    vanishing.await.expect("no panic");
    closes(&program, before).await;
    let token = program.token(data.path(), &["--subscribe", "*"]);
    let list = program.client().get(SUBSCRIPTIONS, &token).await.expect("an answer").body;
    let list: serde_json::Value = serde_json::from_str(&list).expect("JSON");
    assert_eq!(list["total"], 1, "{list}");
}

async fn a_silent_stream_gets_comments(outlet: Outlet) {
    let data = tempfile::tempdir().expect("a folder");
    let program = start(&data, &["--heartbeat", "1s"]);
    let mut stream = open(outlet, &program, 1 << 16, "").await;
    in_time("comments", async { while stream.lines.len() < 2 && stream.read(1000).await {} }).await;
    assert_eq!(stream.lines, [":", ":"]);
}

async fn a_shutdown_ends_each_stream_with_a_time_to_come_back(outlet: Outlet) {
    let data = tempfile::tempdir().expect("a folder");
    let mut program = start(&data, &[]);
    let mut streams = Vec::new();
    for _ in 0..20 {
        streams.push(open(outlet, &program, 1 << 16, "").await);
    }
    program.signal("TERM");
    let mut times = Vec::new();
    for stream in &mut streams {
        stream.read_to_end().await;
        let [line] = &stream.lines[..] else { panic!("{:?}", stream.lines) };
        times.push(line.strip_prefix("retry: ").and_then(|text| text.parse::<u64>().ok()).expect("a time"));
        assert!(stream.is_complete, "the body ends as it should");
    }
    assert!(times.iter().all(|time| (1000..4000).contains(time)) && times.iter().any(|time| *time != times[0]));
    for _ in 0..20 {
        assert_eq!(program.log("a stream has ended").await["reason"], "shutdown");
    }
}

async fn a_stream_ends_with_its_lifetime_and_its_token(outlet: Outlet) {
    let data = tempfile::tempdir().expect("a folder");
    let mut program = start(&data, &["--stream-lifetime", "2s", "--presence", "false"]);
    let token = program.token(data.path(), &["--subscribe", "*", "--expires", "1s"]);
    let headers = format!("Authorization: Bearer {token}\r\n");
    for (headers, reason) in [(&*headers, "token expired"), ("", "lifetime reached")] {
        let mut stream = Stream::open(outlet, program.address(), 1 << 16, "", headers).await;
        stream.read_to_end().await;
        assert!(stream.is_complete && stream.lines.is_empty(), "{:?}", stream.lines);
        assert_eq!(program.log("a stream has ended").await["reason"], reason);
    }
}

async fn a_client_that_takes_nothing_is_cut_and_holds_up_nobody(outlet: Outlet) {
    let data = tempfile::tempdir().expect("a folder");
    let mut program = start(&data, &["--stall-timeout", "1s"]);
    let _stalled = open(outlet, &program, 2048, "").await;
    let mut stream = open(outlet, &program, 1 << 16, "").await;
    let (client, text) = (program.client(), "x".repeat(100_000));
    for count in 1..=20 {
        let answer = client.publish_update(&[("topic", TOPICS[0]), ("data", &text)]).await.expect("an answer");
        assert_eq!(answer.status, 200);
        in_time("an update", async { while stream.ids.len() < count && stream.read(64 * 1024).await {} }).await;
    }
    let cut = program.log("a connection was cut").await;
    assert!(cut["reason"].as_str().is_some_and(|reason| reason.contains("took nothing for 1s")), "{cut}");
}

async fn a_client_at_its_limit_may_open_a_stream_when_one_has_ended(outlet: Outlet) {
    let data = tempfile::tempdir().expect("a folder");
    let mut program = start(&data, &["--max-streams", "2"]);
    let (first, _second) = (open(outlet, &program, 1 << 16, "").await, open(outlet, &program, 1 << 16, "").await);
    let refused = program.client().get(&format!("{HUB}?match=a"), "").await.expect("an answer");
    assert_eq!(refused.status, 429, "{}", refused.body);
    drop(first);
    program.log("a stream has ended").await;
    open(outlet, &program, 1 << 16, "").await;
}
