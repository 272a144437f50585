//! A server with the demo switched off serves the hub alone.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::Value;
use tidings::server::settings::Options;

use crate::app::{App, Ask, BROWSER, JSON, TEXT};
use crate::description::{Description, fields};

/// The addresses that only the demo serves.
const ADDRESSES: [&str; 9] = [
    "/api/messages",
    "/api/messages/7c9e6679-7425-40de-944b-e07fc1f90ae7",
    "/publish",
    "/stream",
    "/clock",
    "/remote",
    "/sse",
    "/counter",
    "/client/index.html",
];

#[tokio::test]
async fn a_stranger_publishes_nothing_on_a_public_hub() {
    let resource = Some("https://hub.example/.well-known/mercure".to_owned());
    let app = App::start_with(Options { resource, anonymous: Some(false), ..Options::default() }).await;
    for path in ["/publish", "/api/messages"] {
        let detail = app.post(path, TEXT, "from a stranger").await.problem(404);
        assert!(detail.contains("--demo"), "{detail}");
        app.post(path, JSON, r#"{"message":"from a stranger"}"#).await.problem(404);
    }
}

#[tokio::test]
async fn the_demos_addresses_answer_404_and_say_how_to_switch_it_on() {
    let app = without_demo().await;
    for path in ADDRESSES {
        for method in [Method::GET, Method::POST] {
            let detail = app.request(method, path).answer().await.problem(404);
            assert!(detail.contains(path) && detail.contains("--demo"), "{detail}");
        }
        assert!(app.get_as(BROWSER, path).await.html(404).contains(path));
    }
}

#[tokio::test]
async fn the_root_is_a_short_page_that_leads_to_the_description() {
    let app = without_demo().await;
    let answer = app.get_as(BROWSER, "/").await;
    let page = answer.html(200);
    assert!(page.contains("href=\"/docs\"") && !page.contains("<form"), "{page}");
    assert!(answer.header("vary").contains("accept"), "{answer:?}");
    app.get("/docs").await.html(200);
}

#[tokio::test]
async fn the_welcome_document_links_to_what_is_served_and_to_nothing_else() {
    let app = without_demo().await;
    let welcome: Value = app.get_as(JSON, "/").await.assert_status(200).json();
    let links: Vec<_> = fields(&welcome["links"]).map(|(_, link)| link.as_str().expect("a link")).collect();
    for link in ["/.well-known/mercure", "/api/ping", "/openapi.json", "/docs"] {
        assert!(links.contains(&link), "{link} is not in {welcome}");
    }
    for link in links {
        let status = app.head(link).await.status;
        // The hub needs a matcher.
        assert_eq!(status, if link == "/.well-known/mercure" { 400 } else { 200 }, "{link}");
    }
}

#[tokio::test]
async fn the_description_has_the_hubs_addresses_alone() {
    let (hub, whole) = (without_demo().await, App::start().await);
    let (hub, whole) = (Description::of(&hub).await, Description::of(&whole).await);
    let addresses = |description: &Description| -> BTreeSet<String> {
        fields(&description.0["paths"]).map(|(path, _)| path.to_owned()).collect()
    };
    let demo: BTreeSet<_> = addresses(&whole).difference(&addresses(&hub)).cloned().collect();
    let expected: BTreeSet<_> =
        ADDRESSES.map(|path| path.replace("7c9e6679-7425-40de-944b-e07fc1f90ae7", "{id}")).into();
    assert_eq!(demo, expected);
    assert!(!hub.0["tags"].to_string().contains("messages"), "{}", hub.0["tags"]);
}

#[tokio::test]
async fn the_health_check_is_answered() {
    without_demo().await.get("/api/ping").await.assert_status(200);
}

async fn without_demo() -> App {
    App::start_with(Options { demo: Some(false), ..Options::default() }).await
}
