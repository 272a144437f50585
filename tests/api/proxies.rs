//! Behind a proxy: who is calling, and under which address.

use reqwest::RequestBuilder;
use tidings::server::settings::Options;

use crate::answer::Answer;
use crate::app::{App, Ask};

const NEWS: &str = "/.well-known/mercure?match=a";

async fn behind_a_proxy(trusted: Option<&str>) -> App {
    let trusted_proxies = trusted.map(|text| text.parse().expect("networks"));
    let anonymous = Some(true);
    App::start_with(Options {
        trusted_proxies,
        anonymous,
        demo: Some(true),
        max_streams: Some(1),
        ..Options::default()
    })
    .await
}

fn forwarded(app: &App, path: &str, name: &str, value: &str) -> RequestBuilder {
    app.stream(path).header(name, value)
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_has_limits_of_its_own() {
    let app = behind_a_proxy(Some("127.0.0.0/8")).await;
    let _first = forwarded(&app, NEWS, "x-forwarded-for", "192.0.2.1").open().await;
    let _second = forwarded(&app, NEWS, "x-forwarded-for", "192.0.2.2").open().await;
    let again: Answer = forwarded(&app, NEWS, "x-forwarded-for", "198.51.100.1, 192.0.2.1").answer().await;
    again.problem(429);
}

#[tokio::test]
async fn what_a_stranger_says_of_itself_changes_nothing() {
    for trusted in [None, Some("10.0.0.0/8")] {
        let app = behind_a_proxy(trusted).await;
        let _first = forwarded(&app, NEWS, "x-forwarded-for", "192.0.2.1").open().await;
        forwarded(&app, NEWS, "x-forwarded-for", "192.0.2.2").answer().await.problem(429);
        let docs = forwarded(&app, "/docs", "x-forwarded-proto", "https").header("accept", "text/html").answer().await;
        assert!(docs.html(200).contains(&format!("curl http://{}/api/ping", app.address)));
    }
}

#[tokio::test]
async fn links_and_commands_have_the_address_that_the_client_has_used() {
    let app = behind_a_proxy(Some("127.0.0.1")).await;
    let request = app.stream("/docs").header("accept", "text/html");
    let docs = request.header("x-forwarded-host", "hub.example").header("x-forwarded-proto", "https").answer().await;
    assert!(docs.html(200).contains("curl https://hub.example/api/ping"));
}
