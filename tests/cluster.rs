//! Nodes of a cluster: one order, whatever dies.

#[path = "support/nats.rs"]
mod nats;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use nats::{Nats, SECRET};
use tempfile::TempDir;
use tidings::server::log::{
    self, AppendError, Appended, Cursor, Entry, Everything, IdempotencyKey, Log, LogOptions, PageSize, Storage, Topic,
    Update,
};
use tokio::time::{sleep, timeout};

/// Long enough for a busy machine. Only a failing test waits this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node, with its copy in a folder that outlives it.
struct Node {
    log: Arc<dyn Log>,
    folder: Arc<TempDir>,
}

impl Node {
    fn new(nats: &Nats) -> Self {
        Self::open(nats, Arc::new(tempfile::tempdir().expect("a folder")), SECRET).expect("a log")
    }

    fn open(nats: &Nats, folder: Arc<TempDir>, secret: &str) -> Result<Self, log::OpenError> {
        let cluster = nats.node(secret);
        let storage = Storage::Disk { folder: folder.path().join("log") };
        let (log, mut tail) = log::open(LogOptions { storage, cluster: Some(cluster), ..LogOptions::memory() })?;
        tokio::spawn(async move { while tail.recv().await.is_some() {} });
        Ok(Self { log, folder })
    }

    /// Ends this node, and leaves what it had.
    fn stop(self) -> Arc<TempDir> {
        self.folder
    }

    /// Starts a node with what another one has left.
    async fn start_with(nats: &Nats, folder: Arc<TempDir>) -> Self {
        within("the folder is free", async || Self::open(nats, folder.clone(), SECRET).ok()).await
    }

    async fn is_ready(&self) {
        within("the node is ready", async || self.log.health().ok()).await;
    }

    async fn publish(&self, data: &str) -> Result<Cursor, AppendError> {
        Ok(self.log.append(vec![update(data)], None).await?.into_entries()[0].cursor)
    }

    /// Publishes, again and again while the cluster does not take it.
    async fn publish_at_last(&self, data: &str, key: u64) {
        let key = Some(IdempotencyKey(std::array::from_fn(|index| (key >> (8 * (index % 8))) as u8)));
        within("an update is taken", async || self.log.append(vec![update(data)], key).await.ok()).await;
    }

    async fn all(&self) -> Vec<Arc<Entry>> {
        let mut reader = self.log.reader(Cursor::START, Arc::new(Everything));
        let mut entries = Vec::new();
        loop {
            let page = reader.next(PageSize { entries: 1000, bytes: usize::MAX }).await.expect("a page");
            entries.extend(page.entries);
            if !page.more {
                return entries;
            }
        }
    }

    async fn data(&self) -> Vec<String> {
        self.all().await.iter().map(|entry| entry.data().into_owned()).collect()
    }

    /// Waits until it has so many entries, and gives them.
    async fn has(&self, count: usize) -> Vec<Arc<Entry>> {
        within("a node has everything", async || Some(self.all().await).filter(|all| all.len() >= count)).await
    }
}

fn update(data: &str) -> Update {
    Update {
        topics: vec![Topic::parse("a").expect("a topic")],
        data: data.into(),
        id: None,
        event: None,
        retry: None,
        private: false,
        ttl: None,
    }
}

