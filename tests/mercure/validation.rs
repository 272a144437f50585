//! 2.5 Authorization, "Token Validation".

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use tidings::server::settings::{Issuer, Issuers, Options};
use tidings::wire::paths;

use crate::answer::Answer;
use crate::app::Ask;
use crate::hub::{Hub, challenge};
use crate::token::{Claims, ISSUER, RESOURCE, SUBSCRIBER_SECRET, key_file, now};

async fn ask(hub: &Hub, token: &str) -> Answer {
    hub.request(reqwest::Method::HEAD, "/.well-known/mercure?match=a").bearer_auth(token).answer().await
}

async fn is_accepted(hub: &Hub, claims: &Claims) -> bool {
    match ask(hub, &claims.subscriber()).await.status.as_u16() {
        200 => true,
        401 => false,
        status => panic!("{status}: {claims:?}", claims = claims.claims),
    }
}

#[tokio::test]
async fn the_type_is_that_of_an_access_token() {
    let hub = Hub::start().await;
    for (kind, accepted) in
        [("at+jwt", true), ("AT+JWT", true), ("application/at+jwt", true), ("JWT", false), ("at+jwt ", false)]
    {
        assert_eq!(is_accepted(&hub, &Claims::new().header("typ", kind)).await, accepted, "{kind}");
    }
    assert!(!is_accepted(&hub, &Claims::new().header("typ", Value::Null)).await);
}

#[tokio::test]
async fn the_algorithm_is_allowed_and_fits_the_key() {
    let hub = Hub::start().await;
    for algorithm in ["none", "None", "HS384", "HS512", "RS256", "ES256", "hs256", ""] {
        assert!(!is_accepted(&hub, &Claims::new().header("alg", algorithm)).await, "{algorithm}");
    }
    let token = Claims::new().header("alg", "none").subscriber();
    let unsigned = format!("{}.", token.rsplit_once('.').expect("a signature").0);
    assert_eq!(ask(&hub, &unsigned).await.status, 401);
}

#[tokio::test]
async fn keys_come_only_from_the_configuration() {
    let hub = Hub::start().await;
    let own = json!({ "kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0" });
    let forged = Claims::new().header("jwk", own).header("jku", "https://evil.example/jwks").header("kid", "x");
    assert_eq!(ask(&hub, &forged.sign("secretsecretsecretsecretsecretsecret")).await.status, 401);
    // They don't harm a token that a configured key has signed either.
    assert!(is_accepted(&hub, &forged).await);
}

#[tokio::test]
async fn a_changed_token_is_refused() {
    let hub = Hub::start().await;
    let token = Claims::new().subscriber();
    let (message, _) = token.rsplit_once('.').expect("a signature");
    let other = Claims::new().with("sub", "another").subscriber();
    let mixed = format!("{message}.{}", other.rsplit_once('.').expect("a signature").1);
    for token in
        [mixed, format!("{token}x"), "a.b.c".into(), "x".into(), format!("{token}.{token}"), "a".repeat(17_000)]
    {
        // What is too long for a header is refused before it is looked at.
        assert!(matches!(ask(&hub, &token).await.status.as_u16(), 401 | 431), "{}", &token[..1]);
    }
}

#[tokio::test]
async fn the_issuer_is_exactly_one_of_those_trusted() {
    let hub = Hub::start().await;
    for issuer in
        [json!("https://issuer.example/"), json!("https://evil.example"), json!(7), json!([ISSUER]), Value::Null]
    {
        assert!(!is_accepted(&hub, &Claims::new().with("iss", issuer.clone())).await, "{issuer}");
    }
}

#[tokio::test]
async fn each_key_is_bound_to_its_issuer() {
    let folder = tempfile::tempdir().expect("a folder");
    let other = "the secret of the other issuer, which is another one";
    let key = key_file("other", other);
    let config = format!("[[issuer]]\nissuer = 'https://other.example'\nsubscriber-key-file = '{}'\n", key.display());
    let path = folder.path().join("tidings.toml");
    std::fs::write(&path, config).expect("a file");
    let hub = Hub::start_with(Options { config: Some(path), ..Options::default() }).await;
    let theirs = Claims::new().with("iss", "https://other.example");
    assert_eq!(ask(&hub, &theirs.sign(other)).await.status, 200);
    assert_eq!(ask(&hub, &theirs.sign(SUBSCRIBER_SECRET)).await.status, 401);
    assert_eq!(ask(&hub, &Claims::new().sign(other)).await.status, 401);
    assert_eq!(ask(&hub, &Claims::new().subscriber()).await.status, 200);
    // It has no key for publishers.
    let publisher = theirs.publish(&[crate::token::exact("*")]).sign(other);
    hub.post(&[("topic", "a")]).bearer_auth(publisher).answer().await.problem(401);
}

