//! A page of another site can make a visitor's browser send requests to a server on the visitor's machine: the demo
//! accepts no message from it.

use reqwest::{Method, RequestBuilder};
use tidings::server::settings::Options;
use tidings::wire::message::MessageList;

use crate::app::{App, Ask, BROWSER, FORM, JSON, TEXT, form};

const ELSEWHERE: &str = "https://elsewhere.example";

#[tokio::test]
async fn a_foreign_page_publishes_nothing_however_it_sends_it() {
    let app = App::start().await;
    for (path, media_type) in [("/api/messages", FORM), ("/api/messages", JSON), ("/publish", TEXT)] {
        for (name, value) in [
            ("origin", ELSEWHERE),
            // A sandboxed frame, or a page from a file.
            ("origin", "null"),
            // A page of another server on the same machine.
            ("origin", "http://127.0.0.1:1"),
            ("referer", "https://elsewhere.example/page"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            let detail = post(&app, path, media_type).header(name, value).answer().await.problem(403);
            assert!(detail.contains("--publish-origins"), "{detail}");
        }
    }
    let list: MessageList = app.get("/api/messages").await.json();
    assert_eq!(list.messages, vec![]);
}

#[tokio::test]
async fn a_host_name_that_was_rebound_to_this_server_is_not_its_own() {
    let app = App::start().await;
    let request = post(&app, "/publish", TEXT).header("host", "evil.example:3000");
    request.header("origin", "http://evil.example:3000").answer().await.problem(403);
}

#[tokio::test]
async fn the_servers_own_page_and_scripts_publish() {
    let app = App::start().await;
    let own = format!("http://{}", app.address);
    post(&app, "/api/messages", FORM).header("origin", &own).answer().await.assert_status(201);
    post(&app, "/api/messages", FORM).header("referer", own + "/").answer().await.assert_status(201);
    post(&app, "/publish", TEXT).header("sec-fetch-site", "none").answer().await.assert_status(200);
    post(&app, "/publish", TEXT).answer().await.assert_status(200);
}

#[tokio::test]
async fn a_page_publishes_from_an_origin_that_the_operator_allows() {
    let publish_origins = Some(ELSEWHERE.parse().expect("an origin"));
    let app = App::start_with(Options { publish_origins, ..Options::default() }).await;
    let request = post(&app, "/api/messages", JSON).header("origin", ELSEWHERE);
    request.header("sec-fetch-site", "cross-site").answer().await.assert_status(201);
    post(&app, "/api/messages", JSON).header("origin", "https://other.example").answer().await.problem(403);
}

#[tokio::test]
async fn a_foreign_form_gets_the_page_without_its_text() {
    let app = App::start().await;
    let request = post(&app, "/api/messages", FORM).header("origin", ELSEWHERE).header("accept", BROWSER);
    let answer = request.answer().await;
    let page = answer.html(403);
    assert!(page.contains("may not publish here") && !page.contains("foreign words"), "{page}");
}

#[tokio::test]
async fn foreign_pages_read_everything_of_the_demo() {
    let app = App::start().await;
    app.post_message("Hello").await;
    for path in ["/sse", "/clock", "/stream", "/counter", "/api/messages"] {
        let stream = app.stream(path).header("origin", ELSEWHERE).header("sec-fetch-site", "cross-site");
        assert_eq!(stream.open().await.headers["access-control-allow-origin"], "*", "{path}");
    }
    let list = app.request(Method::GET, "/api/messages").header("origin", ELSEWHERE).answer().await;
    assert_eq!(list.json::<MessageList>().messages.len(), 1);
}

fn post(app: &App, path: &str, media_type: &str) -> RequestBuilder {
    let body = match media_type {
        FORM => form("foreign words"),
        JSON => r#"{"message":"foreign words"}"#.to_owned(),
        _ => "foreign words".to_owned(),
    };
    app.request(Method::POST, path).header("content-type", media_type).body(body)
}
