//! Who sends a request, for limits, logs and whatever depends on the address that a client has asked for.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use axum::extract::ConnectInfo;
use axum::http::{HeaderName, HeaderValue, Request, header};
use tracing::warn;

use crate::server::net::{Arrival, ProxyHeader, Scheme, TrustedProxies};

/// By which scheme a client has sent its request.
pub(super) const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Finds out who sends a request.
pub(super) struct Callers {
    trusted: ArcSwap<(TrustedProxies, ProxyHeader)>,
    /// The first who is not trusted and has said that a request was forwarded.
    ignored: ArcSwapOption<IpAddr>,
}

impl Callers {
    pub(super) fn new(proxies: TrustedProxies, header: ProxyHeader) -> Self {
        Self { trusted: ArcSwap::from_pointee((proxies, header)), ignored: ArcSwapOption::empty() }
    }

    /// Trusts these proxies from now on.
    pub(super) fn trust(&self, proxies: TrustedProxies, header: ProxyHeader) {
        self.trusted.store(Arc::new((proxies, header)));
        // The next one is named again.
        self.ignored.store(None);
    }

    /// Somebody who is not trusted and has said that a request was forwarded, if there was one.
    pub(super) fn ignored(&self) -> Option<IpAddr> {
        self.ignored.load().as_deref().copied()
    }

    /// Notes who sends this request, which has arrived so, and by which host and scheme: the headers that say so are ours
    /// from here on, or those of a trusted proxy.
    pub(super) fn identify<B>(&self, arrival: &Arrival, request: &mut Request<B>) {
        let peer = arrival.peer;
        let trusted = self.trusted.load();
        let (proxies, header) = &**trusted;
        let client = proxies.client(peer.ip(), *header, request.headers());
        // Once: any client can send such a header.
        if proxies.ignore(peer.ip(), request.headers()) && self.ignored.load().is_none() {
            self.ignored.store(Some(Arc::new(peer.ip())));
            warn!(
                %peer,
                "requests say that they were forwarded, by somebody who is no trusted proxy: all who come that way count \
                 as one client. If it is your proxy, name it with --trusted-proxies {}",
                peer.ip()
            );
        }
        request.extensions_mut().insert(ConnectInfo(SocketAddr::new(client.address, peer.port())));
        // HTTP/2 has the host there (RFC 9113, 8.3.1), and in HTTP/1.1 what stands there counts (RFC 9112, 3.2.2).
        let authority = request.uri().authority().map(|authority| authority.as_str().to_owned());
        let scheme = || (arrival.scheme == Scheme::Https).then(|| Scheme::Https.name().to_owned());
        let headers = request.headers_mut();
        headers.remove(FORWARDED_PROTO);
        let told = [(header::HOST, client.host.or(authority)), (FORWARDED_PROTO, client.scheme.or_else(scheme))];
        for (name, value) in told {
            if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
                headers.insert(name, value);
            }
        }
    }
}
