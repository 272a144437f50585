//! Mercure 2.5, "Authorization Details", line by line.

use super::*;
use crate::server::log::Topic;

async fn rights(details: Value) -> Result<Arc<crate::server::hub::Rights>, String> {
    let auth = House::new().open();
    match verify(&auth, &Draft::new().details(details)).await {
        Ok(token) => Ok(token.rights.clone()),
        Err(TokenError::Details(error)) => Err(error.to_string()),
        Err(error) => panic!("{error}"),
    }
}

/// One detail of ours.
fn detail(actions: Value, topics: Value) -> Value {
    json!({ "type": DETAIL_TYPE, "actions": actions, "topics": topics })
}

#[track_caller]
fn topics(names: &[&str]) -> Vec<Topic> {
    names.iter().map(|name| Topic::parse(name).expect("a topic")).collect()
}

#[tokio::test]
async fn a_detail_grants_its_actions_on_its_topics() {
    let granted = json!([
        detail(json!(["publish"]), json!([{ "match": "https://example.com/a" }])),
        detail(
            json!(["subscribe", "publish"]),
            json!([{ "match": "/books/:id", "match_type": "urlpattern" }, { "match": "b" }])
        ),
    ]);
    let rights = rights(granted).await.expect("rights");
    for (names, publish, subscribe) in [
        (&["https://example.com/a"][..], true, false),
        (&["/books/1"], true, true),
        (&["https://hub.example/books/1", "b"], true, true),
        (&["https://example.com/a", "c"], false, false),
        (&["b", "c"], false, true),
        (&["B"], false, false),
    ] {
        assert_eq!(rights.may_publish(&topics(names)), publish, "{names:?}");
        assert_eq!(rights.may_read(&topics(names)), subscribe, "{names:?}");
    }
    assert!(!rights.may_revoke());
}

#[tokio::test]
async fn a_missing_claim_grants_nothing_and_an_empty_one_too() {
    for details in [Value::Null, json!([])] {
        assert!(rights(details).await.expect("rights").grants().is_empty());
    }
}

