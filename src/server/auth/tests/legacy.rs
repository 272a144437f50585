//! Tokens of the older protocol, where they are accepted.

use super::*;
use crate::server::log::Topic;

fn draft(claim: Value) -> Draft {
    let claims = json!({ "mercure": claim });
    Draft { header: json!({ "alg": "HS256", "typ": "JWT" }), claims }
}

#[tokio::test]
async fn it_needs_no_issuer_no_audience_and_no_end_but_the_first_issuers_key() {
    let mut house = House::new().legacy();
    let other = KeySource::File(house.file("other", "another issuer's secret, as long as it must be"));
    house.options.issuers.push(issuer("other", other));
    let auth = house.open();
    let token = verify(&auth, &draft(json!({ "publish": ["*"] }))).await.expect("a token");
    assert_eq!((&*token.issuer, token.expires), (ISSUER, None));
    let key = EncodingKey::from_secret(b"another issuer's secret, as long as it must be");
    let theirs = draft(json!({ "publish": ["*"] })).with("iss", "other").sign_with(&key, Algorithm::HS256);
    assert_eq!(refused(auth.verify(&theirs, Role::Subscriber).await), TokenError::Signature);
    let untyped = draft(json!({})).header("typ", Value::Null);
    verify(&auth, &untyped).await.expect("a token");
}

#[tokio::test]
async fn its_end_and_its_beginning_count_if_it_has_them_and_it_can_be_revoked() {
    let auth = House::new().legacy().open();
    let expired = refused(verify(&auth, &draft(json!({})).with("exp", 1)).await);
    assert!(matches!(expired, TokenError::Expired { .. }), "{expired}");
    let early = refused(verify(&auth, &draft(json!({})).with("nbf", 4e9)).await);
    assert!(matches!(early, TokenError::NotYet { .. }), "{early}");
    let named = draft(json!({})).with("jti", "7").with("exp", 4e9);
    assert!(verify(&auth, &named).await.expect("a token").expires.is_some());
    auth.revoke(ISSUER, "7", None).await.expect("revoked");
    assert_eq!(refused(verify(&auth, &named).await), TokenError::Revoked);
}

#[tokio::test]
async fn it_is_refused_where_the_older_protocol_is_not_spoken() {
    let claim = json!({ "publish": ["*"] });
    let refusal = refused(verify(&House::new().open(), &draft(claim)).await);
    assert!(refusal == TokenError::Legacy && refusal.to_string().contains("--legacy"), "{refusal}");
    let auth = House::new().legacy().open();
    for claim in [json!(["*"]), json!("*"), Value::Null] {
        assert_eq!(refused(verify(&auth, &draft(claim.clone())).await), TokenError::Type, "{claim}");
    }
}

#[tokio::test]
async fn an_access_token_is_one_however_old_its_claims() {
    let auth = House::new().legacy().open();
    let token = verify(&auth, &Draft::new().with("mercure", json!({ "publish": ["*"] }))).await.expect("a token");
    assert!(token.rights.grants().is_empty());
    let old = draft(json!({ "publish": ["*"] })).header("typ", "at+jwt");
    assert_eq!(refused(verify(&auth, &old).await), TokenError::Missing("iss"));
}

#[tokio::test]
async fn an_inspection_tells_what_the_hub_would_grant_and_no_claim_of_the_other_protocol() {
    let auth = House::new().legacy().open();
    let claim = json!({ "publish": ["*"] });
    let details = json!([{ "type": DETAIL_TYPE, "actions": ["subscribe"], "topics": [{ "match": "a" }] }]);
    let both = draft(claim.clone()).details(details);
    for draft in [Draft::new().with("mercure", claim), Draft::new().with("mercure", json!({ "publish": 7 })), both] {
        let granted = verify(&auth, &draft).await.expect("a token").rights.clone();
        let told = auth.inspect(&draft.sign(), &[]).await.expect("a token").rights.expect("rights");
        assert_eq!(format!("{told:?}"), format!("{granted:?}"));
    }
}

#[tokio::test]
async fn its_topics_are_texts_uri_templates_and_an_asterisk() {
    let auth = House::new().legacy().open();
    let claim = json!({
        "publish": ["https://example.com/books/{id}", "a", "/:b"], "subscribe": ["*"], "payload": { "name": "Ada" },
    });
    let rights = verify(&auth, &draft(claim)).await.expect("a token").rights.clone();
    let may_publish = |name: &str| rights.may_publish(&[Topic::parse(name).expect("a topic")]);
    for topic in ["https://example.com/books/1", "https://example.com/books/{id}", "a", "/:b"] {
        assert!(may_publish(topic), "{topic}");
    }
    for topic in ["https://example.com/books/1/2", "b", "/b", "*"] {
        assert!(!may_publish(topic), "{topic}");
    }
    assert!(rights.may_subscribe("anything") && !rights.may_revoke());
    let payloads: Vec<_> = rights.grants().iter().map(|grant| grant.payload.is_some()).collect();
    assert_eq!(payloads, [false, true]);
}

#[tokio::test]
async fn what_it_does_not_name_it_does_not_grant() {
    let auth = House::new().legacy().open();
    for claim in [json!({}), json!({ "publish": [], "subscribe": [] }), json!({ "publish": null })] {
        assert!(verify(&auth, &draft(claim)).await.expect("a token").rights.grants().is_empty());
    }
}

#[tokio::test]
async fn a_claim_that_cant_be_read_is_refused() {
    let auth = House::new().legacy().open();
    let many: Value = (0..1001).map(|n| n.to_string()).collect();
    for claim in [
        json!({ "publish": "*" }),
        json!({ "subscribe": { "a": 1 } }),
        json!({ "publish": [7] }),
        json!({ "publish": [""] }),
        json!({ "subscribe": ["a{"] }),
        json!({ "publish": ["{a:0}"] }),
        json!({ "publish": many }),
        json!({ "publish": ["x".repeat(4097)] }),
    ] {
        let refusal = refused(verify(&auth, &draft(claim.clone())).await);
        assert!(refusal.to_string().contains("`mercure`"), "{claim}: {refusal}");
    }
}
