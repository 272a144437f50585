//! The promise, on the program itself: what it has acknowledged is there after `kill -9`, once and in order, and
//! readers that come back with their last id have had everything that is kept, exactly once.
//!
//! `TIDINGS_CRASH_ROUNDS` is how often it is killed (`cargo make crash` does 50), `TIDINGS_CRASH_SEED` repeats
//! the choices of another run. The program's own timing can't be repeated.

#![expect(clippy::print_stdout, reason = "it says what it did: `--nocapture`")]

mod support;

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use support::{Client, EARLIEST, FEED, Program, in_time};
use tempfile::TempDir;
use tidings::wire::event::Arrival;
use tidings::wire::message::Message;
use tokio::task::JoinSet;

const WRITERS: usize = 8;
const READERS: usize = 4;

/// The program is killed so many milliseconds after the writers began.
const LIFE_MS: std::ops::Range<u64> = 0..800;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_kill_9_everything_acknowledged_is_there_and_every_reader_has_had_it_once() {
    let rounds = setting("TIDINGS_CRASH_ROUNDS").unwrap_or(5);
    let seed = setting("TIDINGS_CRASH_SEED").unwrap_or_else(rand::random);
    println!("{rounds} rounds with TIDINGS_CRASH_SEED={seed}");
    let begin = Instant::now();
    let mut run = Run::new(seed);
    for _ in 0..rounds {
        run.round().await;
    }
    run.finish().await;
    println!(
        "killed {} times: {} messages acknowledged and all there, {} more kept that were in flight, {} deliveries to \
         {READERS} readers over {} connections, each message once and in order; {:.0?}",
        run.kills,
        run.acknowledged,
        run.kept.len() - run.acknowledged,
        run.readers.iter().map(|reader| reader.seen).sum::<usize>(),
        run.readers.iter().map(|reader| reader.connections).sum::<usize>(),
        begin.elapsed(),
    );
}

fn setting<T: FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// What must be true, over all rounds.
struct Run {
    rng: StdRng,
    data: TempDir,
    /// What the log holds, in its order.
    kept: Vec<Message>,
    writers: Vec<Writer>,
    readers: Vec<Reader>,
    /// The first event of a burst that the last kill has cut.
    cut_burst: Option<Message>,
    acknowledged: usize,
    kills: usize,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let writers = (0..WRITERS).map(|number| Writer::new(number, rng.random())).collect();
        let readers = (0..READERS).map(|_| Reader::new(rng.random())).collect();
        let data = tempfile::tempdir().expect("a folder");
        Self { rng, data, kept: Vec::new(), writers, readers, cut_burst: None, acknowledged: 0, kills: 0 }
    }

    /// A life of the program: it recovers, its readers and writers come back, and it is killed.
    async fn round(&mut self) {
        if self.rng.random_bool(0.3) {
            // Killed while it recovers, perhaps.
            let program = self.start();
            tokio::time::sleep(Duration::from_millis(self.rng.random_range(0..30))).await;
            program.kill();
            self.kills += 1;
        }
        let program = self.start();
        let client = program.client();
        self.check(&client).await;
        self.check_bursts(&client).await;
        // Some come back while nothing new is published, the others when it is.
        for reader in &mut self.readers[..READERS / 2] {
            reader.catch_up(&client, &self.kept).await;
        }

        let dying = Arc::new(AtomicBool::new(false));
        let (mut writers, mut readers) = (JoinSet::new(), JoinSet::new());
        for writer in self.writers.drain(..) {
            writers.spawn(writer.publish(program.client(), dying.clone()));
        }
        for reader in self.readers.drain(..) {
            readers.spawn(reader.follow(program.client(), dying.clone()));
        }
        tokio::time::sleep(Duration::from_millis(self.rng.random_range(LIFE_MS))).await;
        dying.store(true, Ordering::SeqCst);
        program.kill();
        self.kills += 1;
        self.writers = in_time("the writers", writers.join_all()).await;
        self.readers = in_time("the readers", readers.join_all()).await;
    }

    /// The last restart: everybody gets what there is.
    async fn finish(&mut self) {
        let program = self.start();
        let client = program.client();
        self.check(&client).await;
        self.check_bursts(&client).await;
        for reader in &mut self.readers {
            reader.catch_up(&client, &self.kept).await;
        }
        assert_eq!(client.messages_after(None).await, self.kept);
        let mut replay = client.open(FEED, Some(EARLIEST)).await.expect("a stream");
        assert_eq!(replay.messages(self.kept.len()).await, self.kept);
    }

    fn start(&self) -> Program {
        Program::start(self.data.path(), &["--durability", "fsync", "--log-level", "warn"])
    }

    /// Holds what is there after a restart against what writers and readers know.
    async fn check(&mut self, client: &Client) {
        let news = client.messages_after(self.kept.last().map(|message| &*message.id)).await;
        let by_text: HashMap<_, _> = news.iter().map(|message| (&*message.message, &*message.id)).collect();
        assert_eq!(by_text.len(), news.len(), "a message is there more than once");
        for writer in &mut self.writers {
            for (text, id) in &writer.acknowledged {
                assert_eq!(by_text.get(&**text), Some(&&**id), "an acknowledged message is not there: {text:.40}");
            }
            let mine: Vec<_> = news.iter().filter_map(|message| writer.sequence(&message.message)).collect();
            assert!(mine.is_sorted(), "not in the order in which they were acknowledged: {mine:?}");
            let in_flight = mine.len() - writer.acknowledged.len();
            assert!(in_flight <= 1, "{in_flight} are there that were never answered");
            self.acknowledged += writer.acknowledged.len();
            writer.acknowledged.clear();
        }
        self.kept.extend(news);
        for reader in &mut self.readers {
            reader.check(&self.kept);
        }
    }

    /// Bursts of messages from before the kill are told, from their beginning and from where they were cut.
    async fn check_bursts(&mut self, client: &Client) {
        if self.kept.is_empty() {
            return;
        }
        if let Some(message) = self.cut_burst.take() {
            let id = format!("{}:1", message.id);
            told(client, &message, Some(&id), 2).await;
        }
        let message = self.kept[self.rng.random_range(0..self.kept.len())].clone();
        // Its second event comes in a second: the kill is sooner.
        told(client, &message, None, 1).await;
        self.cut_burst = Some(message);
    }
}

