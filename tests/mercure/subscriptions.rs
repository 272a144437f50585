//! 2.7 Active Subscriptions: their events, and the subscription API.

use serde_json::{Value, json};
use tidings::server::settings::Options;
use tidings::wire::paths;

use crate::app::Ask;
use crate::hub::{Hub, challenge};
use crate::token::{Claims, DETAIL, exact, pattern};

fn watcher() -> String {
    Claims::new().subscribe(&[exact("*")]).subscriber()
}

fn all_events() -> [(&'static str, &'static str); 1] {
    [("match_urlpattern", "/.well-known/mercure/subscriptions/*")]
}

/// The next presence event of a subscription to `text`.
async fn event_of(listener: &mut crate::listener::Listener, text: &str) -> Value {
    loop {
        let event = listener.event().await;
        assert_eq!(event.event, "mercure");
        let data: Value = serde_json::from_str(&event.data).expect("JSON");
        if data["match"] == text {
            return data;
        }
    }
}

/// The list of all subscriptions, once it has so many: an event may be heard a moment before the list has it.
async fn listed(hub: &Hub, token: &str, total: usize) -> crate::answer::Answer {
    loop {
        let answer = hub.get_as(token, paths::SUBSCRIPTIONS).await;
        if answer.json::<Value>()["total"] == total {
            return answer;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn each_subscription_is_told_when_it_begins_and_when_it_ends() {
    let hub = Hub::start().await;
    let mut events = hub.subscribe_as(&watcher(), &all_events()).await;
    let listener = hub.subscribe(&[("match", "a b/c"), ("match_urlpattern", "/d/:e")]).await;
    let (one, two) = (event_of(&mut events, "a b/c").await, event_of(&mut events, "/d/:e").await);
    assert_eq!(one["type"], "subscription");
    assert_eq!((&one["match_type"], &two["match_type"]), (&json!("exact"), &json!("urlpattern")));
    assert_eq!((&one["active"], &one["subscriber"]), (&json!(true), &two["subscriber"]));
    let subscriber = one["subscriber"].as_str().expect("a subscriber").replace(':', "%3A");
    assert_eq!(one["id"], format!("/.well-known/mercure/subscriptions/exact/a%20b%2Fc/{subscriber}"));
    assert_eq!(two["id"], format!("/.well-known/mercure/subscriptions/urlpattern/%2Fd%2F%3Ae/{subscriber}"));
    drop(listener);
    let ended = event_of(&mut events, "a b/c").await;
    assert_eq!((&ended["active"], &ended["id"]), (&json!(false), &one["id"]));
}

#[tokio::test]
async fn presence_events_are_private() {
    let hub = Hub::start().await;
    let mut stranger = hub.subscribe(&[("match", "*")]).await;
    hub.subscribe(&[("match", "a")]).await;
    let id = hub.update("b", "").await;
    assert_eq!(stranger.event().await.id, id);
}

#[tokio::test]
async fn each_connection_is_a_subscriber_of_its_own() {
    let hub = Hub::start().await;
    let mut events = hub.subscribe_as(&watcher(), &all_events()).await;
    let token = Claims::new().subscriber();
    let _one = hub.subscribe_as(&token, &[("match", "a"), ("subscriber", "mine")]).await;
    let _two = hub.subscribe_as(&token, &[("match", "a"), ("subscriber", "mine")]).await;
    let [one, two] = [event_of(&mut events, "a").await, event_of(&mut events, "a").await];
    assert_ne!(one["subscriber"], two["subscriber"]);
}

#[tokio::test]
async fn a_payload_is_that_of_the_first_detail_that_matches_the_matcher() {
    let hub = Hub::start().await;
    let detail = |topic: Value, payload: Value| json!({ "type": DETAIL, "actions": ["subscribe"], "topics": [topic], "payload": payload });
    let token = Claims::new()
        .detail(json!({ "type": DETAIL, "actions": ["publish"], "topics": [exact("/a/1")], "payload": { "n": 0 } }))
        .detail(detail(pattern("/a/:b"), json!({ "n": 1 })))
        .detail(detail(exact("/a/1"), json!({ "n": 2 })))
        .detail(detail(exact("*"), json!({ "n": 3 })))
        .subscriber();
    let mut events = hub.subscribe_as(&watcher(), &all_events()).await;
    let _listener = hub.subscribe_as(&token, &[("match", "/a/1"), ("match", "z")]).await;
    assert_eq!(event_of(&mut events, "/a/1").await["payload"], json!({ "n": 1 }));
    assert_eq!(event_of(&mut events, "z").await["payload"], json!({ "n": 3 }));
    let _none = hub.subscribe(&[("match", "y")]).await;
    assert_eq!(event_of(&mut events, "y").await.get("payload"), None);
}

#[tokio::test]
async fn the_api_is_authorized_by_the_right_to_subscribe_to_its_own_path() {
    let hub = Hub::start().await;
    let answer = hub.app.get(paths::SUBSCRIPTIONS).await;
    answer.problem(401);
    assert!(!challenge(&answer).contains("error"));
    for (topic, status) in
        [(exact(paths::SUBSCRIPTIONS), 200), (pattern("/.well-known/mercure/subscriptions"), 200), (exact("a"), 403)]
    {
        let token = Claims::new().subscribe(&[topic]).subscriber();
        hub.get_as(&token, &format!("{}?limit=5", paths::SUBSCRIPTIONS)).await.assert_status(status);
    }
}

#[tokio::test]
async fn the_api_lists_all_those_of_a_matcher_and_each_alone() {
    let hub = Hub::start().await;
    let token = watcher();
    let mut events = hub.subscribe_as(&token, &all_events()).await;
    let _listeners =
        [hub.subscribe(&[("match", "a b")]).await, hub.subscribe(&[("match", "a b"), ("match", "c")]).await];
    event_of(&mut events, "c").await;
    let answer = listed(&hub, &token, 4).await;
    let all: Value = answer.json();
    assert_eq!(
        (&all["id"], &all["type"], &all["total"]),
        (&json!(paths::SUBSCRIPTIONS), &json!("subscriptions"), &json!(4))
    );
    let of_matcher: Value = hub.get_as(&token, &format!("{}/exact/a%20b", paths::SUBSCRIPTIONS)).await.json();
    let found = of_matcher["subscriptions"].as_array().expect("a list");
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|one| one["active"] == true && one["match"] == "a b"));
    let id = found[0]["id"].as_str().expect("an id");
    assert_eq!(hub.get_as(&token, id).await.json::<Value>(), found[0]);
    hub.get_as(&token, &format!("{}/exact/a%20b/nobody", paths::SUBSCRIPTIONS)).await.problem(404);
}

#[tokio::test]
async fn the_api_is_read_in_pages() {
    let hub = Hub::start().await;
    let token = watcher();
    let mut events = hub.subscribe_as(&token, &all_events()).await;
    let mut listeners = Vec::new();
    for _ in 0..7 {
        listeners.push(hub.subscribe(&[("match", "a")]).await);
        event_of(&mut events, "a").await;
    }
    listed(&hub, &token, 8).await;
    let (mut path, mut seen) = (format!("{}/exact/a?limit=3", paths::SUBSCRIPTIONS), 0);
    loop {
        let answer = hub.get_as(&token, &path).await;
        let page: Value = answer.json();
        seen += page["subscriptions"].as_array().expect("a list").len();
        assert_eq!(page["total"], 7);
        let link = answer.header("link");
        let Some((next, _)) = link.split_once(">; rel=\"next\"") else { break };
        path = next.rsplit_once('<').expect("a link").1.to_owned();
    }
    assert_eq!(seen, 7);
    hub.get_as(&token, &format!("{}?limit=0", paths::SUBSCRIPTIONS)).await.problem(400);
}

#[tokio::test]
async fn the_api_links_to_the_hub_with_the_place_from_which_its_events_go_on() {
    let hub = Hub::start().await;
    let token = watcher();
    let link = hub.get_as(&token, paths::SUBSCRIPTIONS).await.header("link");
    assert!(link.contains("</.well-known/mercure>; rel=\"mercure\"; last-event-id=\"earliest\""), "{link}");
    assert!(link.contains("type=\"mercure\"; content-type=\"application/json\""), "{link}");
    let mut events = hub.subscribe_as(&token, &all_events()).await;
    let _first = hub.subscribe(&[("match", "a")]).await;
    event_of(&mut events, "a").await;
    let answer = listed(&hub, &token, 2).await;
    let etag = answer.header("etag");
    assert!(answer.header("link").contains(&format!("last-event-id={etag}")), "{answer:?}");
    assert!(answer.header("cache-control").contains("must-revalidate"));
    let again =
        hub.request(reqwest::Method::GET, paths::SUBSCRIPTIONS).bearer_auth(&token).header("if-none-match", &etag);
    again.answer().await.assert_status(304);
    // Whoever goes on from there hears exactly what the list doesn't have.
    let parameters = [all_events()[0], ("last_event_id", etag.trim_matches('"'))];
    let mut rest = hub.subscribe_as(&token, &parameters).await;
    let _second = hub.subscribe(&[("match", "b")]).await;
    loop {
        let event: Value = serde_json::from_str(&rest.event().await.data).expect("JSON");
        assert_ne!(event["match"], "a");
        if event["match"] == "b" {
            break;
        }
    }
}

#[tokio::test]
async fn the_api_links_to_the_hubs_last_event_whoever_published_it() {
    let hub = Hub::start().await;
    let token = watcher();
    let _listener = hub.subscribe(&[("match", "a")]).await;
    listed(&hub, &token, 1).await;
    let published = hub.publish(&[("topic", "b"), ("id", "an id, \"of\" mine")]).await.body;
    let all = hub.get_as(&token, paths::SUBSCRIPTIONS).await;
    let document: Value = all.json();
    let one = document["subscriptions"][0]["id"].as_str().expect("an id");
    for answer in [&all, &hub.get_as(&token, one).await] {
        let quoted = published.replace('"', "\\\"");
        assert!(answer.header("link").contains(&format!("last-event-id=\"{quoted}\"")), "{answer:?}");
        let again = hub.request(reqwest::Method::GET, paths::SUBSCRIPTIONS).bearer_auth(&token);
        again.header("if-none-match", answer.header("etag")).answer().await.assert_status(304);
    }
}

#[tokio::test]
async fn an_address_in_another_equivalent_spelling_is_the_same_one() {
    let hub = Hub::start().await;
    let watcher = watcher();
    let _listener = hub.subscribe(&[("match", "/f(x)!/ü")]).await;
    listed(&hub, &watcher, 1).await;
    let address = format!("{}/exact/%2Ff%28x%29%21%2F%C3%BC", paths::SUBSCRIPTIONS);
    let token = Claims::new().subscribe(&[exact(&address)]).subscriber();
    for spelling in ["%2ff(x)!%2f%c3%bc", "%2Ff%28x%29%21%2F%C3%BC", "%2F%66(x)!%2F%C3%BC"] {
        let path = format!("{}/exact/{spelling}", paths::SUBSCRIPTIONS);
        let list: Value = hub.get_as(&token, &path).await.json();
        assert_eq!((&list["id"], &list["total"]), (&json!(address), &json!(1)), "{spelling}");
        let id = list["subscriptions"][0]["id"].as_str().expect("an id");
        let one: Value = hub.get_as(&watcher, &id.replace(&address, &path)).await.json();
        assert_eq!(one["id"], id, "{spelling}");
    }
    hub.get_as(&token, &format!("{}/exact/%2Ff(x)!", paths::SUBSCRIPTIONS)).await.problem(403);
}

#[tokio::test]
async fn a_matcher_whose_address_would_lead_elsewhere_is_refused() {
    let hub = Hub::start().await;
    for matcher in [("match", ".."), ("match_exact", "."), ("match_urlpattern", "..")] {
        let detail = hub.stream(&[("match", "a"), matcher]).answer().await.problem(400);
        assert!(detail.contains("address"), "{detail}");
    }
    hub.subscribe(&[("match", "..."), ("match", "%2e%2e"), ("match_urlpattern", "../:a")]).await;
}

#[tokio::test]
async fn presence_can_be_turned_off() {
    let hub = Hub::start_with(Options { presence: Some(false), ..Options::default() }).await;
    hub.get_as(&watcher(), paths::SUBSCRIPTIONS).await.problem(404);
    let metadata: Value = hub.app.get(paths::RESOURCE_METADATA).await.json();
    assert_eq!(metadata.get("mercure_subscriptions"), None);
    let mut events = hub.subscribe_as(&watcher(), &[("match", "*")]).await;
    let _listener = hub.subscribe(&[("match", "a")]).await;
    let id = hub.update("a", "").await;
    assert_eq!(events.event().await.id, id);
}
