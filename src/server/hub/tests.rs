//! The seam between history and what is live: whoever reads on from a cursor gets what follows it, in order,
//! once, or is told that some of it is gone.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime;
use tokio::task::yield_now;
use tokio::time::timeout;

use super::{Delivery, Hub, HubOptions, Matchers, Start, Subscription, TailCacheSize};
use crate::server::log::{Cursor, Entry, MemoryLog, Topic, Update};

const TOPICS: [&str; 3] = ["a", "b", "c"];

fn hub(keep: usize) -> Hub {
    let (log, tail) = MemoryLog::open(keep);
    // A session that is further behind reads from the log: that is to be seen here too.
    let tail_cache = TailCacheSize { entries: 8, ..TailCacheSize::default() };
    Hub::open(log, tail, HubOptions { tail_cache, ..HubOptions::default() })
}

fn topics(names: &[&str]) -> Vec<Topic> {
    names.iter().map(|name| Topic::parse(name).expect("a topic")).collect()
}

async fn publish(hub: &Hub, names: &[&str]) -> Arc<Entry> {
    let update = Update {
        topics: topics(names),
        data: "data".into(),
        id: None,
        event: None,
        retry: None,
        private: false,
        ttl: None,
    };
    hub.publish(update).await.expect("an entry")
}

async fn next(subscription: &mut Subscription) -> Delivery {
    let delivery = timeout(Duration::from_secs(20), subscription.next()).await;
    delivery.expect("a delivery in time").expect("an open log")
}

/// What somebody reads, and how often they stop and come back.
#[derive(Clone, Debug)]
struct Plan {
    topics: Vec<&'static str>,
    legs: Vec<Leg>,
}

/// One subscription: where it begins, how much it reads, and how often it lets others go first.
#[derive(Clone, Copy, Debug)]
struct Leg {
    from: From,
    deliveries: usize,
    pause: usize,
}

#[derive(Clone, Copy, Debug)]
enum From {
    Now,
    Last,
    Lost,
    /// As far back as this many hundredths of what there is.
    Back(u64),
}

/// What one subscription heard. It hears nothing up to `earliest`, and everything after `latest`.
struct Heard {
    topics: Vec<&'static str>,
    lost: bool,
    earliest: Cursor,
    latest: Cursor,
    /// The updates after `earliest` that were not acknowledged when it began: it hears those too.
    unacknowledged: Unacknowledged,
    deliveries: Vec<Delivery>,
}

#[derive(Clone)]
enum Unacknowledged {
    /// All but these.
    AllBut(HashSet<Cursor>),
    /// On several threads a publisher may be about to note that its update was acknowledged.
    Unknown,
}

/// The updates that publishers know to be acknowledged.
type Acknowledged = Arc<Mutex<HashSet<Cursor>>>;

fn plans() -> impl Strategy<Value = Vec<Plan>> {
    let from = prop_oneof![
        3 => Just(From::Last),
        1 => Just(From::Now),
        1 => Just(From::Lost),
        2 => (0..=100_u64).prop_map(From::Back),
    ];
    let leg = (from, 1..30_usize, 0..4_usize).prop_map(|(from, deliveries, pause)| Leg { from, deliveries, pause });
    let topics = prop::sample::subsequence(&TOPICS[..], 1..=TOPICS.len());
    let plan = (topics, prop::collection::vec(leg, 1..6)).prop_map(|(topics, legs)| Plan { topics, legs });
    prop::collection::vec(plan, 1..6)
}

fn publishers() -> impl Strategy<Value = Vec<Vec<(Vec<&'static str>, usize)>>> {
    let topics = prop::sample::subsequence(&TOPICS[..], 1..=2);
    prop::collection::vec(prop::collection::vec((topics, 0..3_usize), 0..80), 1..4)
}

