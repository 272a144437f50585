//! Fifty hostile clients at once, on the program itself with its default settings. Meanwhile a well-behaved publisher
//! and a subscriber lose nothing, and the program's memory stays within a bound.
//!
//! It takes seconds. As a part of `cargo make fuzz` it takes a minute, runs the release, and also asserts how long updates
//! take to arrive.

#[path = "hostile/attacks.rs"]
mod attacks;
mod support;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::env;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use reqwest::header::CONTENT_TYPE;
use tidings::wire::paths::HUB;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, sleep_until, timeout, timeout_at};

use attacks::{ABANDONED, Attacker, Manner};
use support::{EARLIEST, Events, Program, in_time};

const CLIENTS: u8 = 50;

/// The time from one attack of a client to its next.
const PACE: Duration = Duration::from_millis(100);

/// Connections that a hostile client keeps open and does not read.
const HELD: usize = 5;

/// How long a hostile client reads what it gets.
const READING: Duration = Duration::from_millis(200);

/// Long enough for any answer.
const PATIENCE: Duration = Duration::from_secs(30);

const TOPIC: &str = "https://good.example/news";

/// The time from one update of the well-behaved publisher to its next.
const UPDATE_EVERY: Duration = Duration::from_millis(10);

/// The last update.
const END: &str = "end";

/// What the program may grow to, in bytes.
const MOST_RESIDENT: usize = 384 << 20;

/// How much slower than without hostile clients an update may arrive, in the long form.
const MOST_SLOWDOWN: f64 = 2.0;

/// Below this a p99 is fast enough, whatever it was before: the hostile clients use the same processors.
const FAST_ENOUGH: Duration = Duration::from_millis(50);

#[test]
#[expect(clippy::print_stdout, reason = "the figures are half of what it is for")]
fn fifty_hostile_clients_cost_the_others_no_update_and_the_program_little_memory() {
    let seconds: Option<f64> =
        env::var("TIDINGS_FUZZ_SECONDS").ok().map(|text| text.parse().expect("a number of seconds"));
    let attacked = Duration::from_secs_f64(seconds.unwrap_or(3.0).max(3.0));
    let calm = attacked / 3;
    let data = tempfile::tempdir().expect("a folder");
    let mut program = Program::start_with_defaults(data.path());
    let address = program.address();
    let token = program.token(data.path(), &["--publish", "*", "--subscribe", "*"]);

    // The hostile clients have a thread of their own: what they wait for is no part of what is measured.
    let begin = Instant::now();
    let hostile = thread::spawn({
        let token = token.clone();
        move || attack(address, &token, begin + calm, begin + calm + attacked)
    });
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let publisher = Publisher { http, address, token };
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (published, heard, most_resident) = runtime.block_on(async {
        let events = program.client().open(&format!("{HUB}?match={TOPIC}"), None).await.expect("a stream");
        let publishing = publisher.publish_until(begin, begin + calm + attacked);
        let watching = watch_memory(&program, begin + calm + attacked);
        tokio::join!(publishing, hear(events, begin), watching)
    });
    let statuses = hostile.join().expect("hostile clients that were answered as they should be");

    assert_eq!(heard.ids, published, "each update once and in order, live");
    let (kept, abandoned) = runtime.block_on(async {
        let client = program.client();
        let kept = client.open(&format!("{HUB}?match={TOPIC}"), Some(EARLIEST)).await.expect("a stream");
        let kept = hear(kept, begin).await.ids;
        (kept, abandoned(&program, &publisher).await)
    });
    assert_eq!(kept, published, "each update once and in order, from the beginning");
    let distinct: HashSet<_> = abandoned.iter().collect();
    assert_eq!(distinct.len(), abandoned.len(), "an idempotency key publishes once");

    let (before, during) = (heard.p99(Duration::ZERO, calm), heard.p99(calm, calm + attacked));
    println!(
        "hostile: {:?} answers; {} updates; p99 {before:?} before and {during:?} meanwhile; at most {} MiB resident",
        statuses,
        published.len(),
        most_resident >> 20
    );
    assert!(most_resident < MOST_RESIDENT, "it grew to {most_resident} bytes");
    if seconds.is_some() {
        let most = before.expect("updates before").mul_f64(MOST_SLOWDOWN).max(FAST_ENOUGH);
        assert!(during.expect("updates meanwhile") <= most, "p99 was {before:?} before and {during:?} meanwhile");
    }
    program.signal("TERM");
    let stopped = runtime.block_on(program.log("the server has stopped"));
    assert_eq!(stopped["level"], "INFO");
}

/// A client that publishes as it should.
struct Publisher {
    http: reqwest::Client,
    address: SocketAddr,
    token: String,
}

