//! Clients of the older protocol, Mercure 0.x, where the operator lets them in with `--legacy`: what Symfony's
//! component, API Platform's pages and the polyfills of `EventSource` send, and that none of it counts otherwise.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tidings::server::settings::Options;
use tidings::wire::paths;

use crate::app::{Ask, in_time};
use crate::hub::{Hub, challenge};
use crate::listener::Listener;
use crate::token::{Claims, exact};

const COOKIE: &str = "mercureAuthorization";
/// What the older documentation tells who watches subscriptions to ask for and to grant.
const SUBSCRIPTIONS: &str = "/.well-known/mercure/subscriptions{/topic}{/subscriber}";

async fn start(options: Options) -> Hub {
    Hub::start_with(Options { legacy: Some(true), ..options }).await
}

/// Speaks both, and nobody subscribes without a token.
async fn closed() -> Hub {
    start(Options { anonymous: Some(false), ..Options::default() }).await
}

/// A token as older clients make it: without a type of its own, an issuer, an audience or an end.
fn old(claim: Value) -> Claims {
    Claims { header: json!({ "alg": "HS256", "typ": "JWT" }), claims: json!({ "mercure": claim }) }
}

fn post_as(hub: &Hub, token: &str, fields: &[(&str, &str)]) -> RequestBuilder {
    hub.post(fields).bearer_auth(token).header("accept", "*/*")
}

async fn json_of(listener: &mut Listener) -> Value {
    let event = listener.event().await;
    // Older clients listen with `onmessage`.
    assert_eq!(event.event, "message", "{event:?}");
    serde_json::from_str(&event.data).expect("JSON")
}

#[tokio::test]
async fn topics_and_uri_templates_are_subscribed_to_with_topic_as_often_as_wanted() {
    let hub = start(Options::default()).await;
    let mut listener = hub
        .subscribe(&[
            ("topic", "https://example.com/books/{id}"),
            ("topic", "news"),
            ("topic", "{scheme}://{+host}/demo/books/{id}.jsonld"),
            ("topic", "/chats{/room}{?page}"),
        ])
        .await;
    for topic in ["https://example.com/books/1/pages", "new", "/.well-known/news", "/chats/1/2", "other"] {
        hub.update(topic, "").await;
    }
    for topic in [
        "https://example.com/books/1",
        // A template is a topic of its own, too.
        "https://example.com/books/{id}",
        "news",
        "http://localhost:8000/demo/books/7.jsonld",
        "/chats",
        "/chats/1?page=2",
    ] {
        let id = hub.update(topic, "").await;
        assert_eq!(listener.event().await.id, id, "{topic}");
    }
    let mut everything = hub.subscribe(&[("topic", "*")]).await;
    let id = hub.update("whatever", "").await;
    assert_eq!(everything.event().await.id, id);
    hub.stream(&[("topic", "https://example.com/{")]).answer().await.problem(400);
}

#[tokio::test]
async fn an_update_is_published_as_symfonys_component_does_it() {
    let hub = start(Options::default()).await;
    let publisher = old(json!({ "publish": ["*"] })).publisher();
    let reader = old(json!({ "subscribe": ["https://example.com/users/{name}"] })).subscriber();
    let mut listener = hub.subscribe_as(&reader, &[("topic", "https://example.com/books/{id}")]).await;
    let fields = [
        ("topic", "https://example.com/books/1"),
        ("topic", "https://example.com/users/anna"),
        ("data", "{\"status\":\"OutOfStock\"}\nsold"),
        ("private", "on"),
        ("id", "urn:uuid:e1ee88e2-532a-4d6f-ba70-f0f8bd584022"),
        ("type", "stock"),
        ("retry", "3000"),
    ];
    let answer = post_as(&hub, &publisher, &fields).answer().await;
    assert_eq!(answer.assert_status(200).body, fields[4].1);
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    let event = "event: stock\nretry: 3000\ndata: {\"status\":\"OutOfStock\"}\ndata: sold\n\n";
    listener.read_until(&format!("id: {}\n{event}", fields[4].1)).await;
    let answer = post_as(&hub, &publisher, &[("topic", "a"), ("data", "")]).answer().await;
    assert!(answer.assert_status(200).body.starts_with("urn:uuid:"), "{answer:?}");
}

