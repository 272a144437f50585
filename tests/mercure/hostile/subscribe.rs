//! What is asked for opens a stream, or is refused: in the URL of a `GET` and in the body of a `QUERY` alike.

use std::cell::Cell;
use std::net::SocketAddr;

use tidings::server::settings::{DurabilityKind, Options};
use tidings::wire::paths;
use tidings::wire::problem::{MEDIA_TYPE, Problem};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use super::*;
use crate::app::{FORM, in_time};
use crate::hub::Hub;

const NAMES: &[&str] = &[
    "match",
    "match_exact",
    "match_urlpattern",
    "match_uritemplate",
    "Match",
    "matché",
    "topic",
    "last_event_id",
    "lastEventId",
    "ticket",
    "access_token",
    "gap",
    "",
];

const VALUES: &[&str] =
    &["*", "a", "/books/:id", "/:id(", "https://]", "https://[::1]:80/*", "/(\\w{50})+", "{/x}?", "1"];

fn queries() -> impl Strategy<Value = Bytes> {
    let value = || prop_oneof![2 => select(VALUES).prop_map(str::to_owned), 1 => text()];
    // Twice a matcher: without one nothing is asked for.
    let matcher = || (select(&NAMES[..3]).prop_map(str::to_owned), value());
    let other = prop_oneof![6 => select(NAMES).prop_map(str::to_owned), 1 => text()];
    let pairs = (vec(matcher(), 0..3), vec((other, value()), 0..4)).prop_map(|(matchers, others)| {
        let pairs = matchers.into_iter().chain(others);
        form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish().into_bytes()
    });
    let raw = vec(prop_oneof![select(b"&=+%;?/:*{}()#\"<>".to_vec()), any::<u8>()], 0..40);
    prop_oneof![6 => pairs, 1 => raw].prop_map(Bytes::from)
}

/// Asks over a connection of its own; answers the status. What is no stream is a problem, told in full.
async fn ask(address: SocketAddr, request: &[u8]) -> u16 {
    let mut connection = TcpStream::connect(address).await.expect("a connection");
    // So many connections are closed here that the ports would run out.
    connection.set_zero_linger().expect("an option");
    connection.write_all(request).await.expect("a request");
    let (mut answer, mut end) = (Vec::new(), None);
    loop {
        if end.is_some_and(|end| answer.len() >= end) {
            break;
        }
        let length = in_time("more of the answer", connection.read_buf(&mut answer)).await.expect("bytes");
        assert!(length > 0, "the answer was cut: {}", String::from_utf8_lossy(&answer));
        let Some(head) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&answer[..head + 4]).to_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        // A stream is as far as it must come when its first comment is there.
        let first_chunk = "2\r\n:\n\r\n".len();
        end = Some(head.len() + length.map_or(first_chunk, |length| length.parse().expect("a length")));
    }
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let head = head.to_lowercase();
    if status == 200 {
        assert!(head.contains("\r\ncontent-type: text/event-stream") && body.contains(":\n"), "{answer}");
    } else {
        assert!((400..500).contains(&status) && head.contains(&format!("\r\ncontent-type: {MEDIA_TYPE}")), "{answer}");
        let problem: Problem = serde_json::from_str(body).expect("a problem document");
        assert_eq!(problem.status, status, "{answer}");
    }
    status
}

/// Whether HTTP allows all of it in a URL's query (RFC 3986, section 3.4).
fn may_stand_in_a_url(query: &[u8]) -> bool {
    query.iter().all(|&byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&byte))
}

#[test]
fn any_query_opens_a_stream_or_is_refused_and_the_hub_goes_on() {
    let runtime = runtime();
    let options = Options { durability: Some(DurabilityKind::Os), ..Options::default() };
    let hub = runtime.block_on(Hub::start_with(options));
    let address = hub.app.address;
    let canary = Mutex::new(runtime.block_on(hub.subscribe(&[("match", "canary")])));
    let (opened, refused) = (Cell::new(0), Cell::new(0));
    fuzz("subscribe", queries(), |query| {
        let asked = async {
            let head = format!(
                "QUERY {} HTTP/1.1\r\nhost: {address}\r\ncontent-type: {FORM}\r\ncontent-length: {}\r\n\r\n",
                paths::HUB,
                query.len()
            );
            let status = ask(address, &[head.as_bytes(), query].concat()).await;
            if may_stand_in_a_url(query) {
                let query = String::from_utf8_lossy(query);
                let get = format!("GET {}?{query} HTTP/1.1\r\nhost: {address}\r\n\r\n", paths::HUB);
                let by_url = ask(address, get.as_bytes()).await;
                prop_assert_eq!(by_url, status, "by GET and by QUERY");
            }
            let id = hub.update("canary", "x").await;
            prop_assert_eq!(canary.lock().await.event().await.id, id);
            Ok(status)
        };
        let count = if runtime.block_on(asked)? == 200 { &opened } else { &refused };
        count.set(count.get() + 1);
        Ok(())
    });
    assert!(opened.get() > 0 && refused.get() > 0, "{opened:?} were opened, {refused:?} refused");
    say("subscribe", &format!("{} were opened, {} refused", opened.get(), refused.get()));
}
