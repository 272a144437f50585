//! How fast one may publish: counted in updates, for each token's subject and each address without a token.

use reqwest::Method;
use serde_json::json;
use tidings::server::settings::Options;
use tidings::wire::paths;

use crate::answer::Answer;
use crate::app::{Ask, JSON};
use crate::hub::Hub;
use crate::token::{Claims, exact};

async fn publish(hub: &Hub, token: Option<&str>, updates: usize) -> Answer {
    let body = json!(vec![json!({"topic": "a"}); updates]).to_string();
    let post = hub.request(Method::POST, paths::HUB).header("content-type", JSON).body(body);
    match token {
        Some(token) => post.bearer_auth(token).answer().await,
        None => post.answer().await,
    }
}

fn token_of(subject: &str) -> String {
    Claims::new().with("sub", subject).publish(&[exact("*")]).publisher()
}

#[tokio::test]
async fn a_subject_publishes_as_many_updates_as_it_may_whatever_it_sends_them_in() {
    let hub = Hub::start_with(Options { token_rate_limit: Some(10), ..Options::default() }).await;
    let anna = token_of("anna");
    publish(&hub, Some(&anna), 39).await.assert_status(200);
    let refused = publish(&hub, Some(&token_of("anna")), 30).await;
    assert!((1..=4).contains(&refused.header("retry-after").parse().expect("seconds")), "{refused:?}");
    refused.problem(429);
    publish(&hub, Some(&token_of("bert")), 40).await.assert_status(200);
    let never = publish(&hub, Some(&token_of("carl")), 41).await.problem(413);
    assert!(never.contains("41 updates") && never.contains("at once"), "{never}");
}

#[tokio::test]
async fn an_address_without_a_token_has_a_limit_of_its_own() {
    let options = Options {
        rate_limit: Some(1),
        publish_without_token: Some(true),
        token_rate_limit: Some(0),
        ..Options::default()
    };
    let hub = Hub::start_with(options).await;
    publish(&hub, None, 4).await.assert_status(200);
    publish(&hub, None, 4).await.problem(429);
    publish(&hub, Some(&token_of("anna")), 1000).await.assert_status(200);
}
