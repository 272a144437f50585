//! `/docs`: the description as a page, which needs no script and loads nothing from elsewhere.

use std::collections::BTreeSet;

use reqwest::Method;
use tidings::server::settings::Options;

use crate::answer::Answer;
use crate::app::{App, Ask, BROWSER};
use crate::description::{Description, fields};

#[tokio::test]
async fn every_operation_and_every_schema_has_a_heading_and_is_in_reach() {
    let app = App::start().await;
    let description = Description::of(&app).await;
    let answer = page(&app).await;
    let html = answer.html(200);
    assert_eq!(html.matches("<h1>").count(), 1);
    for operation in description.operations() {
        let id = operation.object["operationId"].as_str().expect("an id");
        let heading = between(html, &format!("<h3 id=\"{id}-title\">"), "</h3>");
        let heading = text(&heading.replace("<wbr>", ""));
        assert_eq!(heading, format!("{} {}", operation.method, operation.path));
        assert!(between(html, "<nav class=\"contents\"", "</nav>").contains(&format!("href=\"#{id}\"")), "{id}");
        let article = between(html, &format!("<article class=\"operation\" id=\"{id}\""), "</article>");
        let title = escaped(operation.object["summary"].as_str().expect("a summary"));
        assert!(article.contains(&title), "{title}");
        for (status, _) in fields(&operation.object["responses"]) {
            assert!(article.contains(&format!("<code>{status}</code>")), "{id} does not tell of {status}");
        }
        assert!(article.contains("<code class=\"line-command\">curl "), "{id} has no command");
    }
    for (name, _) in fields(&description.0["components"]["schemas"]) {
        assert!(html.contains(&format!("<h3 id=\"schema-{name}-title\">")), "{name}");
    }
}

#[tokio::test]
async fn every_anchor_is_there_once_and_every_link_within_the_page_leads_to_one() {
    let answer = page(&App::start().await).await;
    let ids: Vec<_> = values(&answer.body, " id=\"").collect();
    let unique: BTreeSet<_> = ids.iter().copied().collect();
    assert_eq!(ids.len(), unique.len());
    for link in values(&answer.body, " href=\"#").chain(values(&answer.body, " aria-labelledby=\"")) {
        assert!(unique.contains(link), "#{link}");
    }
}

#[tokio::test]
async fn nothing_runs_without_its_nonce_and_nothing_comes_from_elsewhere() {
    let app = App::start().await;
    let answer = page(&app).await;
    let policy = answer.header("content-security-policy");
    let nonce = policy.split("'nonce-").nth(1).and_then(|rest| rest.split('\'').next()).expect("a nonce");
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe-inline"), "{policy}");
    for script in answer.body.split("<script").skip(1) {
        assert!(script.contains(&format!("nonce=\"{nonce}\"")), "{script}");
    }
    for forbidden in ["<style", " style=\"", " onclick=", "javascript:"] {
        assert!(!answer.body.contains(forbidden), "{forbidden}");
    }
    assert_eq!(values(&answer.body, " src=\"").collect::<Vec<_>>(), ["/docs.js"]);
    let script = app.get("/docs.js").await;
    assert!(script.assert_status(200).header("content-type").starts_with("text/javascript"), "{script:?}");
    for (name, value) in [("x-content-type-options", "nosniff"), ("cache-control", "no-cache")] {
        assert_eq!(answer.header(name), value);
    }
}

#[tokio::test]
async fn the_commands_are_for_the_server_as_it_was_reached() {
    let trusted_proxies = Some("127.0.0.1".parse().expect("an address"));
    let app = App::start_with(Options { trusted_proxies, ..Options::default() }).await;
    let command = format!("<code class=\"line-command\">curl http://{}/api/ping</code>", app.address);
    assert!(page(&app).await.html(200).contains(&command), "{command}");
    let request = app.request(Method::GET, "/docs").header("host", "hub.example").header("x-forwarded-proto", "https");
    let answer = request.answer().await;
    assert!(answer.html(200).contains("curl https://hub.example/api/ping</code>"));
    assert!(!answer.body.contains("{origin}"));
    let forged = app.request(Method::GET, "/docs").header("host", "$(reboot)").answer().await;
    assert!(!forged.html(200).contains("reboot"));
}

#[tokio::test]
async fn a_page_that_has_not_changed_is_not_sent_again() {
    let app = App::start().await;
    let first = page(&app).await;
    let again = || app.request(Method::GET, "/docs").header("if-none-match", first.header("etag"));
    let known = again().answer().await;
    assert_eq!(known.assert_status(304).body, "");
    // The browser's copy of the page has its nonce in the policy that came with it.
    assert_eq!(known.header("content-security-policy"), "");
    assert_eq!(again().header("host", "hub.example").answer().await.status, 200);
    assert_eq!(app.head("/docs").await.assert_status(200).header("etag"), first.header("etag"));
}

async fn page(app: &App) -> Answer {
    app.get_as(BROWSER, "/docs").await
}

/// The text between the first `begin` and the next `end`.
#[track_caller]
fn between<'a>(html: &'a str, begin: &str, end: &str) -> &'a str {
    let rest = html.split_once(begin).unwrap_or_else(|| panic!("no {begin}")).1;
    rest.split_once(end).unwrap_or_else(|| panic!("no {end} after {begin}")).0
}

/// The values of an attribute.
fn values<'a>(html: &'a str, attribute: &'a str) -> impl Iterator<Item = &'a str> {
    html.split(attribute).skip(1).filter_map(|rest| rest.split('"').next())
}

/// The text without its tags.
fn text(html: &str) -> String {
    html.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text)).collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
