//! The hub's addresses: the Mercure protocol, and what we add to it.

mod credentials;
mod discovery;
mod idempotency;
mod legacy;
mod matchers;
mod nodes;
mod opening;
mod publish;
mod revocations;
mod subscribe;
mod subscriptions;
mod tickets;
mod update;

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use url::Url;

use super::App;
use super::error::ApiError;
use super::origin::PublishOrigins;
use crate::server::auth::{Auth, KEYS_RETRY_AFTER, TICKET_LIFETIME, TicketError, TokenError};
use crate::server::hub::{AtLimit, ClientKey, Hub, Rights, SessionOptions};
use crate::server::settings::{LimitSettings, MercureSettings, Settings};
use crate::wire::paths;
pub(in crate::server) use nodes::handle_control_messages;
use opening::OpeningLimits;

/// What the hub's addresses need.
pub(super) struct Mercure {
    hub: Hub,
    auth: Arc<Auth>,
    settings: MercureSettings,
    limits: LimitSettings,
    opening: OpeningLimits,
    /// Those of who has no token: the same for all of them.
    no_rights: Arc<Rights>,
    pub(super) origins: PublishOrigins,
    /// The URL of the protected resource metadata (RFC 9728).
    metadata: Url,
}

/// The addresses that answer with a document, which may be compressed.
pub(super) fn documents() -> Router<Arc<App>> {
    Router::new()
        .merge(discovery::router())
        .merge(subscriptions::router())
        .merge(legacy::router())
        .merge(tickets::router())
        .merge(revocations::router())
}

/// The hub itself, which answers with streams.
pub(super) fn router() -> Router<Arc<App>> {
    subscribe::router()
}

impl Mercure {
    pub(super) fn new(hub: Hub, auth: Arc<Auth>, settings: &Settings) -> Self {
        let mut metadata = hub.url().clone();
        metadata.set_path(paths::RESOURCE_METADATA);
        metadata.set_query(None);
        let origins = PublishOrigins::new(settings.mercure.publish_origins.clone(), hub.url());
        let (settings, limits) = (settings.mercure.clone(), settings.limits.clone());
        let (opening, no_rights) = (OpeningLimits::new(&limits), Arc::default());
        Self { hub, auth, settings, limits, opening, no_rights, origins, metadata }
    }

    /// The hub that is served here.
    pub(super) fn hub(&self) -> &Hub {
        &self.hub
    }

    /// The same with other settings.
    pub(super) fn with_settings(&self, settings: &Settings) -> Self {
        let no_rights = self.no_rights.clone();
        Self { no_rights, ..Self::new(self.hub.clone(), self.auth.clone(), settings) }
    }

    /// The options of a session that counts towards this client's limits.
    pub(super) fn session_of(&self, client: ClientKey) -> SessionOptions {
        SessionOptions { client: Some(client), client_limit: self.limits.max_streams, ..SessionOptions::default() }
    }

    /// 401: the request has no token, and needs one. The challenge carries no error code (RFC 6750, 3.1).
    fn token_needed(&self, detail: &str) -> ApiError {
        let challenge = format!("Bearer resource_metadata=\"{}\"", self.metadata);
        ApiError::Token { status: StatusCode::UNAUTHORIZED, detail: detail.into(), challenge }
    }

    /// 401: the token is not accepted. 503: it can't be verified at the moment, and may be valid.
    fn token_refused(&self, reason: &TokenError) -> ApiError {
        if *reason == TokenError::KeysUnavailable {
            return ApiError::KeysUnavailable(KEYS_RETRY_AFTER);
        }
        self.refused(StatusCode::UNAUTHORIZED, "invalid_token", format!("The token is not accepted: {reason}."))
    }

    /// 401: the ticket or its token is not accepted. 429 or 503: it may be later.
    fn ticket_refused(&self, reason: &TicketError) -> ApiError {
        match reason {
            TicketError::Token(reason) => self.token_refused(reason),
            TicketError::TooMany { .. } => ApiError::TooManyTickets(TICKET_LIFETIME),
            TicketError::Unsealed => {
                tracing::error!(error = %reason, "a ticket was not issued");
                ApiError::Internal
            }
            TicketError::Unknown | TicketError::Spent => {
                let detail = format!("The ticket is not accepted: {reason}.");
                self.refused(StatusCode::UNAUTHORIZED, "invalid_token", detail)
            }
        }
    }

    /// 403: the token is valid, but does not grant this.
    fn not_granted(&self, detail: String) -> ApiError {
        self.refused(StatusCode::FORBIDDEN, "insufficient_scope", detail)
    }

    /// 400: the token is presented in a malformed way.
    fn presented_wrongly(&self, detail: &str) -> ApiError {
        self.refused(StatusCode::BAD_REQUEST, "invalid_request", detail.into())
    }

    fn refused(&self, status: StatusCode, error: &str, detail: String) -> ApiError {
        // Characters that a quoted string of the challenge can't hold are left out (RFC 6750, 3).
        let description: String =
            detail.chars().filter(|c| matches!(c, ' '..='~') && !matches!(c, '"' | '\\')).collect();
        let metadata = &self.metadata;
        let challenge =
            format!("Bearer error=\"{error}\", error_description=\"{description}\", resource_metadata=\"{metadata}\"");
        ApiError::Token { status, detail, challenge }
    }
}

impl From<AtLimit> for ApiError {
    fn from(AtLimit(limit): AtLimit) -> Self {
        Self::TooManyStreams(limit)
    }
}
