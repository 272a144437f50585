//! A client of the proxy. It knows only the public host of the hub.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use reqwest::{Client, Response, Version};
use tidings::wire::paths::{HUB, PING};

use crate::recipe::HOST;
use crate::support::in_time;

/// Subscribes to the topic of [`PublicClient::publish`].
pub(crate) const NEWS: &str = "/.well-known/mercure?match=news";

/// Time for one answer while the proxy starts.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// The HTTP version that a client uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HttpVersion {
    /// Each open stream has a connection of its own.
    Http1,
    /// All streams share one.
    Http2,
}

/// A client with connections of its own.
pub(crate) struct PublicClient {
    client: Client,
    version: HttpVersion,
    origin: String,
    origin_without_tls: String,
}

impl PublicClient {
    /// A client that connects from this address to a proxy on these ports of this machine.
    pub(crate) fn new(https: u16, http: u16, version: HttpVersion, address: [u8; 4]) -> Self {
        let mut builder = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .local_address(IpAddr::from(address))
            .resolve(HOST, SocketAddr::from(([127, 0, 0, 1], 0)))
            // The certificate is self-signed.
            .tls_danger_accept_invalid_certs(true);
        if version == HttpVersion::Http1 {
            builder = builder.http1_only();
        }
        let client = builder.build().expect("a client");
        let origins = (format!("https://{HOST}:{https}"), format!("http://{HOST}:{http}"));
        Self { client, version, origin: origins.0, origin_without_tls: origins.1 }
    }

    /// Whether the hub answers a health check.
    pub(crate) async fn ping(&self) -> bool {
        let request = self.client.get(format!("{}{PING}", self.origin)).timeout(PING_TIMEOUT);
        request.send().await.is_ok_and(|response| response.status() == 200)
    }

    /// Publishes an update. Returns its id.
    pub(crate) async fn publish(&self, data: &str) -> String {
        let request = self.client.post(format!("{}{HUB}", self.origin));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let response = in_time("an answer", request.body(format!("topic=news&data={data}")).send()).await;
        let response = response.expect("an answer");
        assert_eq!(response.status(), 200);
        in_time("an id", response.text()).await.expect("an id")
    }

    /// Sends a request with these headers.
    pub(crate) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        let request = self.client.get(format!("{}{path}", self.origin));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let response = in_time("an answer", request.send()).await.expect("an answer");
        let version = if self.version == HttpVersion::Http1 { Version::HTTP_11 } else { Version::HTTP_2 };
        assert_eq!(response.version(), version);
        response
    }

    /// Sends a request without TLS.
    pub(crate) async fn get_without_tls(&self, path: &str) -> Response {
        let request = self.client.get(format!("{}{path}", self.origin_without_tls));
        in_time("an answer", request.send()).await.expect("an answer")
    }

    /// Opens a stream of the topic, with these headers.
    pub(crate) async fn subscribe(&self, headers: &[(&str, &str)]) -> OpenStream {
        let response = self.get(NEWS, headers).await;
        assert_eq!(response.status(), 200);
        OpenStream { response, text: String::new() }
    }
}

/// An open stream, and the text received so far.
pub(crate) struct OpenStream {
    response: Response,
    pub(crate) text: String,
}

impl OpenStream {
    /// Waits for the next piece of the body.
    pub(crate) async fn read(&mut self) {
        let piece = in_time("more of a stream", self.response.chunk()).await.expect("a stream that is not cut");
        self.text.push_str(str::from_utf8(&piece.expect("a stream that goes on")).expect("plain text"));
    }

    /// Reads until the text contains `words`.
    pub(crate) async fn read_until(&mut self, words: &str) {
        while !self.text.contains(words) {
            self.read().await;
        }
    }

    /// A header of the response.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name).and_then(|value| value.to_str().ok())
    }
}