/// What comes of it at last.
async fn within<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let attempts = async {
        loop {
            if let Some(done) = attempt().await {
                return done;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, attempts).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}

fn assert_same(one: &[Arc<Entry>], other: &[Arc<Entry>]) {
    assert_eq!(one.len(), other.len());
    one.iter().zip(other).for_each(|(one, other)| assert_eq!(one, other));
}

macro_rules! nats {
    ($count:expr) => {
        match Nats::start($count) {
            Some(nats) => nats,
            None => return,
        }
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_any_node_publishes_is_the_same_on_all_in_one_order() {
    let nats = nats!(1);
    let nodes = [Node::new(&nats), Node::new(&nats), Node::new(&nats)];
    join_all(nodes.iter().map(Node::is_ready)).await;
    let publishing = nodes.iter().enumerate().map(async |(node, of)| {
        for number in 0..50 {
            of.publish(&format!("{node} {number}")).await.expect("a cluster");
        }
    });
    join_all(publishing).await;
    let [first, second, third] = [nodes[0].has(150).await, nodes[1].has(150).await, nodes[2].has(150).await];
    assert_same(&first, &second);
    assert_same(&first, &third);
    for node in 0..3 {
        let prefix = format!("{node} ");
        let of: Vec<_> =
            first.iter().filter_map(|entry| entry.data().strip_prefix(&prefix)?.parse::<u32>().ok()).collect();
        assert_eq!(of, (0..50).collect::<Vec<_>>(), "one publisher's updates keep their order");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_of_one_node_leads_to_the_same_place_on_another() {
    let nats = nats!(1);
    let (one, other) = (Node::new(&nats), Node::new(&nats));
    join_all([one.is_ready(), other.is_ready()]).await;
    let cursor = one.publish("x").await.expect("a cluster");
    let id = one.all().await[0].id.clone();
    other.has(1).await;
    assert_eq!(other.log.locate(&id).await.expect("an answer"), Some(cursor));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_that_is_repeated_at_another_node_is_known() {
    let nats = nats!(1);
    let (one, other) = (Node::new(&nats), Node::new(&nats));
    join_all([one.is_ready(), other.is_ready()]).await;
    let key = Some(IdempotencyKey([7; 32]));
    let two = || vec![update("x"), update("y")];
    let [first, second] = [&one, &other].map(|node| node.log.append(two(), key));
    let (first, second) = tokio::join!(first, second);
    let (first, second) = (first.expect("an answer"), second.expect("an answer"));
    let new = [&first, &second].iter().filter(|appended| matches!(appended, Appended::New(_))).count();
    assert_eq!(new, 1);
    assert_eq!(first.into_ids(), second.into_ids());
    let conflict = other.log.append(vec![update("z")], key).await;
    assert!(matches!(conflict, Err(AppendError::Conflict(_))));
    assert_eq!((one.data().await.len(), other.data().await.len()), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_away_gets_what_it_missed_and_keeps_what_it_had() {
    let nats = nats!(1);
    let (one, other) = (Node::new(&nats), Node::new(&nats));
    join_all([one.is_ready(), other.is_ready()]).await;
    one.publish("before").await.expect("a cluster");
    other.has(1).await;
    let folder = other.stop();
    let missed = one.log.append((0..1000).map(|number| update(&number.to_string())).collect(), None).await;
    missed.expect("a cluster");
    for number in 0..100 {
        one.publish(&format!("single {number}")).await.expect("a cluster");
    }
    let other = Node::start_with(&nats, folder).await;
    assert_same(&one.all().await, &other.has(1101).await);
    let late = Node::new(&nats);
    assert_same(&one.all().await, &late.has(1101).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_away_for_longer_than_the_stream_keeps_tells_its_readers_of_the_gap() {
    let nats = nats!(1);
    let (one, other) = (Node::new(&nats), Node::new(&nats));
    join_all([one.is_ready(), other.is_ready()]).await;
    let first = one.publish("first").await.expect("a cluster");
    other.has(1).await;
    let folder = other.stop();
    for number in 0..3 {
        one.publish(&format!("missed {number}")).await.expect("a cluster");
    }
    let client = async_nats::connect(nats.urls()).await.expect("a NATS server");
    let stream = async_nats::jetstream::new(client).get_stream("tidings").await.expect("the stream");
    stream.purge().await.expect("no messages");
    one.publish("kept").await.expect("a cluster");

    let other = Node::start_with(&nats, folder).await;
    other.is_ready().await;
    assert_eq!(other.data().await, ["first", "kept"]);
    let new = Node::new(&nats);
    new.is_ready().await;
    for node in [other, new] {
        let kept = node.all().await.last().expect("an entry").cursor;
        for (from, gap) in [(first, true), (kept.previous(), false), (kept, false)] {
            let page =
                node.log.reader(from, Arc::new(Everything)).next(PageSize { entries: 9, bytes: usize::MAX }).await;
            assert_eq!(page.expect("a page").gap, gap, "after {from}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_another_secret_does_not_take_part() {
    let nats = nats!(1);
    let node = Node::new(&nats);
    node.is_ready().await;
    let folder = Arc::new(tempfile::tempdir().expect("a folder"));
    let stranger = Node::open(&nats, folder, "another secret, and that one is long enough too").expect("a log");
    let reason =
        within("it is told", async || stranger.log.health().err().filter(|e| e.to_string().contains("secret"))).await;
    assert!(matches!(reason, AppendError::Unavailable(_)), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_one_kind_is_refused_for_the_other() {
    let nats = nats!(1);
    let node = Node::new(&nats);
    node.is_ready().await;
    node.publish("x").await.expect("a cluster");
    let folder = node.stop();
    let storage = || Storage::Disk { folder: folder.path().join("log") };
    let alone = |storage| log::open(LogOptions { storage, ..LogOptions::memory() }).map(|_| ());
    let error = within("it is refused", async || {
        alone(storage()).err().map(|error| error.to_string()).filter(|error| !error.contains("another process"))
    })
    .await;
    assert!(error.contains("a copy of a cluster's log"), "{error}");

    let own = Arc::new(tempfile::tempdir().expect("a folder"));
    let (log, _tail) = log::open(LogOptions::disk(own.path().join("log"))).expect("a log");
    log.append(vec![update("x")], None).await.expect("room");
    drop(log);
    let error = Node::open(&nats, own, SECRET).err().expect("a refusal").to_string();
    assert!(error.contains("the log of a single server"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_stream_nothing_is_taken_and_what_is_here_can_be_read() {
    let mut nats = nats!(1);
    let node = Node::new(&nats);
    node.is_ready().await;
    node.publish("before").await.expect("a cluster");
    nats.kill_all();
    let refusal = within("it is refused at once", async || match node.publish("during").await {
        Err(error @ AppendError::Unavailable(_)) => Some(error),
        _ => None,
    })
    .await;
    assert!(node.log.health().is_err(), "{refusal}");
    assert_eq!(node.data().await[0], "before");
    nats.start_all();
    node.is_ready().await;
    node.publish("after").await.expect("a cluster");
    assert_eq!(node.data().await.last().map(String::as_str), Some("after"));
}

/// Publishes through nodes while `trouble` goes on, and checks that all nodes have all of it once, in one order.
async fn survives(nats: &mut Nats, trouble: impl AsyncFnOnce(&mut Nats)) {
    const UPDATES: u64 = 120;
    let nodes = [Node::new(nats), Node::new(nats)];
    join_all(nodes.iter().map(Node::is_ready)).await;
    let publishing = (0..4u64).map(async |publisher| {
        for number in 0..UPDATES / 4 {
            // A publisher that moves from node to node, and repeats with its key what it has no answer to.
            let node = &nodes[(number % 2) as usize];
            node.publish_at_last(&format!("{publisher} {number}"), publisher << 32 | number | 1 << 60).await;
            sleep(Duration::from_millis(40)).await;
        }
    });
    tokio::join!(join_all(publishing), async {
        sleep(Duration::from_millis(300)).await;
        trouble(nats).await;
    });
    let [one, other] = [nodes[0].has(UPDATES as usize).await, nodes[1].has(UPDATES as usize).await];
    assert_same(&one, &other);
    let mut data: Vec<_> = one.iter().map(|entry| entry.data().into_owned()).collect();
    data.sort_unstable();
    data.dedup();
    assert_eq!((data.len(), one.len()), (UPDATES as usize, UPDATES as usize), "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nats_server_that_dies_costs_nothing() {
    let mut nats = nats!(3);
    survives(&mut nats, async |nats| {
        for server in 0..3 {
            nats.kill(server);
            sleep(Duration::from_millis(500)).await;
            nats.start_one(server);
            sleep(Duration::from_millis(1500)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_nats_servers_that_die_at_once_cost_nothing() {
    let mut nats = nats!(3);
    survives(&mut nats, async |nats| {
        nats.kill_all();
        sleep(Duration::from_millis(500)).await;
        nats.start_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nats_server_that_hangs_costs_nothing() {
    let mut nats = nats!(3);
    survives(&mut nats, async |nats| {
        nats.signal(1, "STOP");
        sleep(Duration::from_secs(4)).await;
        nats.signal(1, "CONT");
    })
    .await;
}

/// Copies a folder.
fn copy(from: &std::path::Path, to: &std::path::Path) {
    let status = std::process::Command::new("cp").arg("-a").args([from, to]).status();
    assert!(status.is_ok_and(|status| status.success()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_rolled_back_is_found_out_and_what_it_lost_is_still_here() {
    let mut nats = nats!(1);
    let node = Node::new(&nats);
    node.is_ready().await;
    node.publish("kept").await.expect("a cluster");
    nats.kill_all();
    let (store, backup) = (nats.store(0), nats.store(0).with_extension("backup"));
    copy(&store, &backup);
    nats.start_all();
    node.is_ready().await;
    for number in 0..5 {
        within("it is taken", async || node.publish(&format!("lost {number}")).await.ok()).await;
    }
    let before = node.all().await;
    nats.kill_all();
    std::fs::remove_dir_all(&store).expect("a folder");
    copy(&backup, &store);
    nats.start_all();
    within("the loss is found out", async || {
        node.log.stream().filter(|stream| stream.epoch == 1 && node.log.health().is_ok())
    })
    .await;
    let after = within("it is taken", async || node.publish("after").await.ok()).await;
    assert!(after > before[before.len() - 1].cursor, "what comes now is behind what was lost");
    let data = node.data().await;
    assert_eq!(data, ["kept", "lost 0", "lost 1", "lost 2", "lost 3", "lost 4", "after"]);

    let node = Node::start_with(&nats, node.stop()).await;
    node.is_ready().await;
    assert_eq!((node.data().await, node.log.stream().expect("a cluster").epoch), (data, 1));
    let late = Node::new(&nats);
    late.is_ready().await;
    let late: Vec<_> = late.has(2).await.iter().map(|entry| (entry.data().into_owned(), entry.cursor)).collect();
    assert_eq!((late.len(), &*late[0].0, late[1].1), (2, "kept", after), "the same places, without what is lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_made_anew_is_no_continuation_of_the_old_one() {
    let mut nats = nats!(1);
    let node = Node::new(&nats);
    node.is_ready().await;
    for number in 0..3 {
        node.publish(&number.to_string()).await.expect("a cluster");
    }
    nats.kill_all();
    std::fs::remove_dir_all(nats.store(0)).expect("a folder");
    nats.start_all();
    within("the loss is found out", async || {
        node.log.stream().filter(|stream| stream.epoch == 1 && node.log.health().is_ok())
    })
    .await;
    within("it is taken", async || node.publish("after").await.ok()).await;
    assert_eq!(node.data().await, ["0", "1", "2", "after"]);
}
