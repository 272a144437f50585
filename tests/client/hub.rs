//! A hub that the test plays: it gets each request, and answers it when and as it likes.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request};
use axum::http::request::Parts;
use axum::response::Response;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::PATIENCE;

/// A hub on a port of its own.
pub(crate) struct Hub {
    address: SocketAddr,
    requests: Receiver<Asked>,
    _runtime: Runtime,
}

/// A request that waits for its answer.
pub(crate) struct Asked {
    pub(crate) from: SocketAddr,
    pub(crate) body: String,
    parts: Parts,
    reply: oneshot::Sender<Response>,
}

/// A stream that the test writes. Dropped, it ends.
pub(crate) struct Stream {
    pieces: UnboundedSender<io::Result<Bytes>>,
}

impl Hub {
    pub(crate) fn start() -> Self {
        Self::start_on("127.0.0.1:0".parse().expect("an address"))
    }

    pub(crate) fn start_on(address: SocketAddr) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind(address)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let (sender, requests) = mpsc::channel();
        let answer = async move |ConnectInfo(from): ConnectInfo<SocketAddr>, request: Request| {
            let (parts, body) = request.into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await.expect("a body");
            let body = String::from_utf8(body.into()).expect("UTF-8");
            let (reply, answer) = oneshot::channel();
            let _ = sender.send(Asked { from, body, parts, reply });
            match answer.await {
                Ok(response) => response,
                // The test leaves it without an answer.
                Err(_) => std::future::pending().await,
            }
        };
        let app = Router::new().fallback(answer).into_make_service_with_connect_info::<SocketAddr>();
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self { address, requests, _runtime: runtime }
    }

    /// What the program's `--hub` is to be.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next request.
    #[track_caller]
    pub(crate) fn request(&self) -> Asked {
        self.requests.recv_timeout(PATIENCE).expect("a request")
    }

    /// Accepts every publish from now on.
    pub(crate) fn accept_all(self) {
        thread::spawn(move || {
            // All of the hub, not its requests alone.
            let hub = self;
            while let Ok(asked) = hub.requests.recv() {
                asked.accept("accepted");
            }
        });
    }

    /// Whether there is no request for so long.
    pub(crate) fn is_left_alone(&self, time: Duration) -> bool {
        matches!(self.requests.recv_timeout(time), Err(RecvTimeoutError::Timeout))
    }
}

impl Asked {
    /// `GET /path`.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.parts.method, self.parts.uri.path())
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.parts.headers.get(name).map(|value| str::from_utf8(value.as_bytes()).expect("UTF-8"))
    }

    /// The pairs of the query, in order.
    pub(crate) fn query(&self) -> Vec<(String, String)> {
        pairs(self.parts.uri.query().unwrap_or_default())
    }

    /// The fields of the form, in order.
    pub(crate) fn form(&self) -> Vec<(String, String)> {
        pairs(&self.body)
    }

    pub(crate) fn answer(self, status: u16, headers: &[(&str, &str)], body: impl Into<Body>) {
        let response =
            headers.iter().fold(Response::builder().status(status), |r, (name, value)| r.header(*name, *value));
        let _ = self.reply.send(response.body(body.into()).expect("a response"));
    }

    /// What a hub answers to a publish.
    pub(crate) fn accept(self, id: &str) {
        self.answer(200, &[("content-type", "text/plain; charset=utf-8")], id.to_owned());
    }

    pub(crate) fn refuse(self, status: u16, detail: &str) {
        let problem = format!(r#"{{"status":{status},"title":"Refused","detail":"{detail}"}}"#);
        self.answer(status, &[("content-type", "application/problem+json")], problem);
    }

    /// Answers with a stream that begins with this.
    pub(crate) fn stream(self, begin: &str) -> Stream {
        let (pieces, receiver) = tokio::sync::mpsc::unbounded_channel();
        let body = Body::from_stream(UnboundedReceiverStream::new(receiver));
        self.answer(200, &[("content-type", "text/event-stream")], body);
        let stream = Stream { pieces };
        stream.send(begin.to_owned());
        stream
    }
}

impl Stream {
    pub(crate) fn send(&self, piece: impl Into<Bytes>) {
        let _ = self.pieces.send(Ok(piece.into()));
    }

    /// Breaks the connection. What was sent, and has not arrived, is lost.
    pub(crate) fn cut(self) {
        let _ = self.pieces.send(Err(io::Error::other("cut")));
    }
}

fn pairs(text: &str) -> Vec<(String, String)> {
    form_urlencoded::parse(text.as_bytes()).into_owned().collect()
}
