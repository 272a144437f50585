//! TLS without a proxy: HTTP/2 and 1.1, which certificate, its renewal, and clients that come in clear text.

use std::path::Path;

use futures_util::future::join_all;
use reqwest::{Client, Method, Version};
use tempfile::TempDir;
use tidings::server::settings::Options;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio_rustls::rustls::HandshakeKind;

use crate::app::{App, Ask, client, in_time};
use crate::certificates::{Certificate, TlsClient, make, read, shown};
use crate::listener::burst;

/// A server over TLS with these certificates, the first of which its client trusts.
async fn serve(certificates: &[&Certificate], more: Options) -> App {
    App::start_with(Options {
        tls_certificate_file: certificates.iter().map(|files| files.certificate.clone()).collect(),
        tls_key_file: certificates.iter().map(|files| files.key.clone()).collect(),
        ..more
    })
    .await
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn local(folder: &Path) -> Certificate {
    make(folder, "local", &["localhost", "127.0.0.1"])
}

fn http1(certificate: &Certificate) -> Client {
    let pem = std::fs::read(&certificate.certificate).expect("a certificate");
    let root = reqwest::Certificate::from_pem(&pem).expect("a certificate");
    Client::builder().no_proxy().http1_only().tls_certs_only([root]).build().expect("a client")
}

#[tokio::test]
async fn a_client_chooses_between_http_2_and_1_1_over_tls_and_streams_come_over_both() {
    let folder = folder();
    let certificate = local(folder.path());
    let app = serve(&[&certificate], Options::default()).await;
    let ping = app.get("/api/ping").await;
    assert_eq!(ping.assert_status(200).version, Version::HTTP_2);
    let older = http1(&certificate);
    let get = |path: &str| older.get(format!("https://{}{path}", app.address)).header("accept", "text/event-stream");
    let mut streams = [app.open("/stream").await, get("/stream").open().await];
    let message = app.post_message("over both").await;
    for stream in &mut streams {
        assert_eq!(stream.rest().await, burst(&message, 1, 3));
    }
}

#[tokio::test]
async fn fifty_streams_of_one_browser_are_live_over_one_connection() {
    let folder = folder();
    let app = serve(&[&local(folder.path())], Options::default()).await;
    let mut streams = join_all((0..50).map(|_| app.open("/stream"))).await;
    let message = app.post_message("to all").await;
    for heard in join_all(streams.iter_mut().map(|stream| stream.rest())).await {
        assert_eq!(heard, burst(&message, 1, 3));
    }
}

#[tokio::test]
async fn a_client_gets_the_certificate_of_the_name_it_asks_for_or_else_the_first() {
    let folder = folder();
    let first = make(folder.path(), "first", &["first.example"]);
    let second = make(folder.path(), "second", &["second.example", "*.second.example"]);
    let app = serve(&[&first, &second], Options::default()).await;
    let client = TlsClient::trusting(&[&first, &second]);
    for (name, files) in [("first.example", &first), ("second.example", &second), ("a.second.example", &second)] {
        let stream = client.connect(app.address.port(), name).await.expect(name);
        assert_eq!(shown(&stream), read(files), "{name}");
    }
    assert!(client.connect(app.address.port(), "third.example").await.is_err());
}

#[tokio::test]
async fn a_renewed_certificate_is_used_and_a_bad_one_is_not_while_streams_go_on() {
    let folder = folder();
    let old = local(folder.path());
    let app = serve(&[&old], Options::default()).await;
    let mut stream = app.open("/stream").await;
    let before = read(&old);

    std::fs::write(&old.key, "not a key").expect("room");
    app.reload().await;
    let trusting_old = TlsClient::trusting(&[&old]);
    let connection = trusting_old.connect(app.address.port(), "localhost").await.expect("the one before stays");
    assert_eq!(shown(&connection), before);

    let new = local(folder.path());
    app.reload().await;
    let connection = TlsClient::trusting(&[&new]).connect(app.address.port(), "localhost").await.expect("the new one");
    assert_eq!(shown(&connection), read(&new));
    let message = app.post_message("heard over the old connection").await;
    assert_eq!(stream.rest().await, burst(&message, 1, 3));
}

#[tokio::test]
async fn a_client_that_comes_back_has_its_session_in_a_ticket() {
    let folder = folder();
    let certificate = local(folder.path());
    let app = serve(&[&certificate], Options::default()).await;
    let client = TlsClient::trusting(&[&certificate]);
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let mut stream = client.connect(app.address.port(), "localhost").await.expect("a connection");
        let request = format!("GET /api/ping HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", app.address);
        stream.write_all(request.as_bytes()).await.expect("it listens");
        let mut answer = String::new();
        in_time("an answer", stream.read_to_string(&mut answer)).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        kinds.push(stream.get_ref().1.handshake_kind());
    }
    assert_eq!(kinds, [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)]);
}

