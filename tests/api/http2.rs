//! Cleartext HTTP/2 by prior knowledge.

use futures_util::future::join_all;
use reqwest::{Client, Version};
use tidings::wire::message::Message;

use crate::app::{App, Ask};
use crate::listener::burst;

#[tokio::test]
async fn documents_and_streams_come_over_http_2() {
    let app = App::start().await;
    let client = client();
    let get = |path: &str| client.get(format!("http://{}{path}", app.address));
    let ping = get("/api/ping").answer().await;
    assert_eq!(ping.assert_status(200).version, Version::HTTP_2);
    let mut stream = get("/stream").open().await;
    let body = r#"{"message":"Hello"}"#;
    let post = client.post(format!("http://{}/api/messages", app.address)).header("content-type", "application/json");
    let message: Message = post.body(body).answer().await.created();
    assert_eq!(stream.rest().await, burst(&message, 1, 3));
    get("/nothing").answer().await.problem(404);
}

#[tokio::test]
async fn a_hundred_streams_share_one_connection() {
    let app = App::start().await;
    let client = client();
    let mut streams = join_all((0..100).map(|_| client.get(format!("http://{}/stream", app.address)).open())).await;
    let message = app.post_message("to all").await;
    for heard in join_all(streams.iter_mut().map(|stream| stream.rest())).await {
        assert_eq!(heard, burst(&message, 1, 3));
    }
}

#[tokio::test]
async fn a_shutdown_ends_streams_over_http_2() {
    let app = App::start().await;
    let client = client();
    let mut streams = join_all((0..20).map(|_| client.get(format!("http://{}/stream", app.address)).open())).await;
    let (ended, ()) = tokio::join!(app.stop(), async {
        for stream in &mut streams {
            assert_eq!(stream.rest().await, []);
            assert!(stream.raw().contains("retry: "), "{}", stream.raw());
        }
    });
    assert_eq!(ended.cut, 0);
}

fn client() -> Client {
    Client::builder().no_proxy().http2_prior_knowledge().build().expect("a client")
}
