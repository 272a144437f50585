//! Whole servers that are nodes of a cluster, as clients see them.

#[path = "support/nats.rs"]
mod nats;
mod support;

use std::path::Path;
use std::process::Command;

use nats::Nats;
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use support::{Program, in_time};
use tempfile::TempDir;
use tidings::wire::paths::{HUB, READY, REVOCATIONS, SUBSCRIPTIONS, TICKETS};

/// Two nodes, whose clients come through one balancer.
struct Nodes {
    programs: [Program; 2],
    folder: TempDir,
    client: Client,
    nats: Nats,
}

impl Nodes {
    /// `None` where there is no NATS server.
    async fn start() -> Option<Self> {
        let nats = Nats::start(1)?;
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("secret"), nats::SECRET).expect("room");
        let programs = ["one", "two"].map(|name| start(&nats, folder.path(), name));
        let client = Client::builder().no_proxy().build().expect("a client");
        let nodes = Self { programs, folder, client, nats };
        for node in 0..2 {
            nodes.is_ready(node).await;
        }
        Some(nodes)
    }

    fn url(&self, node: usize, path: &str) -> String {
        format!("http://{}{path}", self.programs[node].address())
    }

    async fn is_ready(&self, node: usize) -> Value {
        in_time("the node is ready", async {
            loop {
                let answer = self.client.get(self.url(node, READY)).send().await.expect("an answer");
                let is_ready = answer.status() == StatusCode::OK;
                let report = answer.json().await.expect("JSON");
                if is_ready {
                    return report;
                }
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        })
        .await
    }

    /// A token that a node's own folder makes.
    fn token(&self, node: usize, flags: &[&str]) -> String {
        let data = self.folder.path().join(["one", "two"][node]);
        let resource = ["--resource", RESOURCE];
        self.programs[node].token(&data, &[&resource, flags].concat())
    }

    async fn publish(&self, node: usize, topic: &str, data: &str) -> String {
        let token = self.token(1 - node, &["--publish", "*"]);
        let body = encoded(&[("topic", topic), ("data", data)]);
        let request = self.client.post(self.url(node, HUB)).bearer_auth(token).body(body);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK);
        answer.text().await.expect("an id")
    }

    /// Runs `tidings cluster` with the settings of a node, and returns what it prints.
    fn command(&self, args: &[&str]) -> String {
        let secret = self.folder.path().join("secret");
        let output = Command::new(env!("CARGO_BIN_EXE_tidings"))
            .arg("cluster")
            .args(args)
            .args(["--cluster", &self.nats.urls(), "--cluster-secret-file"])
            .arg(secret)
            .output()
            .expect("the program starts");
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{err}");
        format!("{out}{err}")
    }

    /// What is subscribed to, as a node lists it.
    async fn list(&self, node: usize, token: &str) -> Vec<String> {
        let answer = self.client.get(self.url(node, SUBSCRIPTIONS)).bearer_auth(token).send().await.expect("an answer");
        let list: Value = answer.json().await.expect("JSON");
        let active = list["subscriptions"].as_array().expect("a list").iter();
        let text = |active: &Value| active["match"].as_str().expect("a text").rsplit('/').next().map(str::to_owned);
        let mut texts: Vec<_> = active.filter_map(text).collect();
        texts.sort_unstable();
        assert_eq!(list["total"], texts.len());
        texts
    }

    async fn subscribe(&self, node: usize, token: &str, more: &[(&str, &str)]) -> Response {
        let request = self.client.get(self.url(node, &format!("{HUB}?{}", encoded(more)))).bearer_auth(token);
        in_time("a stream", request.send()).await.expect("an answer")
    }
}

const RESOURCE: &str = "http://hub.test/.well-known/mercure";

fn start(nats: &Nats, folder: &Path, name: &str) -> Program {
    let (servers, secret) = (nats.urls(), folder.join("secret").display().to_string());
    let flags = [
        &["--cluster", &servers, "--cluster-secret-file", &secret, "--cluster-replicas", "1"][..],
        &["--cluster-node", name, "--resource", RESOURCE],
    ]
    .concat();
    Program::start(&folder.join(name), &flags)
}

