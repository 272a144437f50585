//! What balancers and operators ask: is it alive, is it ready, and its figures.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use tidings::server::metrics::NAMES;
use tidings::server::settings::{Options, Span};

use crate::app::{App, Ask, client, in_time};
use crate::certificates;

async fn with_metrics() -> App {
    App::start_with(Options { metrics: Some(true), ..Options::default() }).await
}

/// The sum of a figure over all its labels.
async fn figure(app: &App, name: &str) -> f64 {
    let answer = app.get("/metrics").await;
    answer.assert_status(200);
    let is_meant = |line: &&str| line.split(['{', ' ']).next() == Some(name);
    let values = answer.body.lines().filter(is_meant).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    values.sum()
}

#[tokio::test]
async fn a_server_that_works_is_alive_and_ready() {
    let app = App::start().await;
    assert_eq!(app.get("/livez").await.assert_status(200).body, "ok\n");
    let ready: Value = app.get("/readyz").await.assert_status(200).json();
    assert_eq!(ready["status"], "ready");
    for part in ["log", "delivery", "streams", "disk", "keys", "certificates", "proxies", "drain"] {
        assert_eq!(ready["parts"][part]["status"], "ok", "{part}: {ready}");
    }
    for part in ["log", "delivery"] {
        assert!(ready["parts"][part]["detail"].as_str().is_some_and(|text| text.contains(" ms")), "{ready}");
    }
}

#[tokio::test]
async fn a_server_that_is_about_to_stop_says_so_first_and_goes_on_for_a_while() {
    let drain_delay = Some(Span(Duration::from_secs(1)));
    let app = App::start_with(Options { drain_delay, ..Options::default() }).await;
    let (ready, mut stream) = (app.request(Method::GET, "/readyz"), app.open("/stream").await);
    let address = app.address;
    let ((), ended) = tokio::join!(
        async {
            let mut ready = ready;
            let answer = loop {
                let again = ready.try_clone().expect("a request");
                let answer = ready.answer().await;
                if answer.status == 503 {
                    break answer;
                }
                ready = again;
            };
            let report: Value = serde_json::from_str(&answer.body).expect("JSON");
            assert_eq!(
                (&report["status"], &report["parts"]["drain"]["status"]),
                (&"not ready".into(), &"failing".into())
            );
            client().get(format!("http://{address}/api/ping")).answer().await.assert_status(200);
            assert_eq!(stream.rest().await, []);
        },
        app.stop()
    );
    assert_eq!(ended.cut, 0);
}

#[tokio::test]
async fn who_forwards_without_being_trusted_is_named() {
    let app = App::start().await;
    app.request(Method::GET, "/api/ping").header("x-forwarded-for", "192.0.2.1").answer().await.assert_status(200);
    let ready: Value = app.get("/readyz").await.assert_status(200).json();
    assert_eq!(ready["parts"]["proxies"]["status"], "warning", "{ready}");
    assert!(ready["parts"]["proxies"]["detail"].as_str().is_some_and(|text| text.contains("--trusted-proxies")));
}

#[tokio::test]
async fn figures_are_for_operators_unless_the_settings_say_otherwise() {
    let app = App::start().await;
    app.get("/metrics").await.problem(404);

    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("metrics.sock");
    let metrics_listen = vec![format!("unix:{}", socket.display()).parse().expect("an address")];
    let app = App::start_with(Options { metrics_listen, ..Options::default() }).await;
    app.get("/metrics").await.problem(404);
    let over_socket = reqwest::Client::builder().no_proxy().unix_socket(socket.as_path()).build().expect("a client");
    for (path, expected) in [("/metrics", "tidings_build_info"), ("/readyz", "\"ready\""), ("/livez", "ok")] {
        let answer = over_socket.get(format!("http://localhost{path}")).answer().await;
        assert!(answer.assert_status(200).body.contains(expected), "{path}");
    }
    // Nothing else is served there.
    assert_eq!(over_socket.get("http://localhost/api/ping").answer().await.status, 404);
}

