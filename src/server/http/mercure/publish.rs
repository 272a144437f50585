//! `POST` on the hub's URL: publishes an update, or several at once.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::idempotency;
use super::update::{self, Shape};
use crate::server::auth::Token;
use crate::server::http::accept::{self, negotiate};
use crate::server::http::error::ApiError;
use crate::server::http::params::Params;
use crate::server::http::{App, AppState, Peer, body, cache};
use crate::server::traces::{Parent, PublishSpan};

/// The media type of an id alone.
const TEXT: &str = "text/plain";

/// The headers of W3C Trace Context.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

pub(super) async fn publish(
    State(app): AppState,
    ConnectInfo(peer): Peer,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let hub = &app.mercure;
    let arrival = hub.hub.traces().arrival();
    // Before the body: a client that may not publish must not make the server read one.
    let token = hub.publisher(&headers).await?;
    if token.is_none() {
        if !hub.settings.publish_without_token {
            return Err(hub.token_needed("Publishing needs a token. `tidings token --publish TOPIC` makes one."));
        }
        hub.check_forgery(&headers)?;
    }
    app.limits.check(token.as_deref(), peer)?;
    // Not before: a stranger's requests would push those of publishers out of the traces.
    let mut span = hub.hub.traces().publish(arrival, || parent(&headers));
    let answer = publish_body(&app, token.as_deref(), peer, &headers, body, &mut span).await;
    if span.is_recording() {
        span.answered(answer.as_ref().map_or_else(|error| error.problem().status, |answer| answer.status().as_u16()));
    }
    answer
}

/// Publishes what the body holds, as far as the token grants it.
async fn publish_body(
    app: &Arc<App>,
    token: Option<&Token>,
    peer: SocketAddr,
    headers: &HeaderMap,
    body: Body,
    span: &mut PublishSpan,
) -> Result<Response, ApiError> {
    let hub = &app.mercure;
    let url = hub.hub.url();
    let (updates, shape) = match body::media_type(headers).as_deref() {
        Some(body::FORM) => {
            let params = Params::parse(&body::read(headers, body, app.max_body).await?);
            (vec![update::from_form(&params, url, hub.settings.legacy)?], Shape::Form)
        }
        Some(body::JSON) => update::from_json(&body::read(headers, body, app.max_body).await?, url)?,
        _ => return Err(ApiError::MediaType("application/x-www-form-urlencoded or application/json")),
    };
    app.limits.check_all(token, peer, updates.len())?;
    if let Some(token) = token {
        let mut topics = updates.iter().flat_map(|update| &update.topics);
        if let Some(topic) = topics.find(|topic| !token.rights.may_publish(std::slice::from_ref(topic))) {
            let topic = super::matchers::excerpt(topic.as_str());
            return Err(hub.not_granted(format!("The token does not grant publishing on `{topic}`.")));
        }
    }
    let key = idempotency::key(headers, token)?;
    let ids = hub.hub.publish_traced(updates, key, span).await?.into_ids();
    let is_text = match shape {
        // The protocol's clients take the body for the id, whatever their library says it accepts.
        Shape::Form => true,
        Shape::Object => negotiate(headers, &[TEXT, accept::JSON]) == TEXT,
        Shape::Array => false,
    };
    let answer = match &ids[..] {
        [id] if is_text => id.to_string().into_response(),
        _ => Json(ids).into_response(),
    };
    Ok(([(header::CACHE_CONTROL, cache::PRIVATE)], answer).into_response())
}

/// The span that a request continues.
fn parent(headers: &HeaderMap) -> Parent {
    let values = |name| headers.get_all(name).iter().map(HeaderValue::as_bytes);
    Parent::new(values(TRACEPARENT), values(TRACESTATE))
}
