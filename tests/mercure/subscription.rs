//! 2.2 Subscription.

use reqwest::{Client, Method, Version};
use tidings::server::settings::Options;
use tidings::wire::paths;

use crate::app::{Ask, FORM, JSON, millis};
use crate::hub::{Hub, encode};
use crate::listener::Listener;

fn query(hub: &Hub, query: &[(&str, &str)], body: &[(&str, &str)]) -> reqwest::RequestBuilder {
    let path = format!("{}?{}", paths::HUB, encode(query));
    let method = Method::from_bytes(b"QUERY").expect("a method");
    hub.request(method, &path).header("content-type", FORM).body(encode(body))
}

#[tokio::test]
async fn get_subscribes() {
    let hub = Hub::start().await;
    let mut listener = hub.subscribe(&[("match", "a")]).await;
    let id = hub.update("a", "x").await;
    let event = listener.event().await;
    assert_eq!((event.id, event.data, event.event), (id, "x".into(), "message".into()));
}

#[tokio::test]
async fn query_subscribes_with_a_form_body() {
    let hub = Hub::start().await;
    let mut listener = query(&hub, &[], &[("match", "a"), ("match_urlpattern", "/b/:c")]).open().await;
    let ids = [hub.update("a", "x").await, hub.update("/b/1", "y").await];
    assert_eq!([listener.event().await.id, listener.event().await.id], ids);
}

#[tokio::test]
async fn the_body_of_a_query_must_be_a_form() {
    let hub = Hub::start().await;
    let method = || Method::from_bytes(b"QUERY").expect("a method");
    hub.request(method(), paths::HUB).header("content-type", JSON).body("{}").answer().await.problem(415);
    hub.request(method(), paths::HUB).body("match=a").answer().await.problem(415);
    query(&hub, &[], &[("Match", "a")]).answer().await.problem(400);
    let body = [b"match=a".as_slice(), b"%ff"].concat();
    hub.request(method(), paths::HUB).header("content-type", FORM).body(body).answer().await.problem(400);
}

#[tokio::test]
async fn what_is_heard_is_the_union_of_query_and_body() {
    let hub = Hub::start().await;
    let mut listener = query(&hub, &[("match", "a")], &[("match", "b")]).open().await;
    let ids = [hub.update("b", "x").await, hub.update("a", "y").await];
    assert_eq!([listener.event().await.id, listener.event().await.id], ids);
}

#[tokio::test]
async fn last_event_id_is_taken_from_the_header_before_the_query_before_the_body() {
    let hub = Hub::start().await;
    let mut ids = Vec::new();
    for data in ["0", "1", "2", "3"] {
        ids.push(hub.update("a", data).await);
    }
    let id = |n: usize| ("last_event_id", ids[n].as_str());
    let mut by_body = query(&hub, &[("match", "a")], &[id(0)]).open().await;
    assert_eq!(by_body.event().await.data, "1");
    let mut by_query = query(&hub, &[("match", "a"), id(1)], &[id(0)]).open().await;
    assert_eq!(by_query.event().await.data, "2");
    let request = query(&hub, &[("match", "a"), id(1)], &[id(0)]).header("last-event-id", &ids[2]);
    assert_eq!(request.open().await.event().await.data, "3");
}

#[tokio::test]
async fn http_2_is_spoken() {
    let hub = Hub::start().await;
    let client = Client::builder().no_proxy().http2_prior_knowledge().build().expect("a client");
    let open = || client.get(format!("http://{}{}?match=a", hub.app.address, paths::HUB)).send();
    let (one, two) = (open().await.expect("a stream"), open().await.expect("a stream"));
    assert_eq!((one.version(), two.version()), (Version::HTTP_2, Version::HTTP_2));
    let (mut one, mut two) = (Listener::open(one).await, Listener::open(two).await);
    let id = hub.update("a", "x").await;
    assert_eq!([one.event().await.id, two.event().await.id], [id.clone(), id]);
}

#[tokio::test]
async fn matchers_of_any_number_and_mix_are_joined_by_or() {
    let hub = Hub::start().await;
    let parameters = [("match", "a"), ("match_exact", "b"), ("match_urlpattern", "/c/:d"), ("match", "a")];
    let mut listener = hub.subscribe(&parameters).await;
    let wanted = [hub.update("/c/1", "").await, hub.update("b", "").await];
    hub.update("d", "nobody's").await;
    let last = hub.update("a", "").await;
    let heard = [listener.event().await.id, listener.event().await.id, listener.event().await.id];
    assert_eq!(heard, [wanted[0].clone(), wanted[1].clone(), last]);
}

#[tokio::test]
async fn the_query_is_read_as_the_url_standard_says() {
    let hub = Hub::start().await;
    // A semicolon separates nothing, a stray % stays, + is a space.
    let mut listener = hub.request(Method::GET, &format!("{}?match=a;b&match=50%&match=c+d", paths::HUB)).open().await;
    let ids = [hub.update("a;b", "").await, hub.update("50%", "").await, hub.update("c d", "").await];
    assert_eq!([listener.event().await.id, listener.event().await.id, listener.event().await.id], ids);
    // A name without = has the empty value, which no matcher may have.
    hub.request(Method::GET, &format!("{}?match", paths::HUB)).answer().await.problem(400);
}

