//! Every address refuses what it does not accept, with a problem that says what to do.

use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::app::{App, Ask, in_time};

#[tokio::test]
async fn a_method_that_an_address_does_not_take_is_refused_with_those_that_it_does() {
    let app = App::start().await;
    for (path, methods) in [
        ("/", "GET,HEAD"),
        ("/api/ping", "GET,HEAD"),
        ("/api/messages", "GET,HEAD,POST"),
        ("/api/messages/some-id", "GET,HEAD"),
        ("/publish", "POST"),
        ("/stream", "GET,HEAD"),
        ("/clock", "GET,HEAD"),
        ("/remote", "GET,HEAD"),
        ("/sse", "GET,HEAD"),
        ("/counter", "GET,HEAD"),
    ] {
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            if methods.contains(method.as_str()) {
                continue;
            }
            let answer = app.request(method.clone(), path).answer().await;
            let detail = answer.problem(405);
            assert!(detail.contains(method.as_str()) && detail.contains(path), "{detail}");
            let mut allowed: Vec<_> = answer.header("allow").split(',').map(|m| m.trim().to_owned()).collect();
            allowed.sort_unstable();
            assert_eq!(allowed.join(","), methods, "{path}");
        }
    }
}

#[tokio::test]
async fn a_parameter_that_is_not_utf_8_is_refused_wherever_it_is_read() {
    let app = App::start().await;
    for (path, name) in [("/stream", "last_event_id"), ("/counter", "last_event_id"), ("/api/messages", "before")] {
        let detail = app.get(&format!("{path}?{name}=%ff")).await.problem(400);
        assert!(detail.contains("UTF-8"), "{detail}");
        let mut other = app.open(&format!("{path}?utm=%ff")).await;
        other.read_until(":\n").await;
    }
}

#[tokio::test]
async fn problems_say_what_to_do() {
    let app = App::start().await;
    for (path, advice) in [
        ("/nothing", "lists every address"),
        ("/stream?message=nobody", "mistyped"),
        ("/api/messages/nobody", "mistyped"),
        ("/api/messages?limit=0", "from 1 to 200"),
        ("/api/messages?before=nobody", "Page back from"),
    ] {
        let answer = app.get(path).await;
        let detail = answer.problem(answer.status.as_u16());
        assert!(detail.contains(advice), "{path}: {detail}");
    }
}

#[tokio::test]
async fn a_refusal_arrives_though_the_body_was_not_wanted() {
    let app = App::start().await;
    let body = vec![b'x'; 900_000];
    for _ in 0..20 {
        // As a proxy does: all of it is sent before anything is read, and the body comes some time after the head.
        let mut stream = tokio::net::TcpStream::connect(app.address).await.expect("it listens");
        let head = format!(
            "POST /.well-known/mercure HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.expect("it listens");
        app.get("/api/ping").await.assert_status(200);
        in_time("room", stream.write_all(&body)).await.expect("the connection stays open");
        let mut answer = [0; 12];
        in_time("an answer", stream.read_exact(&mut answer)).await.expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 401");
    }
}
