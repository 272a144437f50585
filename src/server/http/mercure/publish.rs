//! `POST` on the hub's URL: publishes an update, or several at once.

use axum::Json;
use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};

use super::update::{self, Shape};
use super::{Mercure, idempotency};
use crate::server::http::accept::{self, negotiate};
use crate::server::http::body;
use crate::server::http::error::ApiError;
use crate::server::http::params::Params;
use crate::server::http::{AppState, Peer, cache};
use crate::server::log::Update;

/// The media type of an id alone.
const TEXT: &str = "text/plain";

pub(super) async fn publish(
    State(app): AppState,
    ConnectInfo(peer): Peer,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let hub = &app.mercure;
    // Who may not publish must not make the server read what they send.
    let token = hub.publisher(&headers).await?;
    if token.is_none() {
        if !hub.settings.publish_without_token {
            return Err(hub.token_needed("Publishing needs a token. `tidings token --publish TOPIC` makes one."));
        }
        hub.check_forgery(&headers)?;
        app.limit.check(peer.ip())?;
    }
    let url = hub.hub.url();
    let (mut updates, shape) = match body::media_type(&headers).as_deref() {
        Some(body::FORM) => {
            let params = Params::parse(&body::read(&headers, body, app.max_body).await?);
            (vec![update::from_form(&params, url, hub.settings.legacy)?], Shape::Form)
        }
        Some(body::JSON) => update::from_json(&body::read(&headers, body, app.max_body).await?, url)?,
        _ => return Err(ApiError::MediaType("application/x-www-form-urlencoded or application/json")),
    };
    if let Some(token) = &token {
        let mut topics = updates.iter().flat_map(|update| &update.topics);
        if let Some(topic) = topics.find(|topic| !token.rights.may_publish(std::slice::from_ref(topic))) {
            let topic = super::matchers::excerpt(topic.as_str());
            return Err(hub.not_granted(format!("The token does not grant publishing on `{topic}`.")));
        }
    }
    let ids = match idempotency::key(&headers, token.as_deref())? {
        Some(key) => {
            let _turn = hub.repeats.turn(key).await;
            match idempotency::repeated(&hub.hub, key, &mut updates).await? {
                Some(ids) => ids,
                None => hub.append(updates).await?,
            }
        }
        None => hub.append(updates).await?,
    };
    let is_text = match shape {
        // The protocol's clients take the body for the id, whatever their library says it accepts.
        Shape::Form => true,
        Shape::Object => negotiate(&headers, &[TEXT, accept::JSON]) == TEXT,
        Shape::Array => false,
    };
    let answer = match &ids[..] {
        [id] if is_text => id.to_string().into_response(),
        _ => Json(ids).into_response(),
    };
    Ok(([(header::CACHE_CONTROL, cache::PRIVATE)], answer).into_response())
}

impl Mercure {
    async fn append(&self, updates: Vec<Update>) -> Result<Vec<Box<str>>, ApiError> {
        if updates.is_empty() {
            return Ok(Vec::new());
        }
        let entries = self.hub.publish_all(updates).await?;
        Ok(entries.iter().map(|entry| entry.id.clone()).collect())
    }
}
