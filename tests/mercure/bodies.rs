//! Request bodies, at each of the hub's addresses that reads one: how they may be encoded, and how they may begin.

use reqwest::{Method, RequestBuilder};
use serde_json::json;
use tidings::wire::paths;

use crate::app::{Ask, FORM, JSON};
use crate::hub::Hub;
use crate::token::{Claims, DETAIL, exact};

const BYTE_ORDER_MARK: &str = "\u{feff}";

/// A request with a body to each address that reads one, with each media type that it reads.
fn all(hub: &Hub, before: &str) -> Vec<RequestBuilder> {
    let request = |method: &str, path: &str, token: &str, media_type: &str, body: &str| {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let request = hub.request(method, path).bearer_auth(token).header("content-type", media_type);
        request.body(format!("{before}{body}"))
    };
    let (publisher, subscriber) = (hub.publisher(), Claims::new().subscriber());
    let revocation = json!({ "type": DETAIL, "actions": ["revoke"], "topics": [exact("*")] });
    let revoker = Claims::new().detail(revocation).publisher();
    vec![
        request("POST", paths::HUB, publisher, FORM, "topic=a"),
        request("POST", paths::HUB, publisher, JSON, r#"{"topic":"a"}"#),
        request("QUERY", paths::HUB, &subscriber, FORM, "match=a"),
        request("POST", paths::REVOCATIONS, &revoker, JSON, r#"{"topic":"nobody's"}"#),
    ]
}

#[tokio::test]
async fn a_byte_order_mark_before_json_or_a_form_is_no_part_of_it() {
    let hub = Hub::start().await;
    for request in all(&hub, BYTE_ORDER_MARK) {
        let response = request.send().await.expect("an answer");
        assert!(response.status().is_success(), "{response:?}");
    }
}

#[tokio::test]
async fn a_compressed_body_is_refused_with_what_is_accepted() {
    let hub = Hub::start().await;
    for coding in ["gzip", "br, identity"] {
        for request in all(&hub, "") {
            let answer = request.header("content-encoding", coding).answer().await;
            answer.problem(415);
            assert_eq!(answer.header("accept-encoding"), "identity");
        }
    }
    for request in all(&hub, "") {
        let response = request.header("content-encoding", "identity").send().await.expect("an answer");
        assert!(response.status().is_success(), "{response:?}");
    }
}
