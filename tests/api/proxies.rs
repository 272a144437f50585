//! Behind a proxy: who is calling, and under which address.

use reqwest::RequestBuilder;
use tidings::server::settings::Options;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::answer::Answer;
use crate::app::{App, Ask, in_time};
use crate::certificates::TlsClient;

const NEWS: &str = "/.well-known/mercure?match=a";

async fn behind_a_proxy(trusted: Option<&str>) -> App {
    let trusted_proxies = trusted.map(|text| text.parse().expect("networks"));
    let anonymous = Some(true);
    App::start_with(Options {
        trusted_proxies,
        anonymous,
        demo: Some(true),
        max_streams: Some(1),
        ..Options::default()
    })
    .await
}

fn forwarded(app: &App, path: &str, name: &str, value: &str) -> RequestBuilder {
    app.stream(path).header(name, value)
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_has_limits_of_its_own() {
    let app = behind_a_proxy(Some("127.0.0.0/8")).await;
    let _first = forwarded(&app, NEWS, "x-forwarded-for", "192.0.2.1").open().await;
    let _second = forwarded(&app, NEWS, "x-forwarded-for", "192.0.2.2").open().await;
    let again: Answer = forwarded(&app, NEWS, "x-forwarded-for", "198.51.100.1, 192.0.2.1").answer().await;
    again.problem(429);
}

#[tokio::test]
async fn what_a_stranger_says_of_itself_changes_nothing() {
    for trusted in [None, Some("10.0.0.0/8")] {
        let app = behind_a_proxy(trusted).await;
        let _first = forwarded(&app, NEWS, "x-forwarded-for", "192.0.2.1").open().await;
        forwarded(&app, NEWS, "x-forwarded-for", "192.0.2.2").answer().await.problem(429);
        let docs = forwarded(&app, "/docs", "x-forwarded-proto", "https").header("accept", "text/html").answer().await;
        assert!(docs.html(200).contains(&format!("curl http://{}/api/ping", app.address)));
    }
}

#[tokio::test]
async fn links_and_commands_have_the_address_that_the_client_has_used() {
    let app = behind_a_proxy(Some("127.0.0.1")).await;
    let request = app.stream("/docs").header("accept", "text/html");
    let docs = request.header("x-forwarded-host", "hub.example").header("x-forwarded-proto", "https").answer().await;
    assert!(docs.html(200).contains("curl https://hub.example/api/ping"));
}

#[tokio::test]
async fn a_proxy_that_passes_on_bytes_says_for_whom_before_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = crate::certificates::make(folder.path(), "local", &["localhost"]);
    let app = App::start_with(Options {
        trusted_proxies: Some("127.0.0.1".parse().expect("an address")),
        proxy_protocol: Some(true),
        anonymous: Some(true),
        max_streams: Some(1),
        tls_certificate_file: vec![files.certificate.clone()],
        tls_key_file: vec![files.key.clone()],
        ..Options::default()
    })
    .await;
    let client = TlsClient::trusting(&[&files]);
    let open = async |header: &[u8]| {
        let mut tcp = TcpStream::connect(app.address).await.expect("it listens");
        // In two pieces, as a network may bring it.
        let (one, two) = header.split_at(header.len() / 2);
        for piece in [one, two] {
            tcp.write_all(piece).await.expect("it listens");
            tcp.flush().await.expect("it listens");
        }
        let mut stream = client.over(tcp, "localhost").await.expect("a handshake");
        stream
            .write_all(format!("GET {NEWS} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())
            .await
            .expect("it listens");
        let mut head = vec![0; 12];
        in_time("an answer", stream.read_exact(&mut head)).await.expect("an answer");
        (String::from_utf8(head).expect("text"), stream)
    };
    let (first, _first) = open(b"PROXY TCP4 192.0.2.1 203.0.113.1 4711 443\r\n").await;
    let (second, _second) = open(b"PROXY TCP6 2001:db8::1 2001:db8::2 4711 443\r\n").await;
    let (again, _) = open(b"PROXY TCP4 192.0.2.1 203.0.113.1 4712 443\r\n").await;
    assert_eq!([first, second, again], ["HTTP/1.1 200", "HTTP/1.1 200", "HTTP/1.1 429"]);
    // Without the header a proxy's connection is cut.
    let tcp = TcpStream::connect(app.address).await.expect("it listens");
    assert!(in_time("the end", client.over(tcp, "localhost")).await.is_err());
}
