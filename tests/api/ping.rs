//! `/api/ping`

use serde_json::Value;

use crate::app::App;

#[tokio::test]
async fn ping_reports_the_status_the_version_and_the_uptime() {
    let app = App::start().await;
    let answer = app.get("/api/ping").await;
    let ping: Value = answer.assert_status(200).json();
    assert_eq!(ping["status"], "ok");
    assert_eq!(ping["version"], env!("CARGO_PKG_VERSION"));
    assert!(ping["uptime_seconds"].as_u64().is_some_and(|seconds| seconds < 60), "{ping}");
}

#[tokio::test]
async fn ping_answers_head_without_a_body() {
    let app = App::start().await;
    let answer = app.head("/api/ping").await;
    assert_eq!(answer.assert_status(200).header("content-type"), "application/json");
    assert_eq!(answer.body, "");
}
