//! Starts a server for a test, and sends requests to it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder};
use serde_json::json;
use tempfile::TempDir;
use tidings::server::settings::{ListenAddress, Options, Span};
use tidings::server::{Ended, Reload, Server};
use tidings::wire::message::Message;
use tidings::wire::paths;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::answer::Answer;
use crate::listener::Listener;

pub(crate) const JSON: &str = "application/json";
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";
pub(crate) const TEXT: &str = "text/plain";
/// What a browser asks for when it opens a page.
pub(crate) const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

/// Long enough for a busy machine. Only a failing test waits this long.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A running server.
pub(crate) struct App {
    pub(crate) address: SocketAddr,
    /// What addresses on it begin with.
    base: String,
    ports: Vec<u16>,
    client: Client,
    reload: Reload,
    stop: oneshot::Sender<()>,
    server: JoinHandle<Ended>,
    options: Options,
    data: TempDir,
}

impl App {
    /// Starts a server with short bursts and without a rate limit.
    pub(crate) async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    /// Starts a server with these options, filled in with those of [`App::start`].
    pub(crate) async fn start_with(options: Options) -> Self {
        let options = Options {
            burst_interval: options.burst_interval.or(Some(millis(50))),
            rate_limit: options.rate_limit.or(Some(0)),
            ..options
        };
        Self::start_in(tempfile::tempdir().expect("a folder"), options).await
    }

    async fn start_in(data: TempDir, options: Options) -> Self {
        let settings = Options { data: Some(data.path().into()), ..options.clone() }.resolve().expect("settings");
        let mut places = vec!["127.0.0.1:0".parse().expect("an address")];
        places.extend(options.listen.iter().cloned());
        let listeners =
            places.iter().flat_map(|place: &ListenAddress| place.bind(settings.scheme()).expect("a socket"));
        let listeners: Vec<_> = listeners.collect();
        let address = listeners[0].url().and_then(|url| url.socket_addrs(|| None).ok()?.pop()).expect("an address");
        let base = listeners[0].to_string();
        let ports = listeners.iter().filter_map(|listener| listener.url()?.port()).collect();
        let client = match options.tls_certificate_file.first() {
            Some(certificate) => client_that_trusts(certificate),
            None => client(),
        };
        let (stop, stopped) = oneshot::channel();
        let server = Server::open(settings, listeners).expect("the server starts");
        let reload = server.reload();
        let run = server.run(async {
            // A test that has ended drops the sender, which stops the server too.
            _ = stopped.await;
        });
        let server = tokio::spawn(run);
        Self { address, base, ports, client, reload, stop, server, options, data }
    }

    /// The ports that it listens at, in order.
    pub(crate) fn ports(&self) -> &[u16] {
        &self.ports
    }

    /// Takes over what these options have of what takes effect at once.
    #[allow(dead_code, reason = "not every test that includes this file changes options")]
    pub(crate) fn change(&self, options: Options) {
        self.reload.take_over(&options.resolve().expect("settings"));
    }

    /// Lets it read the files of keys and certificates again.
    pub(crate) async fn reload(&self) {
        self.reload.read_files().await;
    }

    /// A request to this server.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.request(Method::GET, path).answer().await
    }

    /// Requests a representation.
    pub(crate) async fn get_as(&self, accept: &str, path: &str) -> Answer {
        self.request(Method::GET, path).header("accept", accept).answer().await
    }

    pub(crate) async fn head(&self, path: &str) -> Answer {
        self.request(Method::HEAD, path).answer().await
    }

    pub(crate) async fn post(&self, path: &str, media_type: &str, body: impl Into<reqwest::Body>) -> Answer {
        self.request(Method::POST, path).header("content-type", media_type).body(body).answer().await
    }

    /// Submits a message through the REST API, which must accept it.
    pub(crate) async fn post_message(&self, text: &str) -> Message {
        self.submit(text).await.created()
    }

    /// Submits a message through the REST API.
    pub(crate) async fn submit(&self, text: &str) -> Answer {
        self.post(paths::MESSAGES, JSON, json!({ "message": text }).to_string()).await
    }

    /// Submits the page's form, as a browser does.
    pub(crate) async fn submit_form(&self, text: &str) -> Answer {
        let request = self.request(Method::POST, paths::MESSAGES).header("accept", BROWSER);
        request.header("content-type", FORM).body(form(text)).answer().await
    }

    /// Opens a stream, as an `EventSource` does.
    pub(crate) async fn open(&self, path: &str) -> Listener {
        self.stream(path).open().await
    }

    /// Reopens a stream, as an `EventSource` does that has lost its connection.
    pub(crate) async fn reopen(&self, path: &str, last_event_id: &str) -> Listener {
        self.stream(path).header("last-event-id", last_event_id).open().await
    }

    /// The request for a stream.
    pub(crate) fn stream(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path).header("accept", "text/event-stream")
    }

    /// Stops the server and waits until it has ended.
    pub(crate) async fn stop(self) -> Ended {
        self.end().await.0
    }

    /// Stops the server, and starts it again with the same data and options at another port.
    pub(crate) async fn restart(self) -> Self {
        let (_, data, options) = self.end().await;
        Self::start_in(data, options).await
    }

    async fn end(self) -> (Ended, TempDir, Options) {
        self.stop.send(()).expect("a running server");
        let ended = in_time("the end of the server", self.server).await.expect("no panic");
        (ended, self.data, self.options)
    }
}

/// Sends a request and receives its answer.
pub(crate) trait Ask {
    async fn answer(self) -> Answer;
    async fn open(self) -> Listener;
}

impl Ask for RequestBuilder {
    async fn answer(self) -> Answer {
        Answer::read(in_time("an answer", self.send()).await.expect("an answer")).await
    }

    async fn open(self) -> Listener {
        Listener::open(in_time("a stream", self.send()).await.expect("a stream")).await
    }
}

/// A client without a proxy that follows no redirects.
pub(crate) fn client() -> Client {
    Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().expect("a client")
}

/// The same, which trusts this certificate alone.
pub(crate) fn client_that_trusts(certificate: &Path) -> Client {
    let pem = std::fs::read(certificate).expect("a certificate");
    let certificate = reqwest::Certificate::from_pem(&pem).expect("a certificate");
    let builder = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    builder.tls_certs_only([certificate]).build().expect("a client")
}

/// A message as the page's form sends it.
pub(crate) fn form(text: &str) -> String {
    form_urlencoded::Serializer::new(String::new()).append_pair("message", text).finish()
}

pub(crate) fn millis(millis: u64) -> Span {
    Span(Duration::from_millis(millis))
}

/// Waits for a future, which must complete within [`TIMEOUT`].
pub(crate) async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(TIMEOUT, future).await.unwrap_or_else(|_| panic!("{what} did not come within {TIMEOUT:?}"))
}
