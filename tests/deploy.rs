//! The proxy recipes of `docs/deploy`. Each test starts the hub and the real proxy in front of it, with the file that
//! operators copy, and talks to the proxy over TLS. `docs/deploy.md` explains the recipes.
//!
//! A proxy that isn't installed is skipped, or fails its tests if CI_REQUIRE_PROXIES is set.

#[path = "deploy/deployment.rs"]
mod deployment;
#[path = "deploy/public_client.rs"]
mod public_client;
#[path = "deploy/recipe.rs"]
mod recipe;
#[path = "deploy/relay.rs"]
mod relay;
#[path = "deploy/reverse_proxy.rs"]
mod reverse_proxy;
mod support;

use std::time::{Duration, Instant};

use deployment::{Deployment, wait_until};
use futures_util::{StreamExt, stream};
use public_client::HttpVersion::{Http1, Http2};
use recipe::{HOST, ProxyKind};
use support::in_time;
use tokio::time::timeout;

/// Maximum delay of an update that nothing buffers.
const PROMPT: Duration = Duration::from_secs(1);
/// Maximum time for which a subscription stays active after its client has left: less than the default heartbeat.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

const STREAMS: usize = 300;

macro_rules! behind_each_proxy {
    ($($case:ident)*) => {
        behind_each_proxy! { nginx Nginx: $($case)* }
        behind_each_proxy! { haproxy Haproxy: $($case)* }
        behind_each_proxy! { caddy Caddy: $($case)* }
        behind_each_proxy! { apache Apache: $($case)* }
    };
    ($proxy:ident $kind:ident: $($case:ident)*) => {
        mod $proxy {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(super::ProxyKind::$kind).await;
            })*
        }
    };
}

behind_each_proxy! {
    an_update_is_not_held_back
    a_silent_stream_stays_open_and_its_comments_come_as_they_are_sent
    a_stream_is_not_compressed
    a_subscription_ends_when_its_client_leaves
    forged_forwarding_headers_are_ignored
    publishes_share_connections_to_the_hub
    hundreds_of_streams_are_open_at_once
    a_request_without_tls_is_sent_to_https
}

async fn an_update_is_not_held_back(kind: ProxyKind) {
    let Some(deployment) = Deployment::start(kind, &[]).await else { return };
    for version in [Http1, Http2] {
        let client = deployment.client(version);
        let mut stream = client.subscribe(&[]).await;
        let id = client.publish("news").await;
        let arrival = timeout(PROMPT, stream.read_until(&id)).await;
        assert!(arrival.is_ok(), "{version:?}: {:?} has come after {PROMPT:?}, not {id}", stream.text);
    }
}

async fn a_silent_stream_stays_open_and_its_comments_come_as_they_are_sent(kind: ProxyKind) {
    const HEARTBEATS: usize = 3;
    let Some(deployment) = Deployment::start(kind, &["--heartbeat", "300ms"]).await else { return };
    let client = deployment.client(Http1);
    let (mut stream, opened) = (client.subscribe(&[]).await, Instant::now());
    // A stream begins with a comment.
    while stream.text.matches(":\n").count() < 1 + HEARTBEATS {
        stream.read().await;
    }
    let last = opened.elapsed();
    assert!(last < HEARTBEATS as u32 * Duration::from_millis(300) + PROMPT, "the last comment came after {last:?}");
    let id = client.publish("news").await;
    stream.read_until(&id).await;
}

async fn a_stream_is_not_compressed(kind: ProxyKind) {
    let Some(deployment) = Deployment::start(kind, &[]).await else { return };
    for version in [Http1, Http2] {
        let mut stream = deployment.client(version).subscribe(&[("accept-encoding", "gzip, br")]).await;
        assert_eq!(stream.header("content-type"), Some("text/event-stream"));
        assert_eq!(stream.header("content-encoding"), None);
        stream.read_until(":\n").await;
    }
}