#[tokio::test]
async fn a_page_may_leave_the_fields_of_its_form_empty() {
    let hub = start(Options::default()).await;
    let mut listener = hub.subscribe(&[("topic", "a")]).await;
    let publisher = old(json!({ "publish": ["a"] })).publisher();
    let fields = [("topic", "a"), ("data", "x"), ("id", ""), ("type", ""), ("retry", "")];
    let answer = post_as(&hub, &publisher, &fields).answer().await;
    let event = listener.event().await;
    assert_eq!((event.id, &*event.event, event.retry), (answer.assert_status(200).body.clone(), "message", None));
    post_as(&hub, &publisher, &[("topic", "a"), ("retry", "soon")]).answer().await.problem(400);
}

#[tokio::test]
async fn what_the_claim_names_is_granted_and_nothing_else() {
    let hub = start(Options::default()).await;
    let claim = json!({ "publish": ["https://example.com/books/{id}", "a"], "subscribe": ["b"] });
    let publisher = old(claim.clone()).publisher();
    for topic in ["https://example.com/books/1", "a"] {
        post_as(&hub, &publisher, &[("topic", topic), ("private", "on")]).answer().await.assert_status(200);
    }
    for topic in ["https://example.com/books/1/2", "b", "c"] {
        let answer = post_as(&hub, &publisher, &[("topic", "a"), ("topic", topic)]).answer().await;
        answer.problem(403);
        assert!(challenge(&answer).contains("insufficient_scope"));
    }
    let mut listener = hub.subscribe_as(&old(claim).subscriber(), &[("topic", "*")]).await;
    hub.private("a", "").await;
    let granted = hub.private("b", "").await;
    assert_eq!(listener.event().await.id, granted);
    let all = old(json!({ "subscribe": ["*"] })).subscriber();
    let mut listener = hub.subscribe_as(&all, &[("topic", "{any}")]).await;
    let any = hub.private("whatever", "").await;
    assert_eq!(listener.event().await.id, any);
}

#[tokio::test]
async fn the_older_cookie_holds_a_token() {
    let hub = closed().await;
    let cookie = |token: &str| format!("theme=dark; {COOKIE}={token}");
    let reader = old(json!({ "subscribe": ["a"] })).subscriber();
    let stream = || hub.stream(&[("topic", "a")]);
    let mut listener = stream().header("cookie", cookie(&reader)).open().await;
    let id = hub.private("a", "").await;
    assert_eq!(listener.event().await.id, id);
    stream().header("cookie", cookie("nonsense")).answer().await.problem(401);
    stream().header("cookie", cookie("nonsense")).bearer_auth(&reader).open().await;
    // Where both are there, the newer one counts.
    let both = format!("{}; __Secure-mercure_access_token={}", cookie("nonsense"), Claims::new().subscriber());
    stream().header("cookie", both).open().await;
    // A page may publish with it, another site's may not.
    let publisher = old(json!({ "publish": ["a"] })).publisher();
    let post = || hub.post(&[("topic", "a")]).header("cookie", cookie(&publisher));
    post().header("origin", "https://hub.example").answer().await.assert_status(200);
    post().header("origin", "https://evil.example").answer().await.problem(403);
}

#[tokio::test]
async fn a_token_may_stand_in_the_query() {
    let hub = closed().await;
    let reader = old(json!({ "subscribe": ["a", SUBSCRIPTIONS] })).subscriber();
    let stream = |token: &str| hub.stream(&[("topic", "a"), ("authorization", token)]);
    let mut listener = stream(&reader).open().await;
    let id = hub.private("a", "").await;
    assert_eq!(listener.event().await.id, id);
    stream("nonsense").answer().await.problem(401);
    // The header weighs more, a cookie less.
    stream("nonsense").bearer_auth(&reader).open().await;
    stream(&reader).header("cookie", format!("{COOKIE}=nonsense")).open().await;
    let list = hub.request(Method::GET, &format!("{}?authorization={reader}", paths::SUBSCRIPTIONS));
    list.answer().await.assert_status(200);
}

