//! The subscription API (Mercure): the open subscriptions, all of them, those of one matcher, or a single one.

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};

use super::Mercure;
use crate::server::auth::Token;
use crate::server::http::error::ApiError;
use crate::server::http::params::Params;
use crate::server::http::{App, AppState, conditional, path};
use crate::server::hub::MatchType;
use crate::server::hub::presence::ActiveSubscription;
use crate::server::log::ReadError;
use crate::wire::paths;

/// Number of subscriptions on a page: the default and the maximum.
const DEFAULT_LIMIT: usize = 1000;
const MAX_LIMIT: usize = 10_000;

/// The type of a list.
const TYPE: &str = "subscriptions";

pub(super) fn router() -> Router<Arc<App>> {
    let below = |rest| format!("{}/{rest}", paths::SUBSCRIPTIONS);
    Router::new()
        .route(paths::SUBSCRIPTIONS, get(all))
        .route(&below("{match_type}/{match}"), get(of_matcher))
        .route(&below("{match_type}/{match}/{subscriber}"), get(one))
}

async fn all(State(app): AppState, uri: Uri, headers: HeaderMap, params: Params) -> Result<Response, ApiError> {
    app.mercure.list(TYPE, &uri, &headers, &params).await
}

async fn of_matcher(
    State(app): AppState,
    uri: Uri,
    headers: HeaderMap,
    params: Params,
    parts: Result<Path<(String, String)>, PathRejection>,
) -> Result<Response, ApiError> {
    let Path((match_type, _)) = parts.map_err(|_| unknown())?;
    if MatchType::named(&match_type).is_none() {
        return app.mercure.one_of_topic(&uri, &headers, &params).await;
    }
    app.mercure.list(TYPE, &uri, &headers, &params).await
}

async fn one(State(app): AppState, uri: Uri, headers: HeaderMap, params: Params) -> Result<Response, ApiError> {
    app.mercure.one(&uri, &headers, &params).await
}

pub(super) fn unknown() -> ApiError {
    ApiError::NotFound("No such subscription is open. It may have ended.".into())
}

impl Mercure {
    /// The subscriptions below the request's path, as a document of this type.
    pub(super) async fn list(
        &self,
        document_type: &str,
        uri: &Uri,
        headers: &HeaderMap,
        params: &Params,
    ) -> Result<Response, ApiError> {
        self.reader(uri, headers, params).await?;
        let topic = path::canonical(uri.path());
        let limit = limit(params)?;
        let after = params.get("after")?;
        let last_event = self.last_event_before_the_list().await?;
        let listing = self.hub.subscriptions(&topic, after, limit);
        let subscriptions: Vec<_> = listing.subscriptions.iter().map(|active| active.document()).collect();
        let document = json!({
            "id": topic,
            "type": document_type,
            "subscriptions": subscriptions,
            "total": listing.total,
        });
        let next = listing.subscriptions.last().filter(|_| listing.more).map(|last| next_page(&topic, limit, last));
        Ok(self.answer(headers, last_event, document, next))
    }

    /// The subscription at the request's path.
    pub(super) async fn one(&self, uri: &Uri, headers: &HeaderMap, params: &Params) -> Result<Response, ApiError> {
        self.reader(uri, headers, params).await?;
        let last_event = self.last_event_before_the_list().await?;
        let active = self.hub.subscription(&path::canonical(uri.path())).ok_or_else(unknown)?;
        Ok(self.answer(headers, last_event, active.document(), None))
    }

    /// Checks that the request's token grants subscribing to the request's own path, as it was sent or in the spelling
    /// of the events.
    pub(super) async fn reader(&self, uri: &Uri, headers: &HeaderMap, params: &Params) -> Result<Arc<Token>, ApiError> {
        if !self.settings.presence {
            return Err(ApiError::NotFound(
                "This hub doesn't tell presence. The operator turns it on with --presence.".into(),
            ));
        }
        let token = self.reader_token(headers, self.token_in_query(params)?).await?;
        let token = token.ok_or_else(|| self.token_needed("Reading who subscribes needs a token."))?;
        let topic = path::canonical(uri.path());
        if token.rights.may_subscribe(&topic) || token.rights.may_subscribe(uri.path()) {
            return Ok(token);
        }
        Err(self.not_granted(format!("The token does not grant subscribing to `{topic}`.")))
    }

    /// The id of the hub's last event, whoever published it; `None` where nothing is kept. A list that is read after
    /// this call includes every change whose event came up to this one, so whoever resumes here misses none.
    async fn last_event_before_the_list(&self) -> Result<Option<Box<str>>, ReadError> {
        // The list shows a change before its event is published.
        Ok(self.hub.newest_listed().await?.map(|entry| entry.id.clone()))
    }

    fn answer(
        &self,
        request: &HeaderMap,
        last_event: Option<Box<str>>,
        mut document: Value,
        next: Option<String>,
    ) -> Response {
        let last = last_event.as_deref().unwrap_or(paths::EARLIEST);
        self.tell_last_event(last, &mut document);
        let etag = conditional::etag(last);
        let is_known = etag.as_ref().is_some_and(|etag| conditional::is_known(request, etag));
        let mut response = match is_known {
            true => StatusCode::NOT_MODIFIED.into_response(),
            false => axum::Json(document).into_response(),
        };
        let headers = response.headers_mut();
        headers.extend(etag.map(|etag| (header::ETAG, etag)));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, must-revalidate"));
        headers.insert(header::VARY, HeaderValue::from_static("authorization, cookie"));
        let link = self.link(last_event.as_deref(), "; type=\"mercure\"; content-type=\"application/json\"");
        let next = next.and_then(|next| HeaderValue::try_from(format!("<{next}>; rel=\"next\"")).ok());
        for link in [link, next].into_iter().flatten() {
            headers.append(header::LINK, link);
        }
        response
    }
}

fn next_page(topic: &str, limit: usize, last: &ActiveSubscription) -> String {
    let after: String = url::form_urlencoded::byte_serialize(last.id().as_bytes()).collect();
    format!("{topic}?limit={limit}&after={after}")
}

fn limit(params: &Params) -> Result<usize, ApiError> {
    let Some(text) = params.get("limit")? else { return Ok(DEFAULT_LIMIT) };
    let limit = text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(|| ApiError::Malformed(format!("`limit` must be a whole number from 1 to {MAX_LIMIT}.")))
}
