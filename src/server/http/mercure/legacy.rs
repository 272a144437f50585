//! What clients of the older protocol, Mercure 0.x, send in a way of their own. It counts only where the operator has
//! turned it on. Their tokens are read in `auth`, what their subscriptions are told like in `hub::presence`.

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};

use super::Mercure;
use super::subscriptions::unknown;
use crate::server::http::error::ApiError;
use crate::server::http::params::Params;
use crate::server::http::{App, AppState};
use crate::server::hub::{MatchType, presence};
use crate::wire::paths;

/// The only matcher: a topic, or a URI template.
const TOPIC: &str = "topic";
/// The cookie that holds a token.
pub(super) const COOKIE: &str = "mercureAuthorization";
/// The parameter that holds a token.
const AUTHORIZATION: &str = "authorization";
/// The parameters that stand for the header `Last-Event-ID`: that of the drafts, and that of hubs before 0.14.
const LAST_EVENT_ID: [&str; 2] = ["lastEventID", "Last-Event-ID"];
/// The event that precedes the first one of a stream.
const PRECEDING: HeaderName = HeaderName::from_static("last-event-id");
/// What a document of one of their subscriptions, or of several, is.
const JSON_LD: HeaderValue = HeaderValue::from_static("application/ld+json");

/// Those with a topic, and one of them. The list of all, and those of a matcher, are in `subscriptions`.
pub(super) fn router() -> Router<Arc<App>> {
    Router::new().route(&format!("{}/{{topic}}", paths::SUBSCRIPTIONS), get(of_topic))
}

async fn of_topic(
    State(app): AppState,
    uri: Uri,
    headers: HeaderMap,
    params: Params,
    topic: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let hub = &app.mercure;
    hub.reader(&uri, &headers, &params).await?;
    let Path(topic) = topic.map_err(|_| unknown())?;
    // Below the name of a type lie those of today's protocol.
    if !hub.settings.legacy || MatchType::named(&topic).is_some() {
        return Err(unknown());
    }
    let mut response = hub.list("Subscriptions", &uri, &headers, &params).await?;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON_LD);
    Ok(response)
}

impl Mercure {
    /// One subscription with a topic.
    pub(super) async fn one_of_topic(
        &self,
        uri: &Uri,
        headers: &HeaderMap,
        params: &Params,
    ) -> Result<Response, ApiError> {
        if !self.settings.legacy {
            self.reader(uri, headers, params).await?;
            return Err(unknown());
        }
        let mut response = self.one(uri, headers, params).await?;
        response.headers_mut().insert(header::CONTENT_TYPE, JSON_LD);
        Ok(response)
    }

    /// The type of the matcher that a parameter of this name is.
    pub(super) fn older_matcher(&self, name: &str) -> Option<MatchType> {
        (self.settings.legacy && name == TOPIC).then_some(MatchType::UriTemplate)
    }

    /// The token in the query. It may end up in the logs of what stands between, so that today's protocol has none.
    pub(super) fn token_in_query<'a>(&self, params: &'a Params) -> Result<Option<&'a str>, ApiError> {
        if self.settings.legacy { params.get(AUTHORIZATION) } else { Ok(None) }
    }

    /// The event id that a client comes back with.
    pub(super) fn older_last_event_id(&self, params: &Params) -> Result<Option<String>, ApiError> {
        if !self.settings.legacy {
            return Ok(None);
        }
        for name in LAST_EVENT_ID {
            if let Some(id) = params.get_non_empty(name)? {
                return Ok(Some(id.to_owned()));
            }
        }
        Ok(None)
    }

    /// Says by its older name what precedes the first event.
    pub(super) fn tell_preceding(&self, preceding: &HeaderValue, headers: &mut HeaderMap) {
        if self.settings.legacy {
            headers.insert(PRECEDING, preceding.clone());
        }
    }

    /// Adds to a document what older clients look for in it.
    pub(super) fn tell_last_event(&self, last_event_id: &str, document: &mut Value) {
        if self.settings.legacy {
            document["@context"] = json!(presence::CONTEXT);
            document["lastEventID"] = json!(last_event_id);
        }
    }
}
