//! A restart of the program under the clients of its hub, with presence on: all come back at once, miss nothing, and
//! the list of subscriptions has each of them once. `benches/restart.rs` says how long that takes with 2,000.

mod support;

use std::collections::HashSet;
use std::process::Command;

use futures_util::future::join_all;
use serde_json::Value;
use support::{Client, Events, Program, in_time};
use tempfile::TempDir;
use tidings::wire::paths::{HUB, SUBSCRIPTIONS};
use tokio::net::TcpStream;

const CLIENTS: usize = 200;
const FLAGS: [&str; 2] = ["--presence", "--publish-without-token"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_clients_as_the_system_allows_wait_to_be_accepted_and_none_is_dropped() {
    let data = tempfile::tempdir().expect("a folder");
    let program = Program::start(data.path(), &[]);
    let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").expect("Linux's /proc");
    let count = most.trim().parse::<usize>().expect("a number").min(2000);
    rlimit::increase_nofile_limit(u64::MAX).expect("enough open files");
    // It accepts nothing, as one that has a thousand requests to answer first.
    program.signal("STOP");
    let connections = join_all((0..count).map(|_| TcpStream::connect(program.address())));
    let connections = in_time("all connections", connections).await;
    assert!(connections.iter().all(Result::is_ok));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restart_all_come_back_at_once_miss_nothing_and_the_list_has_each_of_them_once() {
    let data = tempfile::tempdir().expect("a folder");
    let program = Program::start(data.path(), &FLAGS);
    let (client, token) = (program.client(), token(&program, &data));
    let mut streams = join_all((0..CLIENTS).map(|_| back(&client, None))).await;
    let first = publish(&client, "first").await;
    hear(&mut streams, &first).await;
    let before = subscribers(&program, &token, CLIENTS).await;

    let program = program.restart(data.path(), &FLAGS);
    for stream in &mut streams {
        assert_eq!(stream.next().await, None);
    }
    let coming = join_all((0..CLIENTS).map(|_| back(&client, Some(&first))));
    let (mut streams, second) = tokio::join!(coming, publish(&client, "second"));
    hear(&mut streams, &second).await;
    let third = publish(&client, "third").await;
    hear(&mut streams, &third).await;
    let after = subscribers(&program, &token, CLIENTS).await;
    assert!(before.is_disjoint(&after), "a connection is a subscriber of its own");
    drop(streams);
    subscribers(&program, &token, 0).await;
}

/// Subscribes as soon as the program listens.
async fn back(client: &Client, last_event_id: Option<&str>) -> Events {
    let path = format!("{HUB}?match=news");
    let coming = async {
        loop {
            match client.open(&path, last_event_id).await {
                Ok(events) => return events,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    in_time("an open stream", coming).await
}

/// Each hears this update, and nothing else before it.
async fn hear(streams: &mut [Events], id: &str) {
    for stream in streams {
        assert_eq!(stream.next().await.expect("an update").id, id);
    }
}

async fn publish(client: &Client, data: &str) -> String {
    let answer = client.publish_update(&[("topic", "news"), ("data", data)]).await.expect("a running program");
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

/// Who subscribes, once they are so many.
async fn subscribers(program: &Program, token: &str, count: usize) -> HashSet<String> {
    let url = format!("http://{}{SUBSCRIPTIONS}", program.address());
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let counting = async {
        loop {
            let answer = http.get(&url).bearer_auth(token).send().await.expect("a running program");
            let list: Value = serde_json::from_slice(&answer.bytes().await.expect("a list")).expect("JSON");
            let all = list["subscriptions"].as_array().expect("a list");
            assert_eq!(list["total"], all.len());
            if all.len() == count {
                let subscriber = |one: &Value| one["subscriber"].as_str().expect("a subscriber").to_owned();
                let subscribers: HashSet<_> = all.iter().map(subscriber).collect();
                assert_eq!(subscribers.len(), count, "each is there once");
                return subscribers;
            }
            tokio::task::yield_now().await;
        }
    };
    in_time(&format!("a list of {count}"), counting).await
}

/// A token of the program's own that may read who subscribes.
fn token(program: &Program, data: &TempDir) -> String {
    let made = Command::new(env!("CARGO_BIN_EXE_tidings"))
        .args(["token", "--subscribe", SUBSCRIPTIONS, "--listen", &program.address().to_string(), "--data"])
        .arg(data.path())
        .output()
        .expect("the program runs");
    String::from_utf8(made.stdout).expect("a token").trim().to_owned()
}