#[tokio::test]
async fn reads_in_clear_text_are_led_to_tls_and_nothing_else_is_taken_there() {
    let folder = folder();
    let listen = vec!["http://127.0.0.1:0".parse().expect("an address")];
    let app = serve(&[&local(folder.path())], Options { listen, ..Options::default() }).await;
    let tls = app.address.port();
    // The address for clear text, and that for TLS.
    for port in [app.ports()[1], tls] {
        let get = client().get(format!("http://127.0.0.1:{port}/clock?a=b")).answer().await;
        get.assert_status(308);
        assert_eq!(get.header("location"), format!("https://127.0.0.1:{tls}/clock?a=b"));
        let post = client().request(Method::POST, format!("http://127.0.0.1:{port}/publish")).body("secret");
        let detail = post.answer().await.problem(403);
        assert!(detail.contains("https://") && detail.contains("clear text"), "{detail}");
    }
    let over_tls = app.get("/docs").await;
    assert!(over_tls.html(200).contains(&format!("curl https://{}/api/ping", app.address)));
}

#[tokio::test]
async fn clear_text_is_served_beside_tls_where_that_is_asked_for() {
    let folder = folder();
    let listen = vec!["http://127.0.0.1:0".parse().expect("an address")];
    let more = Options { listen, redirect_http: Some(false), ..Options::default() };
    let app = serve(&[&local(folder.path())], more).await;
    client().get(format!("http://127.0.0.1:{}/api/ping", app.ports()[1])).answer().await.assert_status(200);
    // Who speaks clear text where TLS is expected has made a mistake.
    client().get(format!("http://127.0.0.1:{}/api/ping", app.address.port())).answer().await.assert_status(308);
}

#[tokio::test]
async fn a_proxy_on_this_machine_may_come_over_a_unix_socket() {
    let folder = folder();
    let socket = folder.path().join("tidings.sock");
    let listen = vec![format!("unix:{}", socket.display()).parse().expect("an address")];
    let trusted_proxies = Some("127.0.0.1".parse().expect("an address"));
    let options =
        Options { listen, trusted_proxies, anonymous: Some(true), max_streams: Some(1), ..Options::default() };
    let app = App::start_with(options).await;
    let open = async |client: &str| {
        let mut stream = UnixStream::connect(&socket).await.expect("it listens");
        let request = format!(
            "GET /.well-known/mercure?match=a HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: {client}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("it listens");
        let mut head = vec![0; 12];
        in_time("an answer", stream.read_exact(&mut head)).await.expect("an answer");
        (String::from_utf8(head).expect("text"), stream)
    };
    let (first, _first) = open("192.0.2.1").await;
    let (second, _second) = open("192.0.2.2").await;
    let (again, _) = open("192.0.2.1").await;
    assert_eq!([first, second, again], ["HTTP/1.1 200", "HTTP/1.1 200", "HTTP/1.1 429"]);
    assert_eq!(app.stop().await.cut, 0);
    assert!(!socket.exists(), "its file goes with it");
}
