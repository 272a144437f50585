//! Serves connections: what answers their requests, which a reload replaces, and how that ends.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use tokio::time::sleep;
use tower::ServiceExt;
use url::Url;

use super::{App, Routes, error, health, router, unread};
use crate::server::net::{
    self, Answers, Arrival, ConnectionLimits, ConnectionRefusal, Listener, Scheme, Shutdown, Tls, TrustedProxies,
    connection_rate,
};
use crate::server::settings::{CorsOrigins, Drain, Settings};

/// Connections of operators at once.
const OPERATORS: usize = 256;

/// Requests at once over one HTTP/2 connection of an operator.
const OPERATORS_STREAMS: u32 = 100;

/// How long connections may take to end once their streams have: then they are cut.
const LAST_WORDS: Duration = Duration::from_millis(1500);

/// Where to listen.
pub(in crate::server) struct Listeners {
    pub(in crate::server) clients: Vec<Listener>,
    /// For metrics and health alone.
    pub(in crate::server) operators: Vec<Listener>,
}

/// What is served, and within which limits.
pub(in crate::server) struct Serving {
    front: ArcSwap<Front>,
    limits: Arc<ArcSwap<ConnectionLimits>>,
    tls: Option<Arc<Tls>>,
    /// The port at which clients find TLS.
    tls_port: u16,
}

/// What answers requests.
struct Front {
    app: Arc<App>,
    router: Router,
    redirect: Router,
    refusals: Router,
    /// Whether pages of every origin may read.
    is_open: bool,
    drain: Drain,
}

/// Which part of the front answers a connection.
#[derive(Clone, Copy)]
enum Door {
    Router,
    Redirect,
    Refusal(ConnectionRefusal),
}

impl Serving {
    /// What these settings say, and `more` routes.
    pub(in crate::server) fn new(
        app: Arc<App>,
        more: Routes,
        listeners: &Listeners,
        tls: Option<Arc<Tls>>,
        settings: &Settings,
    ) -> Arc<Self> {
        let tls_port = tls_port(&listeners.clients, settings);
        let front = ArcSwap::from_pointee(Front::new(app, more, tls_port, tls.clone(), settings));
        Arc::new(Self { front, limits: Arc::new(ArcSwap::from_pointee(limits(settings))), tls, tls_port })
    }

    /// What the handlers need.
    pub(in crate::server) fn app(&self) -> Arc<App> {
        self.front.load().app.clone()
    }

    /// How it would stop now.
    pub(in crate::server) fn drain(&self) -> Drain {
        self.front.load().drain
    }

    /// Serves this from now on, also to who is connected. Once the server stops nothing changes any more.
    pub(in crate::server) fn replace(&self, app: Arc<App>, more: Routes, settings: &Settings) {
        if app.health.is_draining() {
            return;
        }
        self.front.store(Arc::new(Front::new(app, more, self.tls_port, self.tls.clone(), settings)));
        self.limits.store(Arc::new(limits(settings)));
    }

