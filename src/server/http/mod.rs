//! The only room that knows axum: the addresses, what they read and what they answer.

mod accept;
mod body;
mod cache;
mod compress;
mod conditional;
mod connection;
mod docs;
mod drain;
mod error;
mod host;
mod last_event_id;
mod limits;
mod listener;
mod mercure;
mod messages;
mod outlet;
mod pages;
mod params;
mod parked;
mod ping;
mod publish;
mod root;
mod site;
mod stall;
mod streams;
mod submission;
mod trace;
mod window;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderName, Method, header};
use axum::response::{IntoResponse, Response};
use axum::{Router, middleware};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tower_http::cors::{AllowOrigin, Any, CorsLayer, Vary};

use super::auth::Auth;
use super::demo::{Bursts, Messages, Ticker};
use super::hub::Hub;
use super::settings::{CorsOrigins, Settings};
use crate::ui::Assets;
use drain::Drain;
use error::ApiError;
use limits::PublishLimit;
use listener::ConnectionLimits;
use mercure::Mercure;

/// How long a browser may remember what a preflight allowed.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_secs(3600);

/// What the producers of the demo give to the border.
pub(super) struct Producers {
    pub(super) messages: Messages,
    pub(super) bursts: Bursts,
    pub(super) ticker: Ticker,
}

/// What the handlers need.
struct App {
    producers: Producers,
    mercure: Mercure,
    /// The host that requests must be meant for, once the operator has said what it is.
    public_host: Option<String>,
    drain: Arc<Drain>,
    limit: PublishLimit,
    heartbeat: Duration,
    max_message: usize,
    max_body: usize,
    repeat: u32,
    assets: Option<Assets>,
    started: Instant,
}

type AppState = State<Arc<App>>;

type Peer = ConnectInfo<SocketAddr>;

/// Serves until `shutdown`, then ends the streams and waits for the connections. Answers how many of them
/// had to be cut.
pub(super) async fn serve(
    listener: TcpListener,
    settings: &Settings,
    producers: Producers,
    hub: Hub,
    auth: Arc<Auth>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> usize {
    let drain = Drain::new();
    let public_host = settings.mercure.resource.as_ref().and_then(|_| hub.url().host_str().map(str::to_owned));
    let app = App {
        producers,
        mercure: Mercure::new(hub, auth, settings.mercure.clone()),
        public_host,
        drain: drain.clone(),
        limit: PublishLimit::new(settings.rate_limit),
        heartbeat: settings.heartbeat,
        max_message: settings.max_message,
        max_body: settings.max_body,
        repeat: settings.burst.repeat,
        assets: site::assets(),
        started: Instant::now(),
    };
    let router = router(Arc::new(app), &settings.cors_origins);
    let begin = drain.clone();
    tokio::spawn(async move {
        shutdown.await;
        begin.begin();
    });
    let limits = ConnectionLimits { connections: settings.max_connections, stall: settings.stall_timeout };
    listener::serve(listener, router, limits, drain).await
}

/// The table of contents.
fn router(app: Arc<App>, cors_origins: &CorsOrigins) -> Router {
    Router::new()
        .merge(root::router())
        .merge(ping::router())
        .merge(messages::router())
        .merge(publish::router())
        .merge(mercure::documents())
        .merge(docs::router())
        .layer(middleware::from_fn(compress::documents))
        .merge(streams::router())
        .merge(mercure::router())
        .fallback(fallback)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(app.clone(), host::check))
        .layer(cors(cors_origins))
        .layer(middleware::from_fn(trace::request))
        .with_state(app)
}

/// A file of the site, or else nothing: told to a browser as a page.
async fn fallback(State(app): AppState, request: Request) -> Response {
    let read = matches!(*request.method(), Method::GET | Method::HEAD);
    if read && let Some(file) = site::file(&request) {
        return file;
    }
    let path = request.uri().path().to_owned();
    match accept::negotiate(request.headers(), &[accept::JSON, accept::HTML]) {
        accept::HTML if read => pages::not_found(app.assets.clone(), path).await,
        _ => {
            let detail =
                format!("There is nothing at {path}. GET / with Accept: application/json lists every address.");
            ApiError::NotFound(detail).into_response()
        }
    }
}

async fn method_not_allowed(request: Request) -> ApiError {
    let (method, path) = (request.method(), request.uri().path());
    ApiError::Method(format!("{path} does not take {method}. The header Allow lists what it takes."))
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