#[tokio::test]
async fn what_happens_is_counted() {
    let app = with_metrics().await;
    let mut before = Vec::new();
    let names = [
        "tidings_connections_total",
        "tidings_streams_opened_total",
        "tidings_updates_total",
        "tidings_deliveries_total",
        "tidings_delivered_bytes_total",
        "tidings_publish_to_write_seconds_count",
        "tidings_log_write_seconds_count",
        "tidings_log_batch_updates_count",
        "tidings_refusals_total",
        "tidings_log_updates",
    ];
    for name in names {
        before.push(figure(&app, name).await);
    }
    let mut stream = app.stream("/api/messages").open().await;
    app.post_message("counted").await;
    stream.next().await;
    app.get("/nothing").await.problem(404);
    for (name, before) in names.into_iter().zip(before) {
        assert!(figure(&app, name).await > before, "{name}");
    }
    assert!(figure(&app, "tidings_streams_open").await >= 1.0);
    let ended = figure(&app, "tidings_streams_ended_total").await;
    drop(stream);
    in_time("the end", async { while figure(&app, "tidings_streams_ended_total").await <= ended {} }).await;
}

#[tokio::test]
async fn every_figure_is_described_and_none_has_a_label_that_a_stranger_chooses() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = certificates::make(folder.path(), "local", &["127.0.0.1"]);
    let app = App::start_with(Options {
        metrics: Some(true),
        tls_certificate_file: vec![files.certificate.clone()],
        tls_key_file: vec![files.key.clone()],
        ..Options::default()
    })
    .await;
    app.post_message("a message").await;
    app.get("/nothing/a-strangers-path").await.problem(404);
    let figures = app.get("/metrics").await.assert_status(200).body.clone();
    let described = |line: &str| {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        name.starts_with("process_") || NAMES.iter().any(|(_, known, _)| *known == base || *known == name)
    };
    for line in figures.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        assert!(described(line), "{line}");
        assert!(!line.contains("stranger") && !line.contains("messages"), "{line}");
    }
    for (_, name, what) in NAMES {
        assert!(!what.is_empty() && name.starts_with("tidings_"), "{name}");
    }
    assert!(figures.contains("tidings_tls_handshakes_total{outcome=\"full\"}"), "{figures}");
    assert!(figures.contains("process_resident_memory_bytes"), "{figures}");
}

#[tokio::test]
async fn every_query_of_the_dashboard_is_about_a_figure_that_there_is() {
    let dashboard: Value = serde_json::from_str(include_str!("../../docs/grafana.json")).expect("JSON");
    let app = with_metrics().await;
    let figures = app.get("/metrics").await.assert_status(200).body.clone();
    let panels = dashboard["panels"].as_array().expect("panels");
    let queries: Vec<_> = panels.iter().flat_map(|panel| panel["targets"].as_array().expect("queries")).collect();
    assert!(queries.len() > 20);
    let mut asked = std::collections::BTreeSet::new();
    for query in queries {
        let query = query["expr"].as_str().expect("a query");
        let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let names: Vec<_> = words.filter(|word| word.starts_with("tidings_") || word.starts_with("process_")).collect();
        assert!(!names.is_empty(), "{query}");
        for name in names {
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            let is_known = NAMES.iter().any(|(_, known, _)| *known == base);
            assert!(is_known || (name.starts_with("process_") && figures.contains(name)), "{name}");
            asked.insert(base);
        }
    }
    for (_, name, _) in NAMES.iter().filter(|(_, name, _)| !name.contains("runtime") && !name.contains("build_info")) {
        assert!(asked.contains(name) || is_shown_otherwise(name), "{name} is on no panel");
    }
}

/// What another figure on the dashboard shows as well.
fn is_shown_otherwise(name: &str) -> bool {
    ["_log_updates", "_log_own_events", "_log_newest", "_log_takes_updates"].iter().any(|end| name.ends_with(end))
}
