//! Keys that an issuer publishes (JWKS): fetched, replaced, and never from where they must not be.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::Utc;
use futures_util::FutureExt;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tempfile::TempDir;
use tidings::server::auth::{Auth, AuthError, AuthOptions, IssuerOptions, KeySource, Role, TokenError};
use tidings::server::hub::Patterns;
use tokio::net::TcpListener;
use url::Url;

const ISSUER: &str = "https://issuer.example";
const RESOURCE: &str = "https://hub.example/.well-known/mercure";

/// What the issuer answers next, and how often it was asked.
#[derive(Clone, Default)]
struct Published {
    answer: Arc<Mutex<Answer>>,
    asked: Arc<AtomicUsize>,
    elsewhere: Arc<AtomicUsize>,
}

#[derive(Clone, Debug, Default)]
enum Answer {
    #[default]
    Nothing,
    Keys(Vec<Value>),
    Text(String),
    Redirect,
    Large,
}

impl Published {
    async fn serve() -> (Self, SocketAddr) {
        let published = Self::default();
        let router =
            Router::new().route("/jwks", get(answer)).route("/elsewhere", get(elsewhere)).with_state(published.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, router).await });
        (published, address)
    }

    fn answers(&self, answer: Answer) {
        *self.answer.lock().expect("a lock") = answer;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

async fn answer(State(published): State<Published>) -> Response {
    published.asked.fetch_add(1, Ordering::Relaxed);
    match published.answer.lock().expect("a lock").clone() {
        Answer::Nothing => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Answer::Keys(keys) => json!({ "keys": keys }).to_string().into_response(),
        Answer::Text(text) => text.into_response(),
        Answer::Redirect => Redirect::to("/elsewhere").into_response(),
        Answer::Large => format!("{}{}", " ".repeat(256 * 1024), json!({ "keys": [] })).into_response(),
    }
}

async fn elsewhere(State(published): State<Published>) -> String {
    published.elsewhere.fetch_add(1, Ordering::Relaxed);
    json!({ "keys": [] }).to_string()
}

/// Trusts the issuer whose keys are at this address.
fn open(url: &str, internal: bool) -> Result<(Arc<Auth>, TempDir), AuthError> {
    let folder = tempfile::tempdir().expect("a folder");
    let source = KeySource::Url { url: Url::parse(url).expect("a URL"), internal };
    let options = AuthOptions {
        resource: RESOURCE.into(),
        issuers: vec![IssuerOptions { issuer: ISSUER.into(), publisher: source.clone(), subscriber: source }],
        data: folder.path().into(),
        shared: None,
        legacy: false,
    };
    let patterns = Patterns::new(Url::parse(RESOURCE).expect("a URL"));
    Ok((Auth::open(options, Arc::new(patterns), Arc::new(Utc::now))?, folder))
}

/// A key of the issuer, with its id.
struct Key {
    id: &'static str,
    pair: Ed25519KeyPair,
}

impl Key {
    fn new(id: &'static str) -> Self {
        Self { id, pair: Ed25519KeyPair::generate().expect("a key") }
    }

    fn published(&self) -> Value {
        let x = BASE64_URL_SAFE_NO_PAD.encode(self.pair.public_key());
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": self.id, "use": "sig", "x": x })
    }

    fn token(&self) -> String {
        let header = Header { typ: Some("at+jwt".into()), kid: Some(self.id.into()), ..Header::new(Algorithm::EdDSA) };
        let claims = json!({ "iss": ISSUER, "aud": RESOURCE, "exp": Utc::now().timestamp() + 600 });
        let key = EncodingKey::from_ed_der(self.pair.to_pkcs8v1().expect("a key").as_ref());
        jsonwebtoken::encode(&header, &claims, &key).expect("a token")
    }
}

#[tokio::test]
async fn one_fetch_serves_both_uses_and_every_token() {
    let (published, address) = Published::serve().await;
    let (one, other) = (Key::new("one"), Key::new("other"));
    published.answers(Answer::Keys(vec![one.published(), other.published()]));
    let (auth, _folder) = open(&format!("http://{address}/jwks"), true).expect("keys");
    assert_eq!(published.asked(), 0, "it starts without them");
    for key in [&one, &other] {
        for role in [Role::Publisher, Role::Subscriber] {
            auth.verify(&key.token(), role).await.expect("a token");
        }
    }
    assert_eq!(published.asked(), 1);
    let stranger = Key::new("one");
    assert_eq!(auth.verify(&stranger.token(), Role::Publisher).await.err(), Some(TokenError::Signature));
    assert_eq!(published.asked(), 1);
}

#[tokio::test]
async fn a_key_that_is_replaced_is_fetched_with_the_first_token_that_names_it_and_the_old_one_ends() {
    let (published, address) = Published::serve().await;
    let (old, new) = (Key::new("old"), Key::new("new"));
    published.answers(Answer::Keys(vec![old.published()]));
    let (auth, _folder) = open(&format!("http://{address}/jwks"), true).expect("keys");
    let token = old.token();
    auth.verify(&token, Role::Publisher).await.expect("a token");
    published.answers(Answer::Keys(vec![new.published()]));
    auth.verify(&token, Role::Publisher).await.expect("a token as long as nobody knows");
    auth.verify(&new.token(), Role::Publisher).await.expect("a token");
    assert_eq!(published.asked(), 2);
    // Verified before, but with keys that are no more.
    assert_eq!(auth.verify(&token, Role::Publisher).await.err(), Some(TokenError::Signature));
    // Whoever makes up ids does not make us ask again.
    for _ in 0..5 {
        assert!(auth.verify(&Key::new("made up").token(), Role::Publisher).await.is_err());
    }
    assert_eq!(published.asked(), 2);
}

#[tokio::test]
async fn while_keys_cant_be_fetched_a_token_may_be_right() {
    let (published, address) = Published::serve().await;
    let key = Key::new("one");
    let secret = json!({ "kty": "oct", "k": BASE64_URL_SAFE_NO_PAD.encode([1; 32]) });
    for answer in [
        Answer::Nothing,
        Answer::Text("no JSON".into()),
        Answer::Text("[]".into()),
        Answer::Redirect,
        Answer::Large,
        Answer::Keys(Vec::new()),
        Answer::Keys(vec![secret.clone()]),
        Answer::Keys(vec![key.published(); 65]),
    ] {
        published.answers(answer.clone());
        let (auth, _folder) = open(&format!("http://{address}/jwks"), true).expect("keys");
        let error = auth.verify(&key.token(), Role::Subscriber).await.expect_err("a refusal");
        assert_eq!(error, TokenError::KeysUnavailable, "{answer:?}");
    }
    assert_eq!(published.elsewhere.load(Ordering::Relaxed), 0, "it goes no detours");
}

#[tokio::test]
async fn while_keys_cant_be_fetched_a_token_that_names_a_new_one_may_be_right_and_one_of_a_known_key_may_not() {
    let (published, address) = Published::serve().await;
    let (old, new) = (Key::new("old"), Key::new("new"));
    published.answers(Answer::Keys(vec![old.published()]));
    let (auth, _folder) = open(&format!("http://{address}/jwks"), true).expect("keys");
    auth.verify(&old.token(), Role::Subscriber).await.expect("a token");
    published.answers(Answer::Nothing);
    for _ in 0..2 {
        let error = auth.verify(&new.token(), Role::Subscriber).await.expect_err("a refusal");
        assert_eq!(error, TokenError::KeysUnavailable);
    }
    let forged = Key::new("old").token();
    assert_eq!(auth.verify(&forged, Role::Subscriber).await.err(), Some(TokenError::Signature));
    auth.verify(&old.token(), Role::Subscriber).await.expect("the old keys serve on");
}

#[tokio::test]
async fn what_is_no_public_key_is_left_out_of_a_set() {
    let (published, address) = Published::serve().await;
    let key = Key::new("one");
    let secret = [1; 32];
    let mut private = key.published();
    private["d"] = json!("AAAA");
    private["kid"] = json!("leaked");
    published.answers(Answer::Keys(vec![
        json!({ "kty": "oct", "k": BASE64_URL_SAFE_NO_PAD.encode(secret) }),
        json!({ "kty": "OKP", "crv": "Ed25519", "x": "damaged" }),
        private,
        json!(7),
        key.published(),
    ]));
    let (auth, _folder) = open(&format!("http://{address}/jwks"), true).expect("keys");
    auth.verify(&key.token(), Role::Subscriber).await.expect("a token");
    let claims = json!({ "iss": ISSUER, "aud": RESOURCE, "exp": Utc::now().timestamp() + 600 });
    let header = Header { typ: Some("at+jwt".into()), ..Header::default() };
    let forged = jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(&secret)).expect("a token");
    assert_eq!(auth.verify(&forged, Role::Subscriber).await.err(), Some(TokenError::NoKey));
}

#[tokio::test]
async fn nothing_is_fetched_from_this_machine_unless_it_is_said() {
    let (published, address) = Published::serve().await;
    published.answers(Answer::Keys(vec![Key::new("one").published()]));
    for url in [
        format!("http://{address}/jwks"),
        format!("https://{address}/jwks"),
        format!("http://localhost:{}/jwks", address.port()),
    ] {
        let error = open(&url, false).err().unwrap_or_else(|| panic!("{url} is taken")).to_string();
        assert!(error.contains("jwks-internal"), "{error}");
    }
    assert_eq!(published.asked(), 0);
    // A name tells nothing before it is resolved.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    for (internal, connects) in [(false, false), (true, true)] {
        let (auth, _folder) = open(&format!("https://localhost:{port}/jwks"), internal).expect("keys");
        let token = Key::new("one").token();
        tokio::select! {
            // The connection is the first thing that can be seen of a fetch; nobody answers it.
            accepted = listener.accept() => assert!(connects, "{accepted:?}"),
            verified = auth.verify(&token, Role::Subscriber) => {
                assert!(!connects);
                assert_eq!(verified.err(), Some(TokenError::KeysUnavailable));
                assert!(listener.accept().now_or_never().is_none());
            }
        }
    }
}
