//! The hub's web API: the addresses, what they read and what they answer, and the plumbing that other rooms' routes
//! stand on.

pub(super) mod accept;
pub(super) mod body;
mod cache;
mod callers;
pub(super) mod compress;
mod conditional;
mod direct;
mod docs;
pub(super) mod error;
mod frames;
mod health;
pub(super) mod host;
pub(super) mod last_event_id;
mod limits;
mod mercure;
mod origin;
pub(super) mod pages;
pub(super) mod params;
mod path;
mod ping;
mod redirect;
mod site;
mod soft_refusal;
mod sse_body;
mod stream;
mod trace;
mod unread;
pub(super) mod welcome;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use axum::{Router, middleware};
use futures_util::Stream;
use hyper::body::Incoming;
use hyper::service::service_fn;
use tokio::time::{Instant, sleep};
use tower::ServiceExt;
use tower_http::cors::{AllowOrigin, Any, CorsLayer, Vary};
use url::Url;

use super::auth::Auth;
use super::hub::{ClientKey, Hub, SessionOptions, Start, Wanted};
use super::net::{self, Answers, Arrival, ConnectionLimits, Handover, Listener, Scheme, Shutdown, Tls, TrustedProxies};
use super::settings::{CorsOrigins, Drain, Settings};
use crate::ui::Assets;
use callers::Callers;
pub(super) use docs::Description;
use error::ApiError;
use health::Health;
use limits::PublishLimit;
use mercure::Mercure;
use stream::StreamOpening;

/// Connections of operators at once.
const OPERATORS: usize = 256;

/// How long connections may take to end once their streams have: then they are cut.
const LAST_WORDS: Duration = Duration::from_millis(1500);

/// How long a browser may remember what a preflight allowed.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_secs(3600);

/// What the handlers need.
pub(super) struct App {
    mercure: Mercure,
    health: Health,
    callers: Arc<Callers>,
    /// The host that requests must be meant for, once the operator has said what it is.
    public_host: Option<String>,
    limit: PublishLimit,
    max_body: usize,
    assets: Option<Assets>,
    description: Description,
    started: Instant,
}

type AppState = State<Arc<App>>;

pub(super) type Peer = ConnectInfo<SocketAddr>;

/// The connection that a request came over.
struct Connection {
    peer: SocketAddr,
    /// Present if a response may take it over.
    handover: Option<Handover>,
}

impl<S: Send + Sync> FromRequestParts<S> for Connection {
    type Rejection = <Peer as FromRequestParts<S>>::Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let ConnectInfo(peer) = Peer::from_request_parts(parts, state).await?;
        Ok(Self { peer, handover: parts.extensions.remove() })
    }
}

/// A request for a stream of the demo.
pub(super) struct StreamRequest {
    /// Whether the headers alone are asked for.
    is_head: bool,
    client: ClientKey,
    handover: Option<Handover>,
}

impl<S: Send + Sync> FromRequestParts<S> for StreamRequest {
    type Rejection = <Peer as FromRequestParts<S>>::Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let Connection { peer, handover } = Connection::from_request_parts(parts, state).await?;
        let client = ClientKey::Network(net::client_key(peer.ip()));
        Ok(Self { is_head: parts.method == Method::HEAD, client, handover })
    }
}

impl App {
    /// What the handlers of a server with this hub need. `description` describes what the server serves.
    pub(super) fn new(
        settings: &Settings,
        hub: Hub,
        auth: Arc<Auth>,
        tls: Option<Arc<Tls>>,
        description: Description,
    ) -> Arc<Self> {
        let callers = Arc::new(Callers::new(settings.trusted_proxies.clone(), settings.proxy_header));
        let public_host = settings.mercure.resource.as_ref().and_then(|_| hub.url().host_str().map(str::to_owned));
        Arc::new(Self {
            health: Health::new(hub.clone(), auth.clone(), tls, callers.clone()),
            callers,
            mercure: Mercure::new(hub, auth, settings.mercure.clone()),
            public_host,
            limit: PublishLimit::new(settings.rate_limit),
            max_body: settings.max_body,
            assets: site::assets(),
            description,
            started: Instant::now(),
        })
    }