    /// Serves until `shutdown`, then ends the streams and waits for the connections. Answers how many of them had to be cut.
    pub(in crate::server) async fn run(
        self: Arc<Self>,
        listeners: Listeners,
        settings: &Settings,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> usize {
        let Listeners { clients, operators } = listeners;
        let watched = Shutdown::default();
        let watching = tokio::spawn(serve_operators(operators, self.app(), settings, watched.clone()));
        let stop = Shutdown::default();
        let draining = tokio::spawn(drain(self.clone(), shutdown, stop.clone()));
        let (has_tls, redirects) = (self.tls.is_some(), settings.redirect_http);
        let [serving, refusing, reading] = [(); 3].map(|()| self.clone());
        let answers = Answers {
            service: Arc::new(move |arrival: Arrival| {
                let is_astray = arrival.scheme != arrival.expected || (has_tls && redirects);
                let is_led = arrival.scheme == Scheme::Http && is_astray;
                serving.clone().service(if is_led { Door::Redirect } else { Door::Router }, arrival)
            }),
            refusal: Arc::new(move |refusal, arrival| refusing.clone().service(Door::Refusal(refusal), arrival)),
            head_refusals: error::head_refusals(move || reading.front.load().is_open),
        };
        let cut = net::serve(clients, self.tls.clone(), answers, self.limits.clone(), stop).await;
        // They hold the hub, and with it the log, which the next server may be about to open.
        watched.begin();
        _ = tokio::join!(draining, watching);
        cut
    }

    /// Answers the requests of one connection.
    fn service(
        self: Arc<Self>,
        door: Door,
        arrival: Arrival,
    ) -> impl Service<
        Request<Incoming>,
        Response = Response<Body>,
        Error = Infallible,
        Future = impl Future<Output = Result<Response<Body>, Infallible>> + Send + 'static,
    > + Clone
    + Send
    + 'static {
        service_fn(move |mut request: Request<Incoming>| {
            let front = self.front.load();
            front.app.callers.identify(&arrival, &mut request);
            let (mut request, unread) = unread::lend(request);
            let router = match door {
                Door::Router => &front.router,
                Door::Redirect => &front.redirect,
                Door::Refusal(refusal) => {
                    request.extensions_mut().insert(refusal);
                    &front.refusals
                }
            };
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
    }
}

impl Front {
    fn new(app: Arc<App>, more: Routes, tls_port: u16, tls: Option<Arc<Tls>>, settings: &Settings) -> Self {
        Self {
            router: router::router(app.clone(), more, settings),
            redirect: router::redirect(tls_port, tls, settings),
            refusals: router::refusals(settings),
            app,
            is_open: settings.cors_origins == CorsOrigins::Any,
            drain: settings.drain,
        }
    }
}

fn limits(settings: &Settings) -> ConnectionLimits {
    let limits = &settings.limits;
    ConnectionLimits {
        connections: limits.max_connections,
        per_client: limits.max_connections_per_client,
        client_rate: connection_rate(limits.connection_rate),
        trusted_proxies: settings.trusted_proxies.clone(),
        write_timeout: settings.stall_timeout,
        proxy_protocol: settings.proxy_protocol,
        http2_streams: limits.max_http2_streams,
        drain: settings.drain.time + LAST_WORDS,
    }
}

/// Waits for the shutdown and ends everything: the server isn't ready at once, and a while later it takes no more
/// connections and its streams end.
async fn drain(serving: Arc<Serving>, shutdown: impl Future<Output = ()>, stop: Shutdown) {
    shutdown.await;
    let front = serving.front.load_full();
    front.app.health.begin_drain();
    sleep(front.drain.delay).await;
    stop.begin();
    front.app.mercure.hub().drain(front.drain.time).await;
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
        service_fn(move |request: Request<Incoming>| Box::pin(router.clone().oneshot(request.map(Body::new))))
    };
    let service: net::MakeService<_> = Arc::new(service);
    let refusal = service.clone();
    let answers = Answers {
        service,
        refusal: Arc::new(move |_, arrival| refusal(arrival)),
        head_refusals: error::head_refusals(|| false),
    };
    let limits = ConnectionLimits {
        connections: OPERATORS,
        per_client: None,
        client_rate: connection_rate(None),
        trusted_proxies: TrustedProxies::default(),
        write_timeout: settings.stall_timeout,
        proxy_protocol: false,
        http2_streams: OPERATORS_STREAMS,
        drain: Duration::ZERO,
    };
    net::serve(listeners, None, answers, Arc::new(ArcSwap::from_pointee(limits)), stop)
}

/// Where clients in clear text are led: to the public URL's port, or else to the first one with TLS.
fn tls_port(listeners: &[Listener], settings: &Settings) -> u16 {
    let public = settings.mercure.resource.as_deref().and_then(|url| Url::parse(url).ok());
    let public = public.filter(|url| url.scheme() == Scheme::Https.name());
    let first = || listeners.iter().filter(|listener| listener.scheme() == Scheme::Https).find_map(Listener::url);
    public.or_else(first).and_then(|url| url.port_or_known_default()).unwrap_or(443)
}