async fn a_subscription_ends_when_its_client_leaves(kind: ProxyKind) {
    // Apache notices it only when a write fails, which takes up to two comments.
    let heartbeat = if kind == ProxyKind::Apache { "1s" } else { "15s" };
    let Some(deployment) = Deployment::start(kind, &["--heartbeat", heartbeat]).await else { return };
    for version in [Http1, Http2] {
        let client = deployment.client(version);
        let stream = client.subscribe(&[]).await;
        deployment.wait_for_subscriptions(1).await;
        drop(stream);
        wait_until("the end of the subscription", LEAVE_TIMEOUT, async || deployment.subscriptions().await == 0).await;
        // Over HTTP/2 only the stream has ended; the connection still works.
        client.publish("news").await;
    }
}

async fn forged_forwarding_headers_are_ignored(kind: ProxyKind) {
    let Some(deployment) = Deployment::start(kind, &["--max-streams", "1", "--demo"]).await else { return };
    // Not 127.0.0.1: the hub trusts it, and would believe a client there as it believes the proxy.
    let (first, second) = (deployment.client_from([127, 0, 0, 2]), deployment.client_from([127, 0, 0, 3]));
    let _stream = first.subscribe(&[("x-forwarded-for", "192.0.2.1")]).await;
    for name in ["x-forwarded-for", "forwarded"] {
        let value = if name == "forwarded" { "for=192.0.2.2" } else { "192.0.2.2" };
        let refused = first.get(public_client::NEWS, &[(name, value)]).await;
        assert_eq!(refused.status(), 429, "a forged {name} must not make it another client");
    }
    let _stream = second.subscribe(&[("x-forwarded-for", "192.0.2.1")]).await;

    let forged = [("x-forwarded-host", "evil.example"), ("x-forwarded-proto", "http"), ("accept", "text/html")];
    let docs = in_time("a page", first.get("/docs", &forged).await.text()).await.expect("a page");
    assert!(docs.contains(&format!("curl https://{HOST}")), "commands must have the public origin");
    assert!(!docs.contains("evil.example"), "a forged x-forwarded-host must not appear in the page");
    assert!(!docs.contains(&format!("http://{HOST}")), "a forged x-forwarded-proto must not appear in the page");
}

async fn publishes_share_connections_to_the_hub(kind: ProxyKind) {
    const PUBLISHES: usize = 20;
    let Some(deployment) = Deployment::start_with_relay(kind, &[]).await else { return };
    let before = deployment.connections_to_the_hub();
    for _ in 0..PUBLISHES {
        deployment.client(Http1).publish("news").await;
    }
    let opened = deployment.connections_to_the_hub() - before;
    // Each worker process of nginx and Apache has a pool of its own.
    assert!(opened <= PUBLISHES / 2, "{opened} connections for {PUBLISHES} publishes");
}

async fn hundreds_of_streams_are_open_at_once(kind: ProxyKind) {
    rlimit::increase_nofile_limit(u64::MAX).expect("enough open files");
    let Some(deployment) = Deployment::start(kind, &[]).await else { return };
    let client = deployment.client(Http1);
    let opening = stream::iter(0..STREAMS).map(async |_| client.subscribe(&[]).await);
    let mut streams: Vec<_> = opening.buffer_unordered(20).collect().await;
    deployment.wait_for_subscriptions(STREAMS).await;
    let id = client.publish("news").await;
    for stream in &mut streams {
        stream.read_until(&id).await;
    }
}

async fn a_request_without_tls_is_sent_to_https(kind: ProxyKind) {
    let Some(deployment) = Deployment::start(kind, &[]).await else { return };
    let response = deployment.client(Http1).get_without_tls("/docs").await;
    assert_eq!(response.status(), 308);
    let location = response.headers().get("location").and_then(|value| value.to_str().ok()).expect("a location");
    assert!(location.starts_with(&format!("https://{HOST}")) && location.ends_with("/docs"), "{location}");
}
