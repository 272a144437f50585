//! Discovery: the `Link` from a document to the hub, and the protected resource metadata (RFC 9728), which says what a
//! token must be.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderValue;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::Mercure;
use super::credentials::COOKIE;
use crate::server::auth::DETAIL_TYPE;
use crate::server::http::{App, AppState};
use crate::server::hub::MatchType;
use crate::wire::paths;

pub(super) fn router() -> Router<Arc<App>> {
    Router::new().route(paths::RESOURCE_METADATA, get(metadata))
}

impl Mercure {
    /// The `Link` from a document to the hub (Mercure, "Discovery"). A client that resumes from `last_event_id` receives
    /// every event that the document does not include; `None` stands for the whole history. `parameters` are appended as
    /// they are.
    pub(in crate::server::http) fn link(&self, last_event_id: Option<&str>, parameters: &str) -> Option<HeaderValue> {
        let last = last_event_id.unwrap_or(paths::EARLIEST).replace('\\', "\\\\").replace('"', "\\\"");
        let link = format!("<{}>; rel=\"mercure\"; last-event-id=\"{last}\"{parameters}", self.hub.url().path());
        HeaderValue::from_bytes(link.as_bytes()).ok()
    }
}

async fn metadata(State(app): AppState) -> Json<Value> {
    let hub = &app.mercure;
    let resource = hub.settings.resource.clone().unwrap_or_else(|| hub.hub.url().to_string());
    let mut metadata = json!({
        "resource": resource,
        "authorization_details_types_supported": [DETAIL_TYPE],
        "bearer_methods_supported": ["header"],
        "mercure_cookie": COOKIE,
        "mercure_matcher_types_supported": MatchType::ALL.map(MatchType::name),
    });
    // An issuer is an authorization server where it is a URL; the hub itself is none.
    let servers: Vec<_> =
        hub.auth.issuers().filter(|issuer| issuer.starts_with("https://") && **issuer != resource).collect();
    if !servers.is_empty() {
        metadata["authorization_servers"] = json!(servers);
    }
    if hub.settings.presence {
        metadata["mercure_subscriptions"] = json!(true);
    }
    Json(metadata)
}
