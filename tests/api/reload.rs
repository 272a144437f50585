//! What takes effect while the server runs, for who is connected too.

use reqwest::Method;
use tidings::server::settings::Options;

use crate::app::{App, Ask, in_time};

const HUB: &str = "/.well-known/mercure";

#[tokio::test]
async fn limits_origins_and_what_needs_no_token_change_while_streams_go_on() {
    let app = App::start().await;
    let mut open = app.open(&format!("{HUB}?match=messages")).await;
    app.open(&format!("{HUB}?match=a&match=b")).await;
    app.change(Options {
        anonymous: Some(false),
        cors_origins: Some("https://app.example".parse().expect("origins")),
        max_body: Some(1024),
        max_message: Some(100),
        rate_limit: Some(1),
        ..Options::default()
    });
    app.stream(&format!("{HUB}?match=a")).answer().await.assert_status(401);
    let ask = async |origin| app.request(Method::GET, "/api/ping").header("origin", origin).answer().await;
    assert_eq!(ask("https://app.example").await.header("access-control-allow-origin"), "https://app.example");
    assert!(!ask("https://other.example").await.headers.contains_key("access-control-allow-origin"));
    in_time("a refusal", async { while app.submit("too many").await.status != 429 {} }).await;
    app.post("/publish", "text/plain", " ".repeat(1025)).await.assert_status(413);
    in_time("what was published", open.event()).await;

    app.change(Options { max_matchers: Some(1), max_streams: Some(1), rate_limit: Some(0), ..Options::default() });
    app.post_message("again").await;
    app.stream(&format!("{HUB}?match=a&match=b")).answer().await.problem(400);
    app.stream(&format!("{HUB}?match=a")).answer().await.problem(429);
}

#[tokio::test]
async fn limits_of_connections_and_trusted_proxies_change_for_who_comes_next() {
    let app = App::start().await;
    let _open = app.open("/clock").await;
    let ping = async |address: &str, forwarded: &str| {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        client.get(format!("http://{address}/api/ping")).header("x-forwarded-for", forwarded).answer().await
    };
    let address = app.address.to_string();
    app.change(Options { max_connections_per_client: Some(1), ..Options::default() });
    ping(&address, "192.0.2.1").await.problem(429);
    // A trusted proxy's connections are those of many clients.
    let proxies = Some("127.0.0.1".parse().expect("networks"));
    app.change(Options { max_connections_per_client: Some(1), trusted_proxies: proxies, ..Options::default() });
    ping(&address, "192.0.2.1").await.assert_status(200);
    app.change(Options { max_connections: Some(1), ..Options::default() });
    ping(&address, "192.0.2.1").await.problem(503);
}
