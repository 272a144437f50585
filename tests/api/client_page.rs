//! The files of the site: the stand-alone client page, and missing files.

use reqwest::Method;

use crate::app::{App, Ask, BROWSER, JSON};

#[tokio::test]
async fn the_client_page_is_plain_html_that_may_listen_to_any_server() {
    let app = App::start().await;
    let answer = app.get_as(BROWSER, "/client/index.html").await;
    answer.assert_status(200);
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    let page = answer.body.to_lowercase();
    assert!(page.starts_with("<!doctype html>"), "{page}");
    assert!(page.contains("eventsource(") && !page.contains(".wasm"), "{page}");
    for path in ["/stream", "/clock", "/remote", "/sse", "/counter"] {
        assert!(page.contains(path), "{path} can't be picked");
    }
    let policy = answer.header("content-security-policy");
    assert!(policy.contains("connect-src *") && policy.contains("script-src 'sha256-"), "{policy}");
    assert!(!policy.contains("unsafe-inline"), "{policy}");
}

#[tokio::test]
async fn a_file_that_has_not_changed_is_not_sent_again() {
    let app = App::start().await;
    let first = app.get("/client/index.html").await;
    assert_eq!(first.assert_status(200).header("cache-control"), "no-cache");
    let again = app.request(Method::GET, "/client/index.html").header("if-none-match", first.header("etag"));
    assert_eq!(again.answer().await.assert_status(304).body, "");
    assert_eq!(app.head("/client/index.html").await.assert_status(200).body, "");
}

#[tokio::test]
async fn an_unknown_address_is_a_page_for_a_browser_and_a_problem_for_others() {
    let app = App::start().await;
    for path in ["/nothing", "/api", "/api/", "/stream/", "/client", "/client/", "/api/messages/a/b"] {
        let page = app.get_as(BROWSER, path).await;
        assert!(page.html(404).contains(path), "{path}: {page:?}");
        assert!(page.header("vary").contains("accept"), "{page:?}");
        for accept in [JSON, "*/*", "text/event-stream"] {
            let detail = app.get_as(accept, path).await.problem(404);
            assert!(detail.contains(path), "{detail}");
        }
    }
    assert_eq!(app.head("/nothing").await.assert_status(404).body, "");
    app.post("/nothing", JSON, "{}").await.problem(404);
}

#[tokio::test]
async fn an_unknown_address_is_escaped_on_its_page() {
    let app = App::start().await;
    let answer = app.get_as(BROWSER, "/<script>alert(1)</script>").await;
    assert!(!answer.html(404).contains("<script>alert"), "{answer:?}");
}

#[tokio::test]
async fn nothing_outside_the_site_can_be_read() {
    let app = App::start().await;
    for path in ["/%2e%2e/Cargo.toml", "/client/..%2f..%2fCargo.toml", "/%2fetc/passwd", "//etc/passwd", "/client/%00"]
    {
        app.get(path).await.problem(404);
    }
}