#[tokio::test]
async fn exp_is_required_and_enforced_and_nbf_too() {
    let hub = Hub::start().await;
    for (claims, accepted) in [
        (Claims::new().with("exp", Value::Null), false),
        (Claims::new().with("exp", now(-1)), false),
        (Claims::new().with("exp", "tomorrow"), false),
        (Claims::new().with("exp", 1e300), true),
        (Claims::new().with("nbf", now(-60)), true),
        (Claims::new().with("nbf", now(60)), false),
        (Claims::new().with("nbf", "now"), false),
    ] {
        assert_eq!(is_accepted(&hub, &claims).await, accepted, "{}", claims.claims);
    }
}

#[tokio::test]
async fn the_audience_contains_the_hub() {
    let hub = Hub::start().await;
    for (audience, accepted) in [
        (json!(RESOURCE), true),
        (json!(["https://other.example", RESOURCE]), true),
        (json!([]), false),
        (json!("https://hub.example"), false),
        (json!([RESOURCE, 7]), false),
        (Value::Null, false),
    ] {
        assert_eq!(is_accepted(&hub, &Claims::new().with("aud", audience.clone())).await, accepted, "{audience}");
    }
}

#[tokio::test]
async fn only_iss_exp_aud_and_nbf_are_enforced() {
    let hub = Hub::start().await;
    let mut claims = Claims::new();
    for name in ["sub", "client_id", "iat", "jti", "authorization_details"] {
        claims = claims.with(name, Value::Null);
    }
    assert!(is_accepted(&hub, &claims).await);
}

#[tokio::test]
async fn a_refused_token_is_told_why() {
    let hub = Hub::start().await;
    for (claims, says) in [
        (Claims::new().with("exp", now(-60)), "expired"),
        (Claims::new().with("aud", "https://other.example"), RESOURCE),
        (Claims::new().header("typ", "JWT"), "at+jwt"),
        (Claims::new().header("typ", "JWT").with("mercure", json!({ "publish": ["*"] })), "--legacy"),
        (Claims::new().with("iss", "https://other.example"), ISSUER),
    ] {
        let answer = hub.stream(&[("match", "a")]).bearer_auth(claims.subscriber()).answer().await;
        let detail = answer.problem(401);
        assert!(detail.contains(says), "{detail}");
        let challenge = challenge(&answer);
        assert!(
            challenge.contains("error=\"invalid_token\"") && challenge.contains("resource_metadata"),
            "{challenge}"
        );
    }
}

#[tokio::test]
async fn while_an_issuers_keys_cant_be_fetched_one_is_told_to_come_back() {
    // Nobody listens there any more.
    let address =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let issuer = Issuer {
        issuer: "https://remote.example".into(),
        publisher_key_file: None,
        subscriber_key_file: None,
        jwks_url: Some(format!("http://{address}/jwks").parse().expect("a URL")),
        jwks_internal: true,
    };
    let hub = Hub::start_with(Options { issuers: Issuers::Tables(vec![issuer]), ..Options::default() }).await;
    let claims = Claims::new().with("iss", "https://remote.example");
    for request in [
        hub.stream(&[("match", "a")]).bearer_auth(claims.subscriber()),
        hub.post(&[("topic", "a")]).bearer_auth(claims.publisher()),
        hub.request(reqwest::Method::POST, paths::TICKETS).bearer_auth(claims.subscriber()),
    ] {
        let answer = request.answer().await;
        let detail = answer.problem(503);
        assert!(detail.contains("keys") && answer.header("retry-after") == "10", "{answer:?}");
        assert_eq!(answer.header("www-authenticate"), "");
    }
}

#[tokio::test]
async fn public_keys_of_each_kind_verify_their_algorithms() {
    use jsonwebtoken::EncodingKey;
    for (name, algorithm, private, public) in [
        ("EdDSA", Algorithm::EdDSA, include_str!("keys/ed25519.pem"), include_str!("keys/ed25519.pub.pem")),
        ("ES256", Algorithm::ES256, include_str!("keys/p256.pem"), include_str!("keys/p256.pub.pem")),
        ("ES384", Algorithm::ES384, include_str!("keys/p384.pem"), include_str!("keys/p384.pub.pem")),
        ("RS256", Algorithm::RS256, include_str!("keys/rsa.pem"), include_str!("keys/rsa.pub.pem")),
        ("PS512", Algorithm::PS512, include_str!("keys/rsa.pem"), include_str!("keys/rsa.pub.pem")),
    ] {
        let file = key_file(&format!("{name}.pem"), public);
        let hub = Hub::start_with(Options { subscriber_key_file: Some(file), ..Options::default() }).await;
        let pem = private.as_bytes();
        let key = match algorithm {
            Algorithm::EdDSA => EncodingKey::from_ed_pem(pem),
            Algorithm::ES256 | Algorithm::ES384 => EncodingKey::from_ec_pem(pem),
            _ => EncodingKey::from_rsa_pem(pem),
        };
        let token = Claims::new().header("alg", name).sign_with(&key.expect("a key"), algorithm);
        assert_eq!(ask(&hub, &token).await.status, 200, "{name}");
        // A public key is no secret, whatever the token's header says.
        assert_eq!(ask(&hub, &Claims::new().sign(public)).await.status, 401, "{name}");
    }
}