#[tokio::test]
async fn a_client_comes_back_with_whichever_name_it_knows() {
    let hub = start(Options::default()).await;
    let ids = [hub.update("a", "").await, hub.update("a", "").await, hub.update("a", "").await];
    let mut header = hub.stream(&[("topic", "a")]).header("last-event-id", &ids[0]).open().await;
    assert_eq!(header.event().await.id, ids[1]);
    // The one of drafts 01 to 07, the one of hubs before 0.14, and both at once as Symfony writes them.
    for names in [&["lastEventID"][..], &["Last-Event-ID"], &["lastEventID", "Last-Event-ID"]] {
        let parameters: Vec<_> = names.iter().map(|name| (*name, &*ids[0])).chain([("topic", "a")]).collect();
        let mut listener = hub.subscribe(&parameters).await;
        assert_eq!(listener.event().await.id, ids[1], "{names:?}");
        for name in ["last-event-id", "mercure-last-event-id"] {
            assert_eq!(listener.headers[name], ids[0]);
        }
    }
    let mut earliest = hub.subscribe(&[("topic", "a"), ("lastEventID", "earliest")]).await;
    assert_eq!(earliest.headers["last-event-id"], "earliest");
    assert_eq!(earliest.event().await.id, ids[0]);
    // An `EventSource` that reconnects by itself still has the old one in its URL.
    let both = hub.stream(&[("topic", "a"), ("lastEventID", &ids[0])]).header("last-event-id", &ids[1]);
    assert_eq!(both.open().await.event().await.id, ids[2]);
}

