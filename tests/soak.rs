//! A server that runs for long: streams over HTTP/1.1, HTTP/2 and TLS that come and go, publishes, resumes, slow readers,
//! reloads and new certificates. Nothing is lost, and memory and open files stay what they are.
//!
//! It takes seconds. `cargo make soak` takes an hour with 5,000 streams, on the release; TIDINGS_SOAK_SECONDS and
//! TIDINGS_SOAK_STREAMS say otherwise.

mod support;

use std::env;
use std::path::Path;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use eventsource_stream::Eventsource;
use futures_util::StreamExt;
use rand::Rng;
use rcgen::{CertificateParams, KeyPair};
use reqwest::Client;
use support::{Program, in_time};
use tidings::wire::paths::HUB;
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// Topics that are published to one after the other.
const TOPICS: u64 = 16;
/// The time from one batch of updates, one for each topic, to the next.
const BATCH_EVERY: Duration = Duration::from_millis(100);
/// The time from one reload, with a new certificate, to the next.
const RELOAD_EVERY: Duration = Duration::from_secs(2);
/// Of so many readers one is slow.
const SLOW: usize = 10;
/// What memory may grow by between the middle and the end.
const GROWTH: f64 = 1.25;
const ROOM: usize = 24 << 20;

fn number<T: FromStr>(name: &str, default: T) -> T {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// What readers and the publisher tell each other.
#[derive(Default)]
struct Shared {
    /// The newest number that was published on each topic.
    newest: AtomicU64,
    is_over: AtomicU64,
    delivered: AtomicU64,
    resumed: AtomicU64,
    /// Updates that a reader lacked, and was told of.
    evicted: AtomicU64,
    /// Streams that could not be opened at first.
    given_up: AtomicU64,
    /// How late updates came to readers that were live.
    late: Mutex<Vec<Duration>>,
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are half of what it is for")]
fn a_server_that_runs_for_long_loses_nothing_and_does_not_grow() {
    let length = Duration::from_secs(number("TIDINGS_SOAK_SECONDS", 8));
    let streams: usize = number("TIDINGS_SOAK_STREAMS", 60);
    rlimit::increase_nofile_limit(u64::MAX).expect("enough open files");
    let data = tempfile::tempdir().expect("a folder");
    renew(data.path());
    let path = |name: &str| data.path().join(name).display().to_string();
    let (certificate, key) = (path("hub.pem"), path("hub.key"));
    let flags = [
        &["--listen", "http://127.0.0.1:0", "--redirect-http", "false"][..],
        &["--tls-certificate-file", &certificate, "--tls-key-file", &key],
        &["--anonymous", "--publish-without-token", "--max-streams", "0", "--log-level", "warn"],
        &["--stream-lifetime", "30s", "--heartbeat", "2s", "--keep-count", "0", "--keep-age", "10min"],
        // All readers come from one address, and open thousands of streams in a second.
        &["--subscription-rate-limit", "0", "--connection-rate-limit", "0"],
    ]
    .concat();
    let mut program = Program::start(data.path(), &flags);
    let addresses = [program.address().to_string(), program.tls_address().expect("TLS").to_string()];
    let idle_files = program.open_files();

    let shared = Arc::new(Shared::default());
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let (resident, files) = runtime.block_on(async {
        let mut readers = JoinSet::new();
        for number in 0..streams {
            readers.spawn(read(number, addresses.clone(), shared.clone()));
        }
        let publishing = tokio::spawn(publish(addresses[0].clone(), shared.clone()));
        let figures = watch(&program, data.path(), length).await;
        shared.is_over.store(1, Ordering::Relaxed);
        publishing.await.expect("a publisher that was answered");
        while let Some(ended) = readers.join_next().await {
            ended.expect("a reader that lost nothing");
        }
        figures
    });
    drop(runtime);

    let mut late = std::mem::take(&mut *shared.late.lock().unwrap_or_else(PoisonError::into_inner));
    late.sort_unstable();
    let at = |part: f64| late.get((late.len() as f64 * part) as usize).copied().unwrap_or_default();
    let part = |figures: &[usize], third: usize| {
        figures[figures.len() * third / 3..figures.len() * (third + 1) / 3].iter().max().copied()
    };
    let thirds = |figures: &[usize]| [0, 1, 2].map(|third| part(figures, third).unwrap_or_default());
    println!(
        "soak: {streams} streams for {length:?}; {} updates a topic, {} deliveries, {} resumes, \
         {} of them at a second try; {} updates evicted before a slow reader came to them; live p50 {:?}, p99 {:?}; \
         resident MiB by thirds {:?}; open files by thirds {:?}",
        shared.newest.load(Ordering::Relaxed),
        shared.delivered.load(Ordering::Relaxed),
        shared.resumed.load(Ordering::Relaxed),
        shared.given_up.load(Ordering::Relaxed),
        shared.evicted.load(Ordering::Relaxed),
        at(0.5),
        at(0.99),
        thirds(&resident).map(|bytes| bytes >> 20),
        thirds(&files),
    );
    let given_up = shared.given_up.load(Ordering::Relaxed);
    assert!(given_up * 100 <= shared.resumed.load(Ordering::Relaxed), "{given_up} streams could not be opened");
    let [_, middle, end] = thirds(&resident);
    assert!(end as f64 <= middle as f64 * GROWTH + ROOM as f64, "it grew from {middle} to {end} bytes");
    let begin = Instant::now();
    while program.open_files() > idle_files + 8 {
        assert!(begin.elapsed() < Duration::from_secs(30), "{} files are still open", program.open_files());
    }
    let worst = program.logged().iter().filter(|line| line["level"] == "ERROR").count();
    assert_eq!(worst, 0, "{:?}", program.logged());
}

/// Follows the program's figures until the end, and reloads it with new certificates.
async fn watch(program: &Program, data: &Path, length: Duration) -> (Vec<usize>, Vec<usize>) {
    let (begin, mut reloaded) = (Instant::now(), Instant::now());
    let (mut resident, mut files) = (Vec::new(), Vec::new());
    let mut ticks = interval(Duration::from_millis(250));
    while begin.elapsed() < length {
        ticks.tick().await;
        resident.push(program.resident());
        files.push(program.open_files());
        if reloaded.elapsed() > RELOAD_EVERY {
            reloaded = Instant::now();
            renew(data);
            program.signal("HUP");
        }
    }
    (resident, files)
}

/// Puts a new certificate in the place of the one before.
fn renew(folder: &Path) {
    let key = KeyPair::generate().expect("a key");
    let names = vec!["127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names).and_then(|params| params.self_signed(&key)).expect("a certificate");
    std::fs::write(folder.join("hub.key"), key.serialize_pem()).expect("room");
    std::fs::write(folder.join("hub.pem"), certificate.pem()).expect("room");
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock");
    u64::try_from(now.as_micros()).expect("this century")
}

/// Publishes to each topic in turn, numbered, until the end.
async fn publish(address: String, shared: Arc<Shared>) {
    let client = Client::builder().no_proxy().build().expect("a client");
    let mut ticks = interval(BATCH_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while shared.is_over.load(Ordering::Relaxed) == 0 {
        ticks.tick().await;
        let number = shared.newest.load(Ordering::Relaxed) + 1;
        let updates: Vec<_> = (0..TOPICS)
            .map(|topic| serde_json::json!({"topic": [format!("soak/{topic}")], "data": format!("{number} {}", now())}))
            .collect();
        let request = client.post(format!("http://{address}{HUB}")).json(&updates);
        let answer = in_time("an answer", request.send()).await.expect("a running program");
        assert_eq!(answer.status(), 200, "{:?}", answer.text().await);
        shared.newest.store(number, Ordering::Relaxed);
    }
}

/// Reads a topic, goes away, comes back and reads on, until it has everything. Each number comes once and in order.
async fn read(number: usize, [clear, tls]: [String; 2], shared: Arc<Shared>) {
    let is_slow = number.is_multiple_of(SLOW);
    let base = if number % 4 < 2 { format!("http://{clear}") } else { format!("https://{tls}") };
    let url = format!("{base}{HUB}?gap=1&match=soak/{}", number as u64 % TOPICS);
    let (mut last_event_id, mut last, mut is_told) = ("earliest".to_owned(), 0_u64, false);
    loop {
        // A new one each time: it has connections of its own, and knows the certificate of now.
        let client = Client::builder().no_proxy().danger_accept_invalid_certs(true);
        let client = match number % 4 {
            0 | 3 => client.http1_only(),
            1 => client.http2_prior_knowledge(),
            _ => client,
        };
        let client = client.build().expect("a client");
        let request = client.get(&url).header("last-event-id", &last_event_id).header("accept", "text/event-stream");
        // A machine that is too busy for a handshake makes the server give it up, and any client tries again.
        let Ok(response) = in_time("a stream", request.send()).await else {
            shared.given_up.fetch_add(1, Ordering::Relaxed);
            sleep(Duration::from_millis(rand::random_range(100..1000))).await;
            continue;
        };
        assert_eq!(response.status(), 200);
        let opened = Instant::now();
        let stay = Duration::from_millis(rand::rng().random_range(200..4000));
        let mut events = response.bytes_stream().eventsource();
        loop {
            let is_over = shared.is_over.load(Ordering::Relaxed) == 1;
            if is_over && last == shared.newest.load(Ordering::Relaxed) {
                return;
            }
            if !is_over && opened.elapsed() > stay {
                break;
            }
            let Ok(event) = timeout(Duration::from_millis(500), events.next()).await else { continue };
            // The server ends streams that have lived for long.
            let Some(Ok(event)) = event else { break };
            if event.event == "gap" {
                // Retention has evicted what a slow reader on a busy machine has not read yet.
                is_told = true;
                continue;
            }
            let (next, sent) = event.data.split_once(' ').expect("a number and a time");
            let next: u64 = next.parse().expect("a number");
            assert!(next == last + 1 || (is_told && next > last), "reader {number} of {url} got {next} after {last}");
            shared.evicted.fetch_add(next - last - 1, Ordering::Relaxed);
            (last, is_told) = (next, false);
            last_event_id = event.id;
            shared.delivered.fetch_add(1, Ordering::Relaxed);
            if is_slow {
                sleep(Duration::from_millis(50)).await;
            } else if last == shared.newest.load(Ordering::Relaxed) {
                let late = now().saturating_sub(sent.parse().expect("a time"));
                shared.late.lock().unwrap_or_else(PoisonError::into_inner).push(Duration::from_micros(late));
            }
        }
        shared.resumed.fetch_add(1, Ordering::Relaxed);
    }
}