#[test]
fn nothing_is_missed_repeated_or_out_of_order_however_readers_stop_and_come_back() {
    let one = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let many = runtime::Builder::new_multi_thread().worker_threads(3).enable_all().build().expect("a runtime");
    let mut runner = TestRunner::new(Config { cases: 150, ..Config::default() });
    let outcome =
        runner.run(&(2..100_usize, publishers(), plans(), any::<bool>()), |(keep, publishers, plans, alone)| {
            let runtime = if alone { &one } else { &many };
            let (truth, heard) = runtime.block_on(run(keep, publishers, plans, alone));
            heard.iter().try_for_each(|heard| check(&truth, keep, heard))
        });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

/// Publishes and reads, all at once. Answers everything there was, in order, and what each leg heard.
async fn run(
    keep: usize,
    publishers: Vec<Vec<(Vec<&'static str>, usize)>>,
    plans: Vec<Plan>,
    alone: bool,
) -> (Vec<Arc<Entry>>, Vec<Heard>) {
    let hub = hub(keep);
    let acknowledged = Acknowledged::default();
    let known = alone.then(|| acknowledged.clone());
    let mut readers: Vec<_> =
        plans.into_iter().map(|plan| tokio::spawn(read(hub.clone(), plan, known.clone()))).collect();
    let publishing = publishers.into_iter().map(|updates| {
        let (hub, acknowledged) = (hub.clone(), acknowledged.clone());
        tokio::spawn(async move {
            let mut entries = Vec::new();
            for (names, pause) in updates {
                let entry = publish(&hub, &names).await;
                acknowledged.lock().expect("no panic").insert(entry.cursor);
                entries.push(entry);
                pause_for(pause).await;
            }
            entries
        })
    });
    let mut truth = Vec::new();
    for published in publishing.collect::<Vec<_>>() {
        truth.extend(published.await.expect("no panic"));
    }
    // As long as somebody wants to read more, there is more.
    while readers.iter().any(|reader| !reader.is_finished()) {
        let entry = publish(&hub, &TOPICS).await;
        acknowledged.lock().expect("no panic").insert(entry.cursor);
        truth.push(entry);
        yield_now().await;
    }
    // Nothing comes after the end that could wake a reader who was not woken for it.
    let end = publish(&hub, &TOPICS).await;
    let mut heard = Vec::new();
    for reader in &mut readers {
        let (mut legs, mut last) = reader.await.expect("no panic");
        let deliveries = &mut legs.last_mut().expect("a leg").deliveries;
        while place(deliveries) != Some(end.cursor) {
            deliveries.push(next(&mut last).await);
        }
        heard.extend(legs);
    }
    truth.push(end);
    truth.sort_by_key(|entry| entry.cursor);
    (truth, heard)
}

/// Reads as planned, and answers what was heard and the last subscription.
async fn read(hub: Hub, plan: Plan, acknowledged: Option<Acknowledged>) -> (Vec<Heard>, Subscription) {
    let (mut heard, mut last, mut open) = (Vec::new(), Cursor::START, None);
    for leg in plan.legs {
        let before = hub.log().bounds().newest;
        let fanned_out = hub.shared.sessions.position();
        let unacknowledged = match &acknowledged {
            Some(acknowledged) => Unacknowledged::AllBut(acknowledged.lock().expect("no panic").clone()),
            None => Unacknowledged::Unknown,
        };
        let start = match leg.from {
            From::Now => Start::Now,
            From::Last => Start::After(last),
            From::Lost => Start::Lost,
            From::Back(hundredths) => Start::After(Cursor(before.0 - before.0 * hundredths / 100)),
        };
        let mut subscription = hub.subscribe(Matchers::exact(topics(&plan.topics)), start);
        let (earliest, latest) = match start {
            Start::Now => (fanned_out, hub.log().bounds().newest),
            Start::After(cursor) => (cursor, cursor),
            Start::Lost => (Cursor::START, Cursor::START),
        };
        let mut deliveries = Vec::new();
        while deliveries.len() < leg.deliveries {
            deliveries.push(next(&mut subscription).await);
            pause_for(leg.pause).await;
        }
        last = place(&deliveries).unwrap_or(latest);
        let lost = start == Start::Lost;
        heard.push(Heard { topics: plan.topics.clone(), lost, earliest, latest, unacknowledged, deliveries });
        open = Some(subscription);
    }
    (heard, open.expect("a leg"))
}

/// The cursor of the last update that was delivered.
fn place(deliveries: &[Delivery]) -> Option<Cursor> {
    deliveries.iter().rev().find_map(|delivery| match delivery {
        Delivery::Update(entry) => Some(entry.cursor),
        Delivery::Gap { .. } => None,
    })
}

async fn pause_for(turns: usize) {
    for _ in 0..turns {
        yield_now().await;
    }
}

/// Each update is the next one that was wanted, or a gap stands before it that says which it is.
fn check(truth: &[Arc<Entry>], keep: usize, heard: &Heard) -> Result<(), TestCaseError> {
    let wanted: Vec<_> =
        truth.iter().filter(|entry| entry.topics.iter().any(|t| heard.topics.contains(&t.as_str()))).collect();
    let (mut earliest, mut latest, mut gap) = (heard.earliest, heard.latest, None);
    prop_assert!(!heard.lost || matches!(heard.deliveries[0], Delivery::Gap { .. }), "a loss is told first");
    for delivery in &heard.deliveries {
        match delivery {
            Delivery::Gap { oldest } => {
                prop_assert!(heard.lost || truth.len() > keep, "nothing was removed");
                // Where nothing wanted is kept, more can be lost before there is an update to go on with.
                prop_assert!(matches!(gap, None | Some(None)), "a gap says what comes next, and it does");
                gap = Some(oldest.clone());
            }
            Delivery::Update(entry) => {
                prop_assert!(entry.cursor > earliest, "{} comes again, or out of order", entry.cursor);
                prop_assert!(
                    wanted.iter().any(|wanted| wanted.cursor == entry.cursor),
                    "{} is not wanted",
                    entry.cursor
                );
                match gap.take() {
                    Some(Some(oldest)) => prop_assert_eq!(&oldest, &entry.id),
                    Some(None) => {}
                    None => {
                        let is_due = |cursor: Cursor| match &heard.unacknowledged {
                            _ if cursor > latest => true,
                            Unacknowledged::AllBut(known) => cursor > earliest && !known.contains(&cursor),
                            Unacknowledged::Unknown => false,
                        };
                        let missed = wanted.iter().find(|w| w.cursor < entry.cursor && is_due(w.cursor));
                        prop_assert!(missed.is_none(), "{missed:?} is missing before {}", entry.cursor);
                    }
                }
                (earliest, latest) = (entry.cursor, entry.cursor);
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_was_acknowledged_before_a_session_began_is_not_heard_as_new() {
    let hub = hub(10);
    publish(&hub, &["a"]).await;
    hub.catch_up().await;
    let mut subscription = hub.subscribe(Matchers::exact(topics(&["a"])), Start::Now);
    let second = publish(&hub, &["a"]).await;
    assert_eq!(place(&[next(&mut subscription).await]), Some(second.cursor));
}

#[tokio::test]
async fn a_subscriber_is_woken_once_and_only_for_what_it_wants() {
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let hub = hub(100);
    let mut subscription = Box::pin(hub.subscribe(Matchers::exact(topics(&["a"])), Start::Now));
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let waker = Waker::from(count.clone());
    let mut poll = || subscription.as_mut().poll_next(&mut Context::from_waker(&waker));
    assert!(poll().is_pending());
    publish(&hub, &["b"]).await;
    publish(&hub, &["c", "b"]).await;
    yield_now().await;
    assert_eq!(count.0.load(Ordering::Relaxed), 0);
    for names in [&["a"][..], &["b"], &["b", "a"], &["a"]] {
        publish(&hub, names).await;
    }
    yield_now().await;
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
    for _ in 0..3 {
        assert!(matches!(poll(), Poll::Ready(Some(Delivery::Update(_)))));
    }
    assert!(poll().is_pending());
}

#[tokio::test]
async fn nothing_of_the_hub_is_left_when_its_subscribers_have_gone() {
    let hub = hub(100);
    let subscriptions: Vec<_> = (0..100).map(|_| hub.subscribe(Matchers::exact(topics(&TOPICS)), Start::Now)).collect();
    publish(&hub, &["a"]).await;
    drop(subscriptions);
    assert_eq!(Arc::strong_count(&hub.shared), 1);
    assert!(hub.shared.sessions.is_empty());
}

#[tokio::test]
async fn a_reader_who_has_fallen_behind_what_is_kept_is_told_and_goes_on_with_the_oldest() {
    let hub = hub(20);
    let mut subscription = hub.subscribe(Matchers::exact(topics(&["a"])), Start::Now);
    let mut entries = Vec::new();
    for _ in 0..100 {
        entries.push(publish(&hub, &["a"]).await);
    }
    let Delivery::Gap { oldest } = next(&mut subscription).await else { panic!("no gap") };
    assert_eq!(oldest.as_ref(), Some(&entries[80].id));
    for expected in &entries[80..] {
        assert!(matches!(next(&mut subscription).await, Delivery::Update(entry) if entry.cursor == expected.cursor));
    }
}