#[tokio::test]
async fn the_claim_is_an_array_of_objects_with_a_type() {
    for wrong in [json!({}), json!("x"), json!([7]), json!([[]]), json!([{}]), json!([{ "type": 7 }])] {
        assert!(rights(wrong.clone()).await.is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn the_type_is_compared_byte_by_byte_and_others_are_ignored() {
    for kind in
        ["https://mercure.rocks/authorization-detail/", "HTTPS://mercure.rocks/authorization-detail", "payment", ""]
    {
        // Whatever else stands in them.
        let details = json!([{ "type": kind, "actions": 7, "topics": "x", "payload": [] }]);
        assert!(rights(details).await.expect(kind).grants().is_empty());
    }
}

#[tokio::test]
async fn actions_are_texts_at_least_one_and_unknown_ones_are_ignored() {
    let all = json!([{ "match": "*" }]);
    let granted = rights(json!([detail(json!(["dance", "publish", ""]), all.clone())])).await.expect("rights");
    assert!(granted.may_publish(&topics(&["a"])) && !granted.may_read(&topics(&["a"])));
    for wrong in [
        json!([]),
        json!("publish"),
        json!(["publish", null]),
        json!(["publish", 7]),
        json!([["publish"]]),
        Value::Null,
    ] {
        let error = rights(json!([detail(wrong.clone(), all.clone())])).await.expect_err("a refusal");
        assert!(error.contains("detail 1: ") && error.contains("`actions`"), "{wrong}: {error}");
    }
}

#[tokio::test]
async fn topics_are_objects_at_least_one_each_with_a_match() {
    for wrong in [
        json!([]),
        json!("*"),
        json!(["*"]),
        json!([null]),
        json!([{}]),
        json!([{ "match": 7 }]),
        json!([{ "match": null }]),
        json!([{ "match": "a" }, {}]),
        json!([{ "match": "" }]),
        json!([{ "match": "a\nb" }]),
        Value::Null,
    ] {
        assert!(rights(json!([detail(json!(["publish"]), wrong.clone())])).await.is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn the_match_type_is_exact_if_it_is_left_out_and_an_unknown_one_is_refused() {
    let of = |topic: Value| json!([detail(json!(["publish"]), json!([topic]))]);
    for topic in [json!({ "match": "/:a" }), json!({ "match": "/:a", "match_type": "exact" })] {
        let rights = rights(of(topic)).await.expect("rights");
        assert!(rights.may_publish(&topics(&["/:a"])) && !rights.may_publish(&topics(&["/1"])));
    }
    for name in
        [json!("uritemplate"), json!("regex"), json!("Exact"), json!("URLPattern"), json!(""), json!(7), json!(null)]
    {
        let error = rights(of(json!({ "match": "/:a", "match_type": name }))).await.expect_err("a refusal");
        assert!(error.contains("topic 1: ") && error.contains("`match_type`"), "{name}: {error}");
    }
    let error = rights(of(json!({ "match": "/(", "match_type": "urlpattern" }))).await.expect_err("a refusal");
    assert!(error.contains("not a valid URL pattern"), "{error}");
}

#[tokio::test]
async fn an_asterisk_is_every_topic_whatever_the_type() {
    for name in ["exact", "urlpattern"] {
        let granted = json!([detail(json!(["subscribe"]), json!([{ "match": "*", "match_type": name }]))]);
        assert!(rights(granted).await.expect("rights").may_read(&topics(&["http://["])), "{name}");
    }
}

#[tokio::test]
async fn a_payload_is_an_object() {
    let with = |payload: Value| {
        let mut detail = detail(json!(["subscribe"]), json!([{ "match": "*" }]));
        detail["payload"] = payload;
        json!([detail])
    };
    let granted = rights(with(json!({ "name": "Ada" }))).await.expect("rights");
    assert_eq!(granted.grants()[0].payload.as_ref().and_then(|payload| payload.get("name")), Some(&json!("Ada")));
    for wrong in [json!([]), json!("Ada"), json!(7), json!(null)] {
        let error = rights(with(wrong.clone())).await.expect_err("a refusal");
        assert!(error.contains("`payload`"), "{wrong}: {error}");
    }
}

#[tokio::test]
async fn one_bad_detail_spoils_the_token() {
    let good = detail(json!(["publish"]), json!([{ "match": "*" }]));
    let error = rights(json!([good.clone(), { "type": "other" }, detail(json!([]), json!([])), good])).await;
    assert!(error.expect_err("a refusal").contains("detail 3: "));
}

#[tokio::test]
async fn revoking_is_granted_only_on_every_topic() {
    let of = |topic: &str| json!([detail(json!(["revoke"]), json!([{ "match": topic }]))]);
    assert!(rights(of("*")).await.expect("rights").may_revoke());
    assert!(!rights(of("a")).await.expect("rights").may_revoke());
}

#[tokio::test]
async fn the_number_of_details_and_topics_and_their_length_are_limited() {
    let topic = |n: usize| json!({ "match": n.to_string() });
    let of = |details: usize, each: usize| -> Value {
        let one = || detail(json!(["publish"]), (0..each).map(topic).collect());
        (0..details).map(|_| one()).collect()
    };
    for (details, each) in [(100, 1), (1, 100), (50, 2)] {
        rights(of(details, each)).await.unwrap_or_else(|error| panic!("{details} x {each}: {error}"));
    }
    for (details, each) in [(101, 1), (1, 101), (51, 2)] {
        assert!(rights(of(details, each)).await.is_err(), "{details} x {each}");
    }
    // Those of others count as details, and their topics don't.
    let other = |n| json!({ "type": "other", "topics": [n, n] });
    rights((0..100).map(other).collect()).await.expect("rights");
    assert!(rights((0..101).map(other).collect()).await.is_err());
    let long = |length: usize| json!([detail(json!(["publish"]), json!([{ "match": "x".repeat(length) }]))]);
    rights(long(4096)).await.expect("rights");
    assert!(rights(long(4097)).await.is_err());
}

#[tokio::test]
async fn patterns_are_not_compiled_for_who_has_no_key() {
    let auth = House::new().open();
    let draft = Draft::new()
        .details(json!([detail(json!(["publish"]), json!([{ "match": "/(", "match_type": "urlpattern" }]))]));
    let key = EncodingKey::from_secret(b"somebody else's secret, of no interest");
    let verified = auth.verify(&draft.sign_with(&key, Algorithm::HS256), Role::Subscriber).await;
    assert_eq!(refused(verified), TokenError::Signature);
}