impl Publisher {
    /// Publishes an update and returns its id.
    async fn publish(&self, topic: &str, data: &str) -> String {
        let form =
            form_urlencoded::Serializer::new(String::new()).extend_pairs([("topic", topic), ("data", data)]).finish();
        let request = self.http.post(format!("http://{}{HUB}", self.address)).bearer_auth(&self.token);
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
        let response = in_time("an answer", request.send()).await.expect("a running program");
        let status = response.status();
        let answer = response.text().await.expect("an id");
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// Publishes in a steady pace until `end`, and returns the ids.
    async fn publish_until(&self, begin: Instant, end: Instant) -> Vec<String> {
        let mut ids = Vec::new();
        let mut ticks = interval(UPDATE_EVERY);
        while Instant::now() < end {
            ticks.tick().await;
            ids.push(self.publish(TOPIC, &begin.elapsed().as_micros().to_string()).await);
        }
        ids.push(self.publish(TOPIC, END).await);
        ids
    }
}

/// What a subscriber heard until the last update.
struct Heard {
    ids: Vec<String>,
    /// When each was sent, and how long it took.
    delays: Vec<(Duration, Duration)>,
}

impl Heard {
    /// The 99th percentile of the delays of updates sent between these times, or `None` if there are none.
    fn p99(&self, from: Duration, to: Duration) -> Option<Duration> {
        let sent_then = self.delays.iter().filter(|(sent, _)| (from..to).contains(sent));
        let mut delays: Vec<_> = sent_then.map(|(_, delay)| *delay).collect();
        delays.sort();
        delays.get(delays.len() * 99 / 100).copied()
    }
}

async fn hear(mut events: Events, begin: Instant) -> Heard {
    let mut heard = Heard { ids: Vec::new(), delays: Vec::new() };
    loop {
        let event = events.next().await.expect("a stream that goes on");
        heard.ids.push(event.id);
        if event.data == END {
            return heard;
        }
        let sent = Duration::from_micros(event.data.parse().expect("a time"));
        heard.delays.push((sent, begin.elapsed() - sent));
    }
}

/// The most memory that the program has until `end`.
async fn watch_memory(program: &Program, end: Instant) -> usize {
    let mut most = 0;
    while Instant::now() < end {
        most = most.max(program.resident());
        sleep(Duration::from_millis(100)).await;
    }
    most
}

/// The data of what was published by clients that gave up.
async fn abandoned(program: &Program, publisher: &Publisher) -> Vec<String> {
    publisher.publish(ABANDONED, END).await;
    let path = format!("{HUB}?match={ABANDONED}");
    let mut events = program.client().open(&path, Some(EARLIEST)).await.expect("a stream");
    let mut data = Vec::new();
    while data.last().is_none_or(|last| last != END) {
        data.push(events.next().await.expect("a stream that goes on").data);
    }
    data
}

/// Lets the hostile clients go from `begin` to `end`, and counts how they were answered.
fn attack(address: SocketAddr, token: &str, begin: Instant, end: Instant) -> BTreeMap<u16, usize> {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        sleep_until(begin.into()).await;
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            clients.spawn(client(number, address, token.to_owned(), end));
        }
        let mut statuses = BTreeMap::new();
        while let Some(answered) = clients.join_next().await {
            for status in answered.expect("a client that was answered as it should be") {
                *statuses.entry(status).or_default() += 1;
            }
        }
        statuses
    })
}

/// One hostile client, with an address of its own. Returns the statuses it got.
async fn client(number: u8, server: SocketAddr, token: String, end: Instant) -> Vec<u16> {
    let mut statuses = Vec::new();
    let mut held = VecDeque::new();
    let mut turn = 1;
    let mut ticks = interval(PACE);
    while Instant::now() < end {
        ticks.tick().await;
        let attack = Attacker { number, turn, token: &token }.attack();
        turn += 1;
        // A server that is full may refuse a connection, or cut it.
        let Ok(mut connection) = connect(number, server).await else { continue };
        let request = match attack.manner {
            Manner::Half => &attack.request[..attack.request.len() / 2],
            _ => &attack.request[..],
        };
        if connection.write_all(request).await.is_err() {
            continue;
        }
        match attack.manner {
            Manner::Read => statuses.extend(read(&mut connection, &attack.request).await),
            Manner::Reset => {}
            Manner::Hold | Manner::Half => held.push_back(connection),
        }
        if held.len() > HELD {
            held.pop_front();
        }
    }
    statuses
}

async fn connect(number: u8, server: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 1, number + 1], 0)))?;
    let connection = socket.connect(server).await?;
    // What ends, ends with a reset: hostile clients close nothing, and this machine's ports are not used up.
    connection.set_zero_linger()?;
    Ok(connection)
}

/// The status of the answer, which must come and be no failure of the server's.
async fn read(connection: &mut TcpStream, request: &[u8]) -> Option<u16> {
    let mut answer = Vec::new();
    let request = || String::from_utf8_lossy(&request[..request.len().min(200)]).into_owned();
    while !answer.windows(4).any(|four| four == b"\r\n\r\n") {
        let read = timeout(PATIENCE, connection.read_buf(&mut answer)).await;
        let read = read.unwrap_or_else(|_| panic!("no answer to {}", request()));
        if read.unwrap_or(0) == 0 {
            return None;
        }
    }
    let head = String::from_utf8_lossy(&answer);
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.unwrap_or_else(|| panic!("{head}"));
    assert!(status < 500 || matches!(status, 501 | 503 | 507), "{status} answers {}: {head}", request());
    let enough = tokio::time::Instant::now() + READING;
    let mut rest = vec![0; 64 << 10];
    while let Ok(Ok(1..)) = timeout_at(enough, connection.read(&mut rest)).await {}
    Some(status)
}
