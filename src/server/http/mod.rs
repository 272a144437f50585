//! The hub's web API: the addresses, what they read and what they answer, and the plumbing that other rooms' routes
//! stand on.

pub(super) mod accept;
mod access_log;
pub(super) mod body;
mod cache;
mod callers;
pub(super) mod compress;
mod conditional;
mod direct;
mod docs;
pub(super) mod error;
mod frames;
mod gzip;
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
mod router;
mod serving;
mod site;
mod soft_refusal;
mod sse_body;
mod stream;
mod unread;
pub(super) mod welcome;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use tokio::time::Instant;

use super::auth::Auth;
use super::hub::{ClientKey, Hub, Start, Wanted};
use super::net::{self, Handover, Tls};
use super::settings::Settings;
use crate::ui::Assets;
use callers::Callers;
pub(super) use docs::Description;
use error::ApiError;
use gzip::CompressedStreams;
use health::Health;
use limits::PublishLimits;
use mercure::Mercure;
pub(super) use mercure::handle_control_messages;
pub(super) use serving::{Listeners, Serving};
use stream::StreamOpening;

/// What the handlers need.
pub(super) struct App {
    mercure: Mercure,
    health: Arc<Health>,
    callers: Arc<Callers>,
    /// The host that requests must be meant for, once the operator has said what it is.
    public_host: Option<String>,
    limits: PublishLimits,
    compressed_streams: Arc<CompressedStreams>,
    max_body: usize,
    assets: Option<Assets>,
    description: Arc<Description>,
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
    headers: HeaderMap,
    handover: Option<Handover>,
}

impl<S: Send + Sync> FromRequestParts<S> for StreamRequest {
    type Rejection = <Peer as FromRequestParts<S>>::Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let Connection { peer, handover } = Connection::from_request_parts(parts, state).await?;
        let client = ClientKey::Network(net::client_key(peer.ip()));
        let headers = parts.headers.clone();
        Ok(Self { is_head: parts.method == Method::HEAD, client, headers, handover })
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
            health: Arc::new(Health::new(hub.clone(), auth.clone(), tls, callers.clone())),
            callers,
            mercure: Mercure::new(hub, auth, settings),
            public_host,
            limits: PublishLimits::new(&settings.limits),
            compressed_streams: CompressedStreams::new(settings.limits.max_compressed_streams),
            max_body: settings.limits.max_body,
            assets: site::assets(),
            description: Arc::new(description),
            started: Instant::now(),
        })
    }

    /// The same with other settings of those that take effect at once. What clients have used up of their limits is forgotten.
    pub(super) fn with_settings(&self, settings: &Settings) -> Arc<Self> {
        self.callers.trust(settings.trusted_proxies.clone(), settings.proxy_header);
        self.compressed_streams.set_max(settings.limits.max_compressed_streams);
        Arc::new(Self {
            mercure: self.mercure.with_settings(settings),
            health: self.health.clone(),
            callers: self.callers.clone(),
            public_host: self.public_host.clone(),
            limits: PublishLimits::new(&settings.limits),
            compressed_streams: self.compressed_streams.clone(),
            max_body: settings.limits.max_body,
            assets: self.assets.clone(),
            description: self.description.clone(),
            started: self.started,
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
        let options = self.mercure.session_of(request.client.clone());
        match self.mercure.hub().session(options) {
            Ok(session) => stream::respond(name, frames, session, self.compressed_streams.admit(&request.headers)),
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
        let options = self.mercure.session_of(request.client);
        let compression = self.compressed_streams.admit(&request.headers);
        let opening = StreamOpening { name, options, wanted, start, tells_gaps: true, asked, compression };
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
        self.limits.check(None, client)
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

async fn method_not_allowed(request: Request) -> ApiError {
    let (method, path) = (request.method(), request.uri().path());
    ApiError::Method(format!("{path} does not take {method}. The header Allow lists what it takes."))
}