    /// The response that carries these frames, or for `HEAD` its headers alone. `name` stands for the stream in the
    /// server's log.
    pub(super) fn stream<S>(&self, request: &StreamRequest, name: &'static str, frames: S) -> Response
    where
        S: Stream<Item = Bytes> + Send + Unpin + 'static,
    {
        if request.is_head {
            return stream::respond_to_head();
        }
        let options = SessionOptions { client: Some(request.client.clone()), ..SessionOptions::default() };
        match self.mercure.hub().session(options) {
            Ok(session) => stream::respond(name, frames, session),
            Err(error) => ApiError::from(error).into_response(),
        }
    }

    /// The same for what the hub delivers from `start` on, and where that has a gap. The client came back with the id
    /// `asked`.
    pub(super) async fn deliver(
        &self,
        request: StreamRequest,
        name: &'static str,
        wanted: Arc<Wanted>,
        start: Start,
        asked: Option<String>,
    ) -> Result<Response, ApiError> {
        if request.is_head {
            return Ok(stream::respond_to_head());
        }
        let options = SessionOptions { client: Some(request.client), ..SessionOptions::default() };
        let opening = StreamOpening { name, options, wanted, start, tells_gaps: true, asked };
        Ok(opening.respond(self.mercure.hub(), request.handover).await?)
    }

    /// Refuses what a page of another site makes a visitor's browser send, unless the operator allows its origin. A
    /// request that comes from no page passes, as a script's.
    pub(super) fn check_page(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        self.mercure.origins.check(headers).map_err(|foreign| ApiError::Forbidden(foreign.to_string()))
    }

    /// 404: there is nothing at this address. A browser gets a page.
    pub(super) async fn not_found(&self, request: Request, detail: String) -> Response {
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        match accept::negotiate(request.headers(), &[accept::JSON, accept::HTML]) {
            accept::HTML if is_read => pages::not_found(self.assets(), request.uri().path().to_owned()).await,
            _ => ApiError::NotFound(detail).into_response(),
        }
    }

    /// Counts one publish of this client, and refuses it when the client publishes too fast.
    pub(super) fn check_rate(&self, client: SocketAddr) -> Result<(), ApiError> {
        self.limit.check(client.ip())
    }

    /// The `Link` that leads from a document to the hub, whose events continue after the event with this id, or
    /// begin with the first. `parameters` describe the events.
    pub(super) fn link_to_hub(&self, last_event_id: Option<&str>, parameters: &str) -> Option<HeaderValue> {
        self.mercure.link(last_event_id, parameters)
    }

    /// The largest request body, in bytes.
    pub(super) fn max_body(&self) -> usize {
        self.max_body
    }

    /// The addresses of the site's script, WASM and style; `None` where the site was not built.
    pub(super) fn assets(&self) -> Option<Assets> {
        self.assets.clone()
    }
}

/// Routes beside the hub's own.
pub(super) type Routes = Router<Arc<App>>;

/// Where to listen.
pub(super) struct Listeners {
    pub(super) clients: Vec<Listener>,
    /// For metrics and health alone.
    pub(super) operators: Vec<Listener>,
}

/// Serves the hub and `more` routes until `shutdown`, then ends the streams and waits for the connections. Answers how
/// many of them had to be cut.
pub(super) async fn serve(
    listeners: Listeners,
    tls: Option<Arc<Tls>>,
    app: Arc<App>,
    more: Routes,
    settings: &Settings,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> usize {
    let Listeners { clients: listeners, operators } = listeners;
    let watched = Shutdown::default();
    let watching = tokio::spawn(serve_operators(operators, app.clone(), settings, watched.clone()));
    let stop = Shutdown::default();
    let draining = tokio::spawn(drain(app.clone(), settings.drain, shutdown, stop.clone()));
    let limits = ConnectionLimits {
        connections: settings.max_connections,
        per_client: settings.max_connections_per_client,
        trusted_proxies: settings.trusted_proxies.clone(),
        write_timeout: settings.stall_timeout,
        proxy_protocol: settings.proxy_protocol,
        drain: settings.drain.time + LAST_WORDS,
    };
    let callers = app.callers.clone();
    let router = router(app, more, settings);
    let full = refusals(settings, || ApiError::TooManyConnections);
    let limit = settings.max_connections_per_client;
    let full_client = refusals(settings, move || ApiError::TooManyClientConnections(limit));
    let service = move |router: &Router, arrival: Arrival| {
        let (router, callers) = (router.clone(), callers.clone());
        service_fn(move |mut request: axum::http::Request<Incoming>| {
            callers.identify(&arrival, &mut request);
            let (request, unread) = unread::lend(request);
            let answer = router.clone().oneshot(request);
            // In a box: a connection must not keep room for a request while it is idle.
            Box::pin(async move {
                let answer = answer.await;
                if let Some(unread) = unread {
                    unread.discard().await;
                }
                answer
            })
        })
    };
    let redirect = redirect::router(tls_port(&listeners, settings), tls.clone()).layer(cors(&settings.cors_origins));
    let (has_tls, redirects) = (tls.is_some(), settings.redirect_http);
    let (refuse, refuse_client) = (service.clone(), service.clone());
    let answers = Answers {
        service: Arc::new(move |arrival: Arrival| {
            let is_astray = arrival.scheme != arrival.expected || (has_tls && redirects);
            match arrival.scheme {
                Scheme::Http if is_astray => service(&redirect, arrival),
                _ => service(&router, arrival),
            }
        }),
        refusal: Arc::new(move |arrival| refuse(&full, arrival)),
        client_refusal: Arc::new(move |arrival| refuse_client(&full_client, arrival)),
        head_refusals: error::head_refusals(&settings.cors_origins),
    };
    let cut = net::serve(listeners, tls, answers, limits, stop).await;
    // They hold the hub, and with it the log, which the next server may be about to open.
    watched.begin();
    _ = tokio::join!(draining, watching);
    cut
}

/// Waits for the shutdown and ends everything: the server isn't ready at once, and a while later it takes no more
/// connections and its streams end.
async fn drain(app: Arc<App>, drain: Drain, shutdown: impl Future<Output = ()>, stop: Shutdown) {
    shutdown.await;
    app.health.begin_drain();
    sleep(drain.delay).await;
    stop.begin();
    app.mercure.hub().drain(drain.time).await;
}

/// Serves what only operators need, until the rest has ended.
fn serve_operators(
    listeners: Vec<Listener>,
    app: Arc<App>,
    settings: &Settings,
    stop: Shutdown,
) -> impl Future<Output = usize> + Send + use<> {
    let router = health::router().merge(health::metrics_router()).with_state(app);
    let service = move |_| {
        let router = router.clone();
        service_fn(move |request: axum::http::Request<Incoming>| {
            Box::pin(router.clone().oneshot(request.map(Body::new)))
        })
    };
    let service: net::MakeService<_> = Arc::new(service);
    let head_refusals = error::head_refusals(&settings.cors_origins);
    let answers =
        Answers { service: service.clone(), refusal: service.clone(), client_refusal: service, head_refusals };
    let limits = ConnectionLimits {
        connections: OPERATORS,
        per_client: 0,
        trusted_proxies: TrustedProxies::default(),
        write_timeout: settings.stall_timeout,
        proxy_protocol: false,
        drain: Duration::ZERO,
    };
    net::serve(listeners, None, answers, limits, stop)
}

/// Where clients in clear text are led: to the public URL's port, or else to the first one with TLS.
fn tls_port(listeners: &[Listener], settings: &Settings) -> u16 {
    let public = settings.mercure.resource.as_deref().and_then(|url| Url::parse(url).ok());
    let public = public.filter(|url| url.scheme() == Scheme::Https.name());
    let first = || listeners.iter().filter(|listener| listener.scheme() == Scheme::Https).find_map(Listener::url);
    public.or_else(first).and_then(|url| url.port_or_known_default()).unwrap_or(443)
}

/// Answers the requests of connections above a limit.
fn refusals(settings: &Settings, error: impl Fn() -> ApiError + Clone + Send + Sync + 'static) -> Router {
    let refusals = Router::new().fallback(move || std::future::ready(error()));
    softened(refusals, settings).layer(cors(&settings.cors_origins))
}

/// With softer refusals for browsers, where the settings say so.
fn softened<S: Clone + Send + Sync + 'static>(router: Router<S>, settings: &Settings) -> Router<S> {
    match settings.soft_refusals {
        true => router.layer(middleware::from_fn(soft_refusal::for_browsers)),
        false => router,
    }
}

/// The table of contents.
fn router(app: Arc<App>, more: Routes, settings: &Settings) -> Router {
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
    softened(router, settings)
        .layer(cors(&settings.cors_origins))
        .layer(middleware::from_fn(trace::request))
        .with_state(app)
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