#[tokio::test]
async fn a_parameter_that_is_not_ours_may_hold_anything() {
    let hub = Hub::start().await;
    let ask = |query: &str| hub.request(Method::GET, &format!("{}?match=a&{query}", paths::HUB));
    let mut listener = ask("a[]=%FF&%FF=a&utm=%C3").open().await;
    let id = hub.update("a", "").await;
    assert_eq!(listener.event().await.id, id);
    for query in ["match=%FF", "match%FF=b", "match_urlpattern=%FF", "last_event_id=%FF", "gap=%FF", "ticket=%FF"] {
        ask(query).answer().await.problem(400);
    }
}

#[tokio::test]
async fn a_name_that_looks_like_a_matchers_and_is_none_is_refused() {
    let hub = Hub::start().await;
    for name in ["Match", "MATCH_exact", "match_regex", "match_", "match-exact", "matching", "mAtch_urlpattern"] {
        let detail = hub.stream(&[("match", "a"), (name, "a")]).answer().await.problem(400);
        assert!(detail.contains(name) && detail.contains("match_urlpattern"), "{detail}");
    }
    hub.subscribe(&[("match", "a"), ("unmatched", "x"), ("topic", "x")]).await;
}

#[tokio::test]
async fn a_value_that_its_type_can_t_take_is_refused() {
    let hub = Hub::start().await;
    for (name, value) in
        [("match_urlpattern", "/a/("), ("match_urlpattern", "https://[x"), ("match", ""), ("match_exact", "a\u{85}")]
    {
        hub.stream(&[(name, value)]).answer().await.problem(400);
    }
}

#[tokio::test]
async fn a_request_without_a_matcher_is_refused() {
    let hub = Hub::start().await;
    assert!(hub.stream(&[]).answer().await.problem(400).contains("match"));
}

#[tokio::test]
async fn too_many_and_too_long_matchers_are_refused() {
    let hub = Hub::start().await;
    let names: Vec<_> = (0..101).map(|n| n.to_string()).collect();
    let pairs: Vec<_> = names.iter().map(|name| ("match", name.as_str())).collect();
    hub.subscribe(&pairs[..100]).await;
    assert!(hub.stream(&pairs).answer().await.problem(400).contains("100"));
    let long = format!("/{}", "a".repeat(4096));
    assert!(hub.stream(&[("match_urlpattern", &long)]).answer().await.problem(400).contains("4096"));
    // What is the same counts once.
    let mut same = vec![("match", "a"); 200];
    same.push(("match_exact", "a"));
    hub.subscribe(&same).await;
}

#[tokio::test]
async fn patterns_are_looked_at_only_for_those_who_may_subscribe() {
    let hub = Hub::start_with(Options { anonymous: Some(false), ..Options::default() }).await;
    let invalid = [("match_urlpattern", "/(")];
    hub.stream(&invalid).answer().await.problem(401);
    hub.stream(&invalid).bearer_auth("no.valid.token").answer().await.problem(401);
    hub.stream(&invalid).bearer_auth(crate::token::Claims::new().subscriber()).answer().await.problem(400);
}

#[tokio::test]
async fn one_client_has_only_so_many_streams() {
    let hub = Hub::start_with(Options { max_streams: Some(2), ..Options::default() }).await;
    let first = hub.subscribe(&[("match", "a")]).await;
    let _second = hub.subscribe(&[("match", "a")]).await;
    let answer = hub.stream(&[("match", "a")]).answer().await;
    answer.problem(429);
    assert!(!answer.header("retry-after").is_empty());
    // Another subject is another client.
    let token = crate::token::Claims::new().subscriber();
    hub.subscribe_as(&token, &[("match", "a")]).await;
    drop(first);
    while hub.stream(&[("match", "a")]).send().await.expect("an answer").status() != 200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn other_origins_read_with_credentials_only_if_they_are_listed() {
    let origins = Some("https://app.example".parse().expect("origins"));
    let hub = Hub::start_with(Options { cors_origins: origins, ..Options::default() }).await;
    let from = |origin: &'static str| hub.stream(&[("match", "a")]).header("origin", origin);
    let listed = from("https://app.example").open().await.headers;
    assert_eq!(listed["access-control-allow-origin"], "https://app.example");
    assert_eq!(listed["access-control-allow-credentials"], "true");
    assert!(listed["vary"].to_str().expect("text").to_ascii_lowercase().contains("origin"));
    let other = from("https://evil.example").open().await.headers;
    assert!(!other.contains_key("access-control-allow-origin"), "{other:?}");
    // Everybody may read what needs no credentials, if the operator has listed nobody.
    let open = Hub::start().await.stream(&[("match", "a")]).header("origin", "https://a.example").open().await.headers;
    assert_eq!(open["access-control-allow-origin"], "*");
    assert!(!open.contains_key("access-control-allow-credentials"), "{open:?}");
}

#[tokio::test]
async fn an_idle_stream_gets_comments_and_all_fields_are_carried() {
    let hub = Hub::start_with(Options { heartbeat: Some(millis(100)), ..Options::default() }).await;
    let mut listener = hub.subscribe(&[("match", "a")]).await;
    assert!(crate::answer::header(&listener.headers, "content-type").starts_with("text/event-stream"));
    listener.read_until(":\n:\n").await;
    hub.publish(&[("topic", "a"), ("data", "x"), ("id", "7"), ("type", "news"), ("retry", "1500")]).await;
    listener.read_until("id: 7\nevent: news\nretry: 1500\ndata: x\n\n").await;
}