/// Asserts that a message's burst begins, or goes on, with this repeat.
async fn told(client: &Client, message: &Message, last_event_id: Option<&str>, repeat: u32) {
    let mut burst = client.open(&message.stream, last_event_id).await.expect("a stream");
    let event = burst.next().await.expect("an event");
    assert_eq!(event.id, format!("{}:{repeat}", message.id));
    let arrival: Arrival = serde_json::from_str(&event.data).expect("an arrival");
    assert_eq!((arrival.message, arrival.repeat), (message.message.clone(), repeat));
}

/// Publishes one message after the other, each when the one before is acknowledged.
struct Writer {
    number: usize,
    sent: u64,
    rng: StdRng,
    /// Text and id of each that was acknowledged since the last check.
    acknowledged: Vec<(String, String)>,
}

impl Writer {
    fn new(number: usize, seed: u64) -> Self {
        Self { number, sent: 0, rng: StdRng::seed_from_u64(seed), acknowledged: Vec::new() }
    }

    /// Until the program dies.
    async fn publish(mut self, client: Client, dying: Arc<AtomicBool>) -> Self {
        loop {
            let text = self.text();
            match client.publish(&text).await {
                Ok(answer) => {
                    assert_eq!(answer.status, 200, "{answer:?}");
                    self.acknowledged.push((text, answer.body));
                }
                Err(error) => {
                    assert!(dying.load(Ordering::SeqCst), "a publish failed while the program was well: {error}");
                    return self;
                }
            }
        }
    }

    /// The next text: who, the how manieth, and sometimes much more.
    fn text(&mut self) -> String {
        self.sent += 1;
        let longest = if self.rng.random_bool(0.1) { 4000 } else { 100 };
        format!("{} {} {}", self.number, self.sent, "x".repeat(self.rng.random_range(0..longest)))
    }

    /// The number of a text, if it is this writer's.
    fn sequence(&self, text: &str) -> Option<u64> {
        let mut words = text.split(' ');
        let writer: usize = words.next()?.parse().ok()?;
        (writer == self.number).then(|| words.next()?.parse().ok()).flatten()
    }
}

/// Follows the feed, and comes back with the last id it has seen.
struct Reader {
    rng: StdRng,
    last_event_id: String,
    /// How many messages it has had that are known to be right.
    seen: usize,
    /// What it has had since then.
    fresh: Vec<Message>,
    connections: usize,
}

impl Reader {
    fn new(seed: u64) -> Self {
        let rng = StdRng::seed_from_u64(seed);
        Self { rng, last_event_id: EARLIEST.into(), seen: 0, fresh: Vec::new(), connections: 0 }
    }

    /// Until the program dies. Sometimes it leaves by itself and comes back.
    async fn follow(mut self, client: Client, dying: Arc<AtomicBool>) -> Self {
        let is_dying = || dying.load(Ordering::SeqCst);
        loop {
            let mut events = match client.open(FEED, Some(&self.last_event_id)).await {
                Ok(events) => events,
                Err(error) => {
                    assert!(is_dying(), "a stream could not be opened while the program was well: {error}");
                    return self;
                }
            };
            self.connections += 1;
            for _ in 0..self.rng.random_range(1..500) {
                let Some(message) = events.message().await else {
                    assert!(is_dying(), "a stream ended while the program was well");
                    return self;
                };
                self.take(message);
            }
        }
    }

    /// Reads until it has all that is kept.
    async fn catch_up(&mut self, client: &Client, kept: &[Message]) {
        let mut events = client.open(FEED, Some(&self.last_event_id)).await.expect("a stream");
        self.connections += 1;
        for message in events.messages(kept.len() - self.seen).await {
            self.take(message);
        }
        self.check(kept);
    }

    fn take(&mut self, message: Message) {
        self.last_event_id.clone_from(&message.id);
        self.fresh.push(message);
    }

    /// Holds what it has had against what is kept.
    fn check(&mut self, kept: &[Message]) {
        for (at, message) in (self.seen..).zip(self.fresh.drain(..)) {
            assert_eq!(Some(&message), kept.get(at), "message {at} of a reader is not message {at} of the log");
            self.seen = at + 1;
        }
    }
}
