//! What an administrator does: revoke a token, end the streams of a token, of a subject or of a topic.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use chrono::DateTime;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tracing::info;

use crate::server::auth::{Auth, RevokeError};
use crate::server::http::error::ApiError;
use crate::server::http::{App, AppState, body, cache};
use crate::server::hub::{Hub, RevocationTarget};
use crate::wire::paths;

/// What is revoked: one of the three.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Revocation {
    /// The issuer of the token or the subject; the first one if it is left out.
    iss: Option<String>,
    /// A token's id: it is refused from now on, and its streams end.
    jti: Option<String>,
    /// When that token expires, in seconds since 1970, as it says itself: it need not be remembered for longer.
    exp: Option<i64>,
    /// A subject: its streams end.
    sub: Option<String>,
    /// A topic: the streams that hear it end.
    topic: Option<String>,
}

impl Revocation {
    /// Encodes it as a control message for the other nodes.
    fn encode(&self) -> String {
        json!({ "revoked": self }).to_string()
    }
}

pub(super) fn router() -> Router<Arc<App>> {
    Router::new().route(paths::REVOCATIONS, post(revoke))
}

async fn revoke(State(app): AppState, headers: HeaderMap, body: Body) -> Result<Response, ApiError> {
    let hub = &app.mercure;
    let token = hub.publisher(&headers).await?;
    let token = token.ok_or_else(|| hub.token_needed("Revoking needs a token. `tidings token --revoke` makes one."))?;
    if !token.rights.may_revoke() {
        return Err(hub.not_granted("The token does not grant `revoke` on every topic (`*`).".into()));
    }
    if body::media_type(&headers).as_deref() != Some(body::JSON) {
        return Err(ApiError::MediaType(body::JSON));
    }
    let body = body::read(&headers, body, app.max_body).await?;
    let wanted: Revocation = serde_json::from_slice(&body).map_err(|error| {
        ApiError::Malformed(format!(
            "The body is no revocation: {error}. Send {{\"jti\": …}}, {{\"sub\": …}} or {{\"topic\": …}}."
        ))
    })?;
    let ended = revoke_here(&hub.hub, &hub.auth, &wanted).await?;
    hub.hub.log().broadcast(wanted.encode()).await?;
    info!(?wanted, ended, by = %token.subject, "revoked");
    let answer = Json(json!({ "streams_ended": ended, "revoked": wanted.jti.is_some() }));
    Ok(([(header::CACHE_CONTROL, cache::PRIVATE)], answer).into_response())
}

/// Revokes on this node, and answers how many streams that has ended.
pub(super) async fn revoke_here(hub: &Hub, auth: &Auth, wanted: &Revocation) -> Result<usize, ApiError> {
    let issuer = wanted.iss.as_deref().or_else(|| auth.issuers().next()).unwrap_or_default();
    let until = wanted.exp.map(|exp| DateTime::from_timestamp(exp, 0).ok_or(exp)).transpose();
    let until = until.map_err(|exp| ApiError::Malformed(format!("`exp` is no time in seconds: {exp}.")))?;
    let target = match (&wanted.jti, &wanted.sub, &wanted.topic) {
        (Some(id), None, None) => {
            // First, or its client would be back before it is refused.
            auth.revoke(issuer, id, until).await.map_err(|error| match error {
                RevokeError::Issuer | RevokeError::Id | RevokeError::Expired => {
                    ApiError::Malformed(format!("The token can't be revoked: {error}."))
                }
                RevokeError::TooMany { .. } => ApiError::Invalid(format!("The token can't be revoked: {error}.")),
                RevokeError::File { .. } => {
                    tracing::error!(%error, "a token was not revoked");
                    ApiError::Internal
                }
            })?;
            RevocationTarget::Token { issuer, id }
        }
        (None, Some(subject), None) => RevocationTarget::Subject { issuer, subject },
        (None, None, Some(topic)) => RevocationTarget::Topic(topic),
        _ => return Err(ApiError::Malformed("Send exactly one of `jti`, `sub` and `topic`.".into())),
    };
    Ok(hub.end_sessions(target))
}
