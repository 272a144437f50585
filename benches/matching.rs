//! What publishing to one topic costs when others listen to other things: `cargo bench --bench matching`.
//!
//! A full hub has 10,000 subscribers on 10,000 topics and 1,000 with a URL pattern each, besides the ten that listen to
//! the topic; a bare one has those ten alone. Both run in turn in the same process, without HTTP and without a disk.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use tidings::server::hub::{Delivery, Hub, HubOptions, MatchType, Matcher, Matchers, Start, Subscription};
use tidings::server::log::{MemoryLog, Topic, Update};

/// Subscribers of the topic that is published to.
const OWN: usize = 10;
/// Subscribers of other topics, one each.
const OTHERS: usize = 10_000;
/// Subscribers with a pattern of their own.
const PATTERNS: usize = 1_000;
/// Publishes of one round, and how many rounds each hub has.
const PUBLISHES: usize = 2_000;
const ROUNDS: usize = 15;
/// The goal: how many times what the bare hub takes.
const GOAL: f64 = 2.0;

/// The topic of all that is published.
const TOPIC: &str = "https://example.com/news/today";

struct Bench {
    hub: Hub,
    own: Vec<Subscription>,
    /// Open, and never woken.
    _others: Vec<Subscription>,
}

impl Bench {
    fn new(others: usize, patterns: usize) -> Self {
        let (log, tail) = MemoryLog::open(10_000);
        let hub = Hub::open(log, tail, HubOptions::default());
        let open = |match_type, text: &str| {
            let matcher = Matcher::parse(match_type, text, hub.patterns()).expect("a matcher");
            hub.subscribe(Matchers::new(&[matcher], std::sync::Arc::default()), Start::Now)
        };
        let own = (0..OWN).map(|_| open(MatchType::Exact, TOPIC)).collect();
        let exact = (0..others).map(|n| open(MatchType::Exact, &format!("https://example.com/books/{n}")));
        let by_pattern =
            (0..patterns).map(|n| open(MatchType::UrlPattern, &format!("https://example.com/authors/{n}/:book")));
        let others = exact.chain(by_pattern).collect();
        Self { own, _others: others, hub }
    }

    /// Publishes so often, each time waiting until all of the topic's subscribers have heard it.
    async fn round(&mut self, publishes: usize) -> Duration {
        let start = Instant::now();
        for _ in 0..publishes {
            self.hub.publish(update(TOPIC)).await.expect("an entry");
            for subscription in &mut self.own {
                assert!(matches!(subscription.next().await, Some(Delivery::Update(_))));
            }
        }
        start.elapsed()
    }
}

fn update(topic: &str) -> Update {
    let topics = vec![Topic::parse(topic).expect("a topic")];
    Update { topics, data: "x".repeat(200), id: None, event: None, retry: None, private: false, ttl: None }
}

// One thread: the fan-out and the readers take turns, and the machine's other work disturbs both hubs alike.
#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (mut bare, mut full) = (Bench::new(0, 0), Bench::new(OTHERS, PATTERNS));
    let first = full.round(1).await;
    bare.round(PUBLISHES).await;
    full.round(PUBLISHES).await;
    let (mut ratios, mut costs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (alone, among) = (bare.round(PUBLISHES).await, full.round(PUBLISHES).await);
        ratios.push(among.as_secs_f64() / alone.as_secs_f64());
        costs.push((alone, among));
    }
    ratios.sort_by(f64::total_cmp);
    costs.sort();
    let (alone, among) = costs[ROUNDS / 2];
    let each = |round: Duration| round.as_secs_f64() * 1e6 / PUBLISHES as f64;
    println!("matching: a publish to {OWN} subscribers takes {:.1} µs in a hub that has only those", each(alone));
    println!("matching: and {:.1} µs among {OTHERS} others on their topics and {PATTERNS} patterns", each(among));
    println!(
        "matching: ratio median {:.2} ({:.2} to {:.2}), goal below {GOAL}",
        ratios[ROUNDS / 2],
        ratios[0],
        ratios[ROUNDS - 1]
    );
    println!(
        "matching: the first publish to a topic, which is tried with every pattern, took {:.2} ms",
        first.as_secs_f64() * 1e3
    );
}
