//! What clients in clear text get where they should use TLS: the way there.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::error::ApiError;
use super::host;
use crate::server::net::Tls;

/// Where an authority looks whether a name leads here (RFC 8555, 8.3).
const CHALLENGES: &str = "/.well-known/acme-challenge/";

#[derive(Clone)]
struct Way {
    port: u16,
    tls: Option<Arc<Tls>>,
}

/// Leads reads to the same address over TLS at this port, and refuses everything else: what it carries has been sent in
/// clear text already.
pub(super) fn router(port: u16, tls: Option<Arc<Tls>>) -> Router {
    Router::new().fallback(to_tls).with_state(Way { port, tls })
}

async fn to_tls(State(Way { port, tls }): State<Way>, request: Request) -> Response {
    let token = request.uri().path().strip_prefix(CHALLENGES);
    if let Some(answer) = token.and_then(|token| tls?.challenge(token)) {
        return answer.into_response();
    }
    let Some(host) = host::name(request.headers()) else {
        return ApiError::Malformed("The request has no header Host, so it can't be led to TLS.".into())
            .into_response();
    };
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    let address = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let location = format!("https://{host}{port}{address}");
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let detail = format!(
            "This server takes this only over TLS: send it to {location}. What you have sent has gone over the network in \
             clear text; if it held a token, revoke that."
        );
        return ApiError::Forbidden(detail).into_response();
    }
    match HeaderValue::try_from(location) {
        Ok(location) => (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, location)]).into_response(),
        Err(_) => ApiError::Malformed("The request's address can't be led to TLS.".into()).into_response(),
    }
}
