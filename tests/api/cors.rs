//! Which origins may read: all by default, or those of a list.

use reqwest::Method;
use reqwest::header::HeaderMap;
use tidings::server::settings::Options;

use crate::answer::header;
use crate::app::{App, Ask};

const ORIGIN: &str = "access-control-allow-origin";

#[tokio::test]
async fn every_origin_may_read_documents_streams_and_errors() {
    let app = App::start().await;
    for path in ["/api/ping", "/", "/api/messages", "/client/index.html", "/nothing", "/stream?message=nobody"] {
        assert_eq!(headers(&app, Method::GET, path, "https://elsewhere.example").await[ORIGIN], "*", "{path}");
    }
    assert_eq!(headers(&app, Method::GET, "/publish", "https://elsewhere.example").await[ORIGIN], "*");
    let stream = app.stream("/clock").header("origin", "https://elsewhere.example").open().await;
    assert_eq!(stream.headers[ORIGIN], "*");
    let created = app.submit("Hello").await;
    assert_eq!(created.header(ORIGIN), "*");
    assert!(created.header("access-control-expose-headers").contains("location"), "{created:?}");
}

#[tokio::test]
async fn a_preflight_allows_what_the_addresses_take() {
    let app = App::start().await;
    for (path, method, wants) in [
        ("/api/messages", "POST", "content-type"),
        ("/publish", "POST", "content-type"),
        ("/stream", "GET", "last-event-id,cache-control"),
    ] {
        let request = app.request(Method::OPTIONS, path).header("origin", "https://elsewhere.example");
        let request = request.header("access-control-request-method", method);
        let answer = request.header("access-control-request-headers", wants).answer().await;
        assert_eq!(answer.assert_status(200).header(ORIGIN), "*");
        assert!(answer.header("access-control-allow-methods").contains(method), "{answer:?}");
        let allowed = answer.header("access-control-allow-headers");
        assert!(wants.split(',').all(|name| allowed.contains(name)), "{answer:?}");
    }
}

#[tokio::test]
async fn with_a_list_only_its_origins_may_read() {
    let cors_origins = Some("https://a.example, http://B.example:8080".parse().expect("origins"));
    let app = App::start_with(Options { cors_origins, ..Options::default() }).await;
    for origin in ["https://a.example", "http://b.example:8080"] {
        for path in ["/api/ping", "/nothing"] {
            let headers = headers(&app, Method::GET, path, origin).await;
            assert_eq!(header(&headers, ORIGIN), origin);
            assert!(header(&headers, "vary").contains("origin"), "{headers:?}");
        }
        let stream = app.stream("/stream").header("origin", origin).open().await;
        assert_eq!(stream.headers[ORIGIN], origin);
    }
    for origin in ["https://b.example:8080", "https://a.example.evil.example", "null"] {
        assert_eq!(header(&headers(&app, Method::GET, "/api/ping", origin).await, ORIGIN), "", "{origin}");
    }
}

#[tokio::test]
async fn an_origin_that_may_not_read_gets_an_answer_without_the_permission() {
    let cors_origins = Some("https://a.example".parse().expect("origins"));
    let app = App::start_with(Options { cors_origins, ..Options::default() }).await;
    let request = app.request(Method::GET, "/api/messages").header("origin", "https://elsewhere.example");
    assert_eq!(request.answer().await.assert_status(200).header(ORIGIN), "");
}

async fn headers(app: &App, method: Method, path: &str, origin: &str) -> HeaderMap {
    app.request(method, path).header("origin", origin).answer().await.headers
}
