//! The hub, started as the recipes say, and a proxy in front of it.

use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tidings::wire::paths::SUBSCRIPTIONS;
use tokio::time::{sleep, timeout};

use crate::public_client::{HttpVersion, PublicClient};
use crate::recipe::ProxyKind;
use crate::relay::Relay;
use crate::reverse_proxy::ReverseProxy;
use crate::support::Program;

/// The flags of the recipes.
const FLAGS: [&str; 4] = ["--trusted-proxies", "127.0.0.1", "--resource", "https://hub.example.com"];
/// The tests publish and subscribe without tokens.
const NO_TOKENS: [&str; 2] = ["--anonymous", "--publish-without-token"];

const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

/// A hub, and a proxy in front of it.
pub(crate) struct Deployment {
    // Dropped in this order: the proxy stops before the hub.
    proxy: ReverseProxy,
    relay: Option<Relay>,
    hub: Program,
    token: String,
    _data: TempDir,
}

impl Deployment {
    /// Starts the hub with these flags and those of the recipes, then the proxy. `None` if the proxy is not installed.
    pub(crate) async fn start(kind: ProxyKind, flags: &[&str]) -> Option<Self> {
        let (hub, data) = start_hub(flags);
        let proxy = ReverseProxy::start(kind, hub.address()).await?;
        Some(Self { proxy, relay: None, token: token(&hub, &data), hub, _data: data })
    }

    /// Starts both with a relay in between that counts the connections of the proxy.
    pub(crate) async fn start_with_relay(kind: ProxyKind, flags: &[&str]) -> Option<Self> {
        let (hub, data) = start_hub(flags);
        let relay = Relay::start(hub.address()).await;
        let proxy = ReverseProxy::start(kind, relay.address()).await?;
        Some(Self { proxy, relay: Some(relay), token: token(&hub, &data), hub, _data: data })
    }

    /// A client of the proxy, at 127.0.0.1.
    pub(crate) fn client(&self, version: HttpVersion) -> PublicClient {
        self.proxy.client(version, [127, 0, 0, 1])
    }

    /// A client of the proxy over HTTP/1.1 that connects from this address.
    pub(crate) fn client_from(&self, address: [u8; 4]) -> PublicClient {
        self.proxy.client(HttpVersion::Http1, address)
    }

    /// Number of active subscriptions.
    pub(crate) async fn subscriptions(&self) -> usize {
        let list = self.hub.client().get(SUBSCRIPTIONS, &self.token).await.expect("a running program").body;
        let list: Value = serde_json::from_str(&list).expect("JSON");
        list["total"].as_u64().and_then(|total| total.try_into().ok()).expect("a number")
    }

    /// Waits until this number of subscriptions is active.
    pub(crate) async fn wait_for_subscriptions(&self, count: usize) {
        wait_until(&format!("{count} subscriptions"), PATIENCE, async || self.subscriptions().await == count).await;
    }

    /// Number of connections that the proxy has opened to the relay.
    pub(crate) fn connections_to_the_hub(&self) -> usize {
        self.relay.as_ref().expect("a relay").connections()
    }
}

fn start_hub(flags: &[&str]) -> (Program, TempDir) {
    let data = tempfile::tempdir().expect("a folder");
    let hub = Program::start(data.path(), &[&FLAGS[..], &NO_TOKENS[..], flags].concat());
    (hub, data)
}

/// A token that allows listing subscriptions.
fn token(hub: &Program, data: &TempDir) -> String {
    let [_, _, resource @ ..] = FLAGS;
    hub.token(data.path(), &[&["--subscribe", "*"], &resource[..]].concat())
}

/// Polls until the condition is true. Fails after `limit`.
pub(crate) async fn wait_until(what: &str, limit: Duration, condition: impl AsyncFn() -> bool) {
    let waiting = async {
        while !condition().await {
            sleep(PAUSE).await;
        }
    };
    assert!(timeout(limit, waiting).await.is_ok(), "waited {limit:?} in vain for {what}");
}
