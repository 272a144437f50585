//! Tokens for the tests: right ones, and wrong in one point each.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The issuer that the hub of the tests trusts, and what it calls itself.
pub(crate) const ISSUER: &str = "https://issuer.example";
pub(crate) const RESOURCE: &str = "https://hub.example/.well-known/mercure";
pub(crate) const DETAIL: &str = "https://mercure.rocks/authorization-detail";

pub(crate) const PUBLISHER_SECRET: &str = "the secret that the publishers' tokens are signed with";
pub(crate) const SUBSCRIBER_SECRET: &str = "the secret that the subscribers' tokens are signed with";

/// A file with this content, kept until the tests end.
pub(crate) fn key_file(name: &str, content: &str) -> PathBuf {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| tempfile::tempdir().expect("a folder")).path();
    // Tests run at the same time: none may see a file that another has half written.
    let draft = tempfile::NamedTempFile::new_in(folder).expect("a file");
    std::fs::write(draft.path(), content).expect("a key file");
    let path = folder.join(name);
    draft.persist(&path).expect("a key file");
    path
}

/// Seconds since 1970, moved by `by`.
pub(crate) fn now(by: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
    i64::try_from(now).expect("this century") + by
}

/// A token to be signed.
#[derive(Clone)]
pub(crate) struct Claims {
    pub(crate) header: Value,
    pub(crate) claims: Value,
}

impl Claims {
    /// Right in everything, and without rights.
    pub(crate) fn new() -> Self {
        let claims = json!({
            "iss": ISSUER, "aud": RESOURCE, "sub": "somebody", "client_id": "tests", "jti": uuid::Uuid::new_v4().to_string(),
            "iat": now(0), "exp": now(600), "authorization_details": [],
        });
        Self { header: json!({ "alg": "HS256", "typ": "at+jwt" }), claims }
    }

    /// Another value of a claim; `Value::Null` takes it away.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        set(&mut self.claims, name, value.into());
        self
    }

    /// Another value in the header; `Value::Null` takes it away.
    pub(crate) fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        set(&mut self.header, name, value.into());
        self
    }

    /// With one more authorization detail.
    pub(crate) fn detail(mut self, detail: Value) -> Self {
        self.claims["authorization_details"].as_array_mut().expect("details").push(detail);
        self
    }

    /// With the right to publish on what these match.
    pub(crate) fn publish(self, topics: &[Value]) -> Self {
        self.detail(json!({ "type": DETAIL, "actions": ["publish"], "topics": topics }))
    }

    /// With the right to subscribe to what these match.
    pub(crate) fn subscribe(self, topics: &[Value]) -> Self {
        self.detail(json!({ "type": DETAIL, "actions": ["subscribe"], "topics": topics }))
    }

    /// As a publisher's token.
    pub(crate) fn publisher(&self) -> String {
        self.sign(PUBLISHER_SECRET)
    }

    /// As a subscriber's token.
    pub(crate) fn subscriber(&self) -> String {
        self.sign(SUBSCRIBER_SECRET)
    }

    pub(crate) fn sign(&self, secret: &str) -> String {
        self.sign_with(&EncodingKey::from_secret(secret.as_bytes()), Algorithm::HS256)
    }

    /// Signed with this key. The header says what it was told to say.
    pub(crate) fn sign_with(&self, key: &EncodingKey, algorithm: Algorithm) -> String {
        use base64::Engine;
        let encoded = |value: &Value| base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encoded(&self.header), encoded(&self.claims));
        let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), key, algorithm).expect("a signature");
        // The library's own encoder agrees on a plain token, so this is how tokens are made.
        debug_assert!(encode(&Header::new(algorithm), &self.claims, key).is_ok());
        format!("{signed}.{signature}")
    }
}

/// A matcher of a token that matches a topic byte for byte.
pub(crate) fn exact(topic: &str) -> Value {
    json!({ "match": topic })
}

/// A matcher of a token that is a URL pattern.
pub(crate) fn pattern(pattern: &str) -> Value {
    json!({ "match": pattern, "match_type": "urlpattern" })
}

fn set(object: &mut Value, name: &str, value: Value) {
    let object = object.as_object_mut().expect("an object");
    match value {
        Value::Null => drop(object.remove(name)),
        value => drop(object.insert(name.into(), value)),
    }
}
