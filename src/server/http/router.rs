//! Which address leads where, and what stands before all of them.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, Request, State};
use axum::http::{HeaderName, Method, header};
use axum::response::Response;
use axum::{Router, middleware};
use tower_http::cors::{AllowOrigin, Any, CorsLayer, Vary};

use super::error::ApiError;
use super::{
    App, AppState, Routes, access_log, compress, docs, health, host, limits, mercure, method_not_allowed, ping,
    redirect, site, soft_refusal,
};
use crate::server::net::{ConnectionRefusal, Tls};
use crate::server::settings::{CorsOrigins, Settings};

/// How long a browser may remember what a preflight allowed.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_secs(3600);

/// The table of contents: the hub's routes, and `more`.
pub(super) fn router(app: Arc<App>, more: Routes, settings: &Settings) -> Router {
    let metrics = if settings.metrics { health::metrics_router() } else { Router::new() };
    let router = Router::new()
        .merge(ping::router())
        .merge(health::router())
        .merge(metrics)
        .merge(mercure::documents())
        .merge(docs::router())
        .layer(middleware::from_fn(compress::documents))
        .merge(mercure::router())
        .merge(more)
        .fallback(fallback)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(app.clone(), host::check))
        .layer(middleware::from_fn(limits::check_head));
    bordered(router, settings).with_state(app)
}

/// Leads clients in clear text to TLS at this port.
pub(super) fn redirect(port: u16, tls: Option<Arc<Tls>>, settings: &Settings) -> Router {
    bordered(redirect::router(port, tls), settings)
}

/// Answers the requests of connections above a limit, which say why they are refused.
pub(super) fn refusals(settings: &Settings) -> Router {
    let refuse = async |Extension(refusal): Extension<ConnectionRefusal>| match refusal {
        ConnectionRefusal::Server => ApiError::TooManyConnections,
        ConnectionRefusal::Client(limit) => ApiError::TooManyClientConnections(limit),
        ConnectionRefusal::ClientRate(after) => ApiError::TooManyNewConnections(after),
    };
    bordered(Router::new().fallback(refuse), settings)
}

/// With what every answer passes on its way out.
fn bordered<S: Clone + Send + Sync + 'static>(mut router: Router<S>, settings: &Settings) -> Router<S> {
    if settings.soft_refusals {
        router = router.layer(middleware::from_fn(soft_refusal::for_browsers));
    }
    router = router.layer(cors(&settings.cors_origins));
    if settings.access_log {
        router = router.layer(middleware::from_fn(access_log::log));
    }
    router
}

/// A file of the site, or else nothing: told to a browser as a page.
async fn fallback(State(app): AppState, request: Request) -> Response {
    let read = matches!(*request.method(), Method::GET | Method::HEAD);
    if read && let Some(file) = site::file(&request) {
        return file;
    }
    let path = request.uri().path();
    let detail = format!("There is nothing at {path}. GET / with Accept: application/json lists every address.");
    app.not_found(request, detail).await
}

fn cors(origins: &CorsOrigins) -> CorsLayer {
    // What everybody may read is the same for everybody: caches need no `Vary` for it.
    // Cookies come only from pages that the operator has named.
    let (origins, vary, credentials) = match origins {
        CorsOrigins::Any => (AllowOrigin::from(Any), Vary::list([]), false),
        CorsOrigins::List(origins) => (AllowOrigin::list(origins.iter().cloned()), Vary::default(), true),
    };
    let query = Method::from_bytes(b"QUERY").unwrap_or_default();
    let name = HeaderName::from_static;
    CorsLayer::new()
        .allow_origin(origins)
        .allow_credentials(credentials)
        .vary(vary)
        .allow_methods([Method::GET, Method::HEAD, Method::POST, query])
        .allow_headers([
            header::AUTHORIZATION,
            header::CACHE_CONTROL,
            header::CONTENT_TYPE,
            header::IF_NONE_MATCH,
            name("idempotency-key"),
            name("last-event-id"),
        ])
        .expose_headers([
            header::ETAG,
            header::LINK,
            header::LOCATION,
            header::RETRY_AFTER,
            header::WWW_AUTHENTICATE,
            name("mercure-last-event-id"),
        ])
        .max_age(PREFLIGHT_MAX_AGE)
}
