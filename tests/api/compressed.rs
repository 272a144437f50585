//! Streams that are compressed, where the settings allow it and the client accepts it.

use flate2::{Decompress, FlushDecompress, Status};
use reqwest::{Method, Response};
use tidings::server::settings::Options;

use crate::app::{App, in_time};

const HUB: &str = "/.well-known/mercure?match=messages";

/// A stream as it arrives, and what has come of it.
struct Compressed {
    response: Response,
    decompress: Decompress,
    plain: String,
}

impl Compressed {
    async fn open(app: &App, path: &str) -> Self {
        let response = app.request(Method::GET, path).header("accept", "text/event-stream");
        let response = response.header("accept-encoding", "br, gzip").send().await.expect("an answer");
        assert_eq!(response.headers()["content-encoding"], "gzip", "{path}");
        Self { response, decompress: Decompress::new_gzip(15), plain: String::new() }
    }

    /// Reads on until the text has come.
    async fn read_to(&mut self, text: &str) {
        in_time(text, async {
            while !self.plain.contains(text) {
                assert_eq!(self.read().await, Some(Status::Ok), "{text} has not come");
            }
        })
        .await;
    }

    async fn read(&mut self) -> Option<Status> {
        let bytes = self.response.chunk().await.expect("a chunk")?;
        let mut plain = Vec::with_capacity(100_000);
        let status = self.decompress.decompress_vec(&bytes, &mut plain, FlushDecompress::Sync).expect("gzip");
        self.plain.push_str(&String::from_utf8(plain).expect("text"));
        Some(status)
    }
}

#[tokio::test]
async fn each_event_of_a_compressed_stream_comes_at_once_and_a_stop_ends_it_well() {
    let app = App::start_with(Options { max_compressed_streams: Some(2), ..Options::default() }).await;
    let mut hub = Compressed::open(&app, HUB).await;
    let mut clock = Compressed::open(&app, "/clock").await;
    hub.read_to(":\n").await;
    for n in 0..20 {
        app.post_message(&format!("message {n}")).await;
        hub.read_to(&format!("message {n}")).await;
    }
    clock.read_to("data:").await;
    // There is no room for a third.
    let third = app.request(Method::GET, HUB).header("accept-encoding", "gzip").send().await.expect("an answer");
    assert!(!third.headers().contains_key("content-encoding"));
    let (_, status) = tokio::join!(app.stop(), async {
        loop {
            if hub.read().await.expect("the end of the coding") == Status::StreamEnd {
                break Status::StreamEnd;
            }
        }
    });
    assert_eq!(status, Status::StreamEnd);
    assert!(hub.plain.contains("retry: "), "{}", hub.plain);
}

#[tokio::test]
async fn a_stream_is_not_compressed_unless_it_is_allowed_and_accepted() {
    for (allowed, accepted) in [(0, "gzip"), (10, "br"), (10, "gzip;q=0")] {
        let app = App::start_with(Options { max_compressed_streams: Some(allowed), ..Options::default() }).await;
        let answer = app.request(Method::GET, HUB).header("accept-encoding", accepted).send().await.expect("an answer");
        assert!(!answer.headers().contains_key("content-encoding"), "{allowed} {accepted}");
    }
}
