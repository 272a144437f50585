//! `GET /`: the page, the clock or the welcome document.

use reqwest::Method;
use serde_json::Value;

use crate::answer::header;
use crate::app::{App, Ask, BROWSER, in_time};

#[tokio::test]
async fn what_the_root_is_depends_on_accept_and_its_weights() {
    let app = App::start().await;
    let (html, events, json) = ("text/html; charset=utf-8", "text/event-stream", "application/json");
    for (accept, expected) in [
        ("", html),
        ("*/*", html),
        (BROWSER, html),
        ("text/*", html),
        ("image/png", html),
        ("text/event-stream", events),
        ("text/event-stream, text/html;q=0.9", events),
        ("text/html;q=0, */*;q=0.1", events),
        ("application/json", json),
        ("application/json, text/plain, */*", json),
        ("text/html;q=0.5, application/json;q=0.9", json),
        ("text/html;q=0.8, text/event-stream;q=0.9, application/json;q=0.95", json),
    ] {
        let request = app.request(Method::GET, "/").header("accept", accept);
        let response = in_time(accept, request.send()).await.expect("an answer");
        assert_eq!((response.status().as_u16(), &*header(response.headers(), "content-type")), (200, expected));
        assert!(header(response.headers(), "vary").contains("accept"), "{accept}: {response:?}");
    }
}

#[tokio::test]
async fn the_welcome_document_links_to_every_address() {
    let app = App::start().await;
    let welcome: Value = app.get_as("application/json", "/").await.assert_status(200).json();
    assert_eq!((&welcome["name"], &welcome["version"]), (&"tidings".into(), &env!("CARGO_PKG_VERSION").into()));
    let links: Vec<_> = welcome["links"].as_object().expect("links").values().map(|link| link.as_str()).collect();
    let addresses = [
        "/",
        "/client/index.html",
        "/api/ping",
        "/api/messages",
        "/publish",
        "/stream",
        "/clock",
        "/remote",
        "/sse",
        "/counter",
        "/.well-known/mercure",
        "/.well-known/oauth-protected-resource/.well-known/mercure",
        "/openapi.json",
        "/docs",
    ];
    for address in addresses {
        assert!(links.contains(&Some(address)), "{address} is not in {welcome}");
        let status = app.head(address).await.status;
        // The hub needs a matcher.
        let expected = match address {
            "/publish" => 405,
            "/.well-known/mercure" => 400,
            _ => 200,
        };
        assert_eq!(status, expected, "{address}");
    }
}

#[tokio::test]
async fn the_page_has_the_recent_messages_in_it_escaped() {
    let app = App::start().await;
    app.post_message("the first message").await;
    app.post_message("<script>alert('no')</script>").await;
    let answer = app.get_as(BROWSER, "/").await;
    let page = answer.html(200);
    assert!(page.contains("the first message"), "{page}");
    assert!(page.contains("&lt;script&gt;alert('no')&lt;/script&gt;"), "{page}");
    assert!(!page.contains("<script>alert"), "{page}");
}

#[tokio::test]
async fn the_page_has_a_form_that_works_without_a_script() {
    let app = App::start().await;
    let answer = app.get_as(BROWSER, "/").await;
    let page = answer.html(200);
    let form = page.split("<form").nth(1).and_then(|rest| rest.split("</form>").next()).expect("a form");
    assert!(form.contains("method=\"post\"") && form.contains("action=\"/api/messages\""), "{form}");
    assert!(form.contains("name=\"message\"") && form.contains("<textarea"), "{form}");
}

#[tokio::test]
async fn the_pages_policy_allows_only_what_carries_its_nonce_and_comes_from_here() {
    let app = App::start().await;
    app.post_message("a message").await;
    let (one, two) = (app.get_as(BROWSER, "/").await, app.get_as(BROWSER, "/").await);
    let policy = one.header("content-security-policy");
    let nonce = policy.split("'nonce-").nth(1).and_then(|rest| rest.split('\'').next()).expect("a nonce");
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe-inline"), "{policy}");
    assert_ne!(two.header("content-security-policy"), policy, "a nonce serves once");
    for script in one.body.split("<script").skip(1) {
        assert!(script.contains(&format!("nonce=\"{nonce}\"")), "{script}");
    }
    assert!(!one.body.contains("style=\""), "{}", one.body);
    assert_eq!(one.header("x-content-type-options"), "nosniff");
}

#[tokio::test]
async fn a_forged_host_gets_nothing_into_the_page() {
    let app = App::start().await;
    let request = app.request(Method::GET, "/").header("accept", BROWSER).header("host", "$(reboot)");
    assert!(!request.answer().await.html(200).contains("reboot"));
}