fn encoded(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// What a stream says until these words have come.
async fn until(stream: &mut Response, words: &str) -> String {
    in_time("an event", async {
        let mut text = String::new();
        while !text.contains(words) {
            let chunk = stream.chunk().await.expect("a stream").expect("more");
            text.push_str(&String::from_utf8_lossy(&chunk));
        }
        text
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_hears_what_is_published_at_another_node_and_moves_there_with_its_last_id() {
    let Some(nodes) = Nodes::start().await else { return };
    let token = nodes.token(0, &["--subscribe", "*"]);
    let mut stream = nodes.subscribe(0, &token, &[("match", "a")]).await;
    assert_eq!(stream.status(), StatusCode::OK);
    let id = nodes.publish(1, "a", "first").await;
    let text = until(&mut stream, "data: first\n").await;
    assert!(text.contains(&format!("id: {id}\n")), "{text}");

    nodes.programs[0].signal("KILL");
    for number in 0..3 {
        nodes.publish(1, "a", &format!("missed {number}")).await;
    }
    let mut stream = nodes.subscribe(1, &token, &[("match", "a"), ("last_event_id", &id)]).await;
    let text = until(&mut stream, "data: missed 2\n").await;
    let data: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    assert_eq!(data, ["missed 0", "missed 1", "missed 2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_revoked_at_one_node_ends_its_streams_on_all_and_is_refused_there() {
    let Some(nodes) = Nodes::start().await else { return };
    let token = nodes.token(0, &["--subscribe", "*", "--id", "t1"]);
    let mut stream = nodes.subscribe(1, &token, &[("match", "a")]).await;
    assert_eq!(stream.status(), StatusCode::OK);
    let admin = nodes.token(0, &["--revoke"]);
    let revocation = nodes.client.post(nodes.url(0, REVOCATIONS)).bearer_auth(admin).json(&json!({ "jti": "t1" }));
    assert_eq!(revocation.send().await.expect("an answer").status(), StatusCode::OK);
    in_time("the stream's end", async { while let Ok(Some(_)) = stream.chunk().await {} }).await;
    for node in 0..2 {
        let refused = nodes.subscribe(node, &token, &[("match", "a")]).await;
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED, "node {node}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_of_one_node_opens_one_stream_on_any() {
    let Some(nodes) = Nodes::start().await else { return };
    let token = nodes.token(0, &["--subscribe", "*"]);
    let answer = nodes.client.post(nodes.url(0, TICKETS)).bearer_auth(token).send().await.expect("an answer");
    let answer: Value = answer.json().await.expect("JSON");
    let ticket = answer["ticket"].as_str().expect("a ticket");
    let open = async |node| {
        let query = encoded(&[("match", "a"), ("ticket", ticket)]);
        let request = nodes.client.get(nodes.url(node, &format!("{HUB}?{query}")));
        in_time("a stream", request.send()).await.expect("an answer")
    };
    let first = open(1).await;
    assert_eq!(first.status(), StatusCode::OK);
    for node in 0..2 {
        assert_ne!(open(node).await.status(), StatusCode::OK, "node {node}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_subscriptions_is_the_clusters_and_what_a_dead_node_had_ends_with_its_events() {
    let Some(nodes) = Nodes::start().await else { return };
    let token = nodes.token(0, &["--subscribe", "*"]);
    let mut events = nodes.subscribe(1, &token, &[("match_urlpattern", "/.well-known/mercure/subscriptions/*")]).await;
    assert_eq!(events.status(), StatusCode::OK);
    let mut first = nodes.subscribe(0, &token, &[("match", "a")]).await;
    let second = nodes.subscribe(0, &token, &[("match", "b")]).await;
    until(&mut events, "subscriptions/exact/b/").await;
    for node in 0..2 {
        assert_eq!(nodes.list(node, &token).await, ["*", "a", "b"], "node {node}");
    }
    drop(second);
    let text = until(&mut events, "\"active\":false").await;
    assert!(text.contains("exact/b/"), "{text}");
    assert_eq!(nodes.list(1, &token).await, ["*", "a"]);

    nodes.programs[0].signal("KILL");
    while let Ok(Some(_)) = first.chunk().await {}
    let text = until(&mut events, "\"active\":false").await;
    assert!(text.contains("exact/a/"), "{text}");
    assert_eq!(nodes.list(1, &token).await, ["*"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exported_log_is_imported_with_its_ids_and_the_status_shows_every_node() {
    let Some(nodes) = Nodes::start().await else { return };
    let file = nodes.folder.path().join("updates.jsonl");
    let line = |n: u32| json!({ "id": format!("id{n}"), "topics": ["a"], "at": "2026-01-02T03:04:05Z", "data": format!("old {n}") });
    let lines: String = (0..3000).map(|n| format!("{}\n", line(n))).collect();
    std::fs::write(&file, lines).expect("room");
    let imported = nodes.command(&["import", &file.display().to_string()]);
    assert!(imported.contains("3000 updates imported"), "{imported}");
    let token = nodes.token(0, &["--subscribe", "*"]);
    for node in 0..2 {
        let mut stream = nodes.subscribe(node, &token, &[("match", "a"), ("last_event_id", "id2997")]).await;
        let text = until(&mut stream, "data: old 2999\n").await;
        let data: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        assert_eq!(data, ["old 2998", "old 2999"], "node {node}");
    }
    let lines =
        ["stream   tidings: ", "epochs   0@1\n", "server   n0: leader, current\n", "node     one: ", "node     two: "];
    // On a busy machine a node's report may come too late for the first.
    let mut statuses = (0..10).map(|_| nodes.command(&["status"]));
    assert!(statuses.any(|status| lines.iter().all(|line| status.contains(line))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_says_how_it_stands_in_its_cluster() {
    let Some(nodes) = Nodes::start().await else { return };
    nodes.publish(0, "a", "x").await;
    let report = nodes.is_ready(1).await;
    let cluster = &report["parts"]["cluster"];
    assert_eq!(cluster["status"], "warning", "{report}");
    let detail = cluster["detail"].as_str().expect("a detail");
    assert!(detail.contains("only one NATS server") && detail.contains("epoch 0"), "{detail}");
}