#[tokio::test]
async fn subscriptions_with_topic_are_told_as_older_clients_read_them() {
    let hub = start(Options::default()).await;
    let claim = json!({ "subscribe": [SUBSCRIPTIONS], "payload": { "user": "https://example.com/users/dunglas" } });
    let token = old(claim).subscriber();
    let mut events = hub.subscribe_as(&token, &[("topic", SUBSCRIPTIONS)]).await;
    let own = json_of(&mut events).await;
    assert_eq!((&own["topic"], &own["active"]), (&json!(SUBSCRIPTIONS), &json!(true)));
    let listener = hub.subscribe(&[("topic", "https://example.com/{id}")]).await;
    let begun = json_of(&mut events).await;
    let subscriber = begun["subscriber"].as_str().expect("a subscriber").to_owned();
    let topic = "https%3A%2F%2Fexample.com%2F%7Bid%7D";
    let id = format!("{}/{topic}/{}", paths::SUBSCRIPTIONS, subscriber.replace(':', "%3A"));
    let expected = json!({
        "@context": "https://mercure.rocks/", "id": id, "type": "Subscription",
        "topic": "https://example.com/{id}", "subscriber": subscriber, "active": true,
    });
    assert_eq!(begun, expected);

    let listed = async {
        loop {
            let answer = hub.get_as(&token, paths::SUBSCRIPTIONS).await;
            if answer.json::<Value>()["total"] == 2 {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    };
    let list: Value = in_time("both in the list", listed).await.json();
    assert_eq!(list["@context"], "https://mercure.rocks/");
    let all = list["subscriptions"].as_array().expect("a list");
    assert!(all.contains(&expected), "{list}");
    let own = all.iter().find(|one| one["topic"] == SUBSCRIPTIONS).expect("the watcher's own");
    assert_eq!(own["payload"]["user"], "https://example.com/users/dunglas");

    let of_topic = hub.get_as(&token, &format!("{}/{topic}", paths::SUBSCRIPTIONS)).await;
    assert_eq!(of_topic.assert_status(200).header("content-type"), "application/ld+json");
    let of_topic: Value = serde_json::from_str(&of_topic.body).expect("JSON");
    assert_eq!((&of_topic["type"], &of_topic["subscriptions"]), (&json!("Subscriptions"), &json!([expected])));
    let one = hub.get_as(&token, &id).await;
    assert_eq!(one.assert_status(200).header("content-type"), "application/ld+json");
    let one: Value = serde_json::from_str(&one.body).expect("JSON");
    assert_eq!((&one["id"], &one["lastEventID"]), (&json!(id), &list["lastEventID"]));
    hub.get_as(&token, &format!("{}/{topic}/nobody", paths::SUBSCRIPTIONS)).await.problem(404);

    // Whoever goes on from the list hears what has changed since.
    let last = list["lastEventID"].as_str().expect("an id");
    let mut rest = hub.subscribe_as(&token, &[("topic", SUBSCRIPTIONS), ("Last-Event-ID", last)]).await;
    drop(listener);
    let ended = loop {
        let event = json_of(&mut rest).await;
        if event["active"] == false {
            break event;
        }
    };
    assert_eq!(ended["id"], id);
}

#[tokio::test]
async fn who_may_read_subscriptions_is_in_the_older_claim_too() {
    let hub = start(Options::default()).await;
    let _listener = hub.subscribe(&[("topic", "a")]).await;
    let token = old(json!({ "subscribe": ["/.well-known/mercure/subscriptions/a{/subscriber}"] })).subscriber();
    hub.get_as(&token, &format!("{}/a", paths::SUBSCRIPTIONS)).await.assert_status(200);
    hub.get_as(&token, paths::SUBSCRIPTIONS).await.problem(403);
    hub.get_as(&token, &format!("{}/b", paths::SUBSCRIPTIONS)).await.problem(403);
}

#[tokio::test]
async fn both_protocols_are_spoken_side_by_side() {
    let hub = start(Options::default()).await;
    let watcher = Claims::new().subscribe(&[exact("*")]).subscriber();
    let pattern = [("match_urlpattern", "/.well-known/mercure/subscriptions/*")];
    let mut events = hub.subscribe_as(&watcher, &pattern).await;
    events.event().await;
    let mut today = hub.subscribe(&[("match", "a"), ("topic", "b")]).await;
    let told = [events.event().await, events.event().await];
    assert_eq!(told.each_ref().map(|event| &*event.event), ["mercure", "message"]);
    let documents = told.each_ref().map(|event| serde_json::from_str::<Value>(&event.data).expect("JSON"));
    assert_eq!((&documents[0]["match"], &documents[1]["topic"]), (&json!("a"), &json!("b")));
    assert_eq!(documents[0]["subscriber"], documents[1]["subscriber"]);
    let publisher = old(json!({ "publish": ["*"] })).publisher();
    for topic in ["a", "b"] {
        let answer = post_as(&hub, &publisher, &[("topic", topic)]).answer().await;
        assert_eq!(today.event().await.id, answer.assert_status(200).body);
    }
    let mut older = hub.subscribe(&[("topic", "a")]).await;
    let id = hub.update("a", "").await;
    assert_eq!(older.event().await.id, id);
    let of_matcher: Value = hub.get_as(&watcher, &format!("{}/exact/a", paths::SUBSCRIPTIONS)).await.json();
    assert_eq!(of_matcher["total"], 1, "{of_matcher}");
}

#[tokio::test]
async fn none_of_it_counts_unless_the_operator_says_so() {
    let hub = Hub::start_with(Options { anonymous: Some(false), ..Options::default() }).await;
    let reader = Claims::new().subscribe(&[exact("*")]).subscriber();
    let detail = hub.stream(&[("topic", "a")]).bearer_auth(&reader).answer().await.problem(400);
    assert!(detail.contains("`match`"), "{detail}");
    let mut beside = hub.subscribe_as(&reader, &[("match", "a"), ("topic", "b")]).await;
    hub.update("b", "").await;
    let first = hub.update("a", "").await;
    assert_eq!(beside.event().await.id, first);

    let old_reader = old(json!({ "subscribe": ["*"] })).subscriber();
    for request in [
        hub.stream(&[("match", "a")]).bearer_auth(&old_reader),
        post_as(&hub, &old(json!({ "publish": ["*"] })).publisher(), &[("topic", "a")]),
    ] {
        let answer = request.answer().await;
        answer.problem(401);
        assert!(challenge(&answer).contains("invalid_token"), "{answer:?}");
    }
    for request in [
        hub.stream(&[("match", "a")]).header("cookie", format!("{COOKIE}={reader}")),
        hub.stream(&[("match", "a"), ("authorization", &reader)]),
    ] {
        let answer = request.answer().await;
        answer.problem(401);
        assert!(!challenge(&answer).contains("error"), "as if there were none: {answer:?}");
    }

    for name in ["lastEventID", "Last-Event-ID"] {
        let mut listener = hub.subscribe_as(&reader, &[("match", "a"), (name, "earliest")]).await;
        for name in ["last-event-id", "mercure-last-event-id"] {
            assert!(!listener.headers.contains_key(name), "{name}");
        }
        let id = hub.update("a", "").await;
        assert_eq!(listener.event().await.id, id);
    }
    let today = hub.stream(&[("match", "a"), ("last_event_id", "earliest")]).bearer_auth(&reader).open().await;
    assert!(!today.headers.contains_key("last-event-id"));

    hub.publish(&[("topic", "a"), ("retry", "")]).await.problem(400);
    for path in ["/a", "/a/nobody"] {
        hub.get_as(&reader, &format!("{}{path}", paths::SUBSCRIPTIONS)).await.assert_status(404);
    }
    let list: Value = hub.get_as(&reader, paths::SUBSCRIPTIONS).await.json();
    assert_eq!((list.get("@context"), list.get("lastEventID")), (None, None));
}
