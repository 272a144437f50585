//! A hub of its own for each test, and the verbs to speak to it.

use reqwest::{Method, RequestBuilder};
use tidings::server::settings::Options;
use tidings::wire::paths;

use crate::answer::Answer;
use crate::app::{App, Ask, FORM};
use crate::listener::Listener;
use crate::token::{Claims, ISSUER, PUBLISHER_SECRET, RESOURCE, SUBSCRIBER_SECRET, exact, key_file};

/// A running hub that trusts the tests' issuer. Anonymous subscribers are welcome.
pub(crate) struct Hub {
    pub(crate) app: App,
    publisher: String,
}

impl Hub {
    pub(crate) async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    pub(crate) async fn start_with(options: Options) -> Self {
        let options = Options {
            issuer: options.issuer.or(Some(ISSUER.into())),
            resource: options.resource.or(Some(RESOURCE.into())),
            anonymous: options.anonymous.or(Some(true)),
            publisher_key_file: options.publisher_key_file.or_else(|| Some(key_file("publisher", PUBLISHER_SECRET))),
            subscriber_key_file: options
                .subscriber_key_file
                .or_else(|| Some(key_file("subscriber", SUBSCRIBER_SECRET))),
            ..options
        };
        Self { app: App::start_with(options).await, publisher: Claims::new().publish(&[exact("*")]).publisher() }
    }

    /// A request to an address of the hub.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.app.request(method, path)
    }

    /// A publish of this form, by whoever the request is from.
    pub(crate) fn post(&self, fields: &[(&str, &str)]) -> RequestBuilder {
        let body = encode(fields);
        self.request(Method::POST, paths::HUB).header("content-type", FORM).body(body)
    }

    /// Publishes this form with a token that may publish everything.
    pub(crate) async fn publish(&self, fields: &[(&str, &str)]) -> Answer {
        self.post(fields).bearer_auth(&self.publisher).answer().await
    }

    /// Publishes an update, which must be taken; answers its id.
    pub(crate) async fn update(&self, topic: &str, data: &str) -> String {
        self.publish(&[("topic", topic), ("data", data)]).await.assert_status(200).body.clone()
    }

    /// Publishes a private update, which must be taken; answers its id.
    pub(crate) async fn private(&self, topic: &str, data: &str) -> String {
        self.publish(&[("topic", topic), ("data", data), ("private", "on")]).await.assert_status(200).body.clone()
    }

    /// The token that may publish everything.
    pub(crate) fn publisher(&self) -> &str {
        &self.publisher
    }

    /// A request for a stream with these parameters.
    pub(crate) fn stream(&self, parameters: &[(&str, &str)]) -> RequestBuilder {
        self.request(Method::GET, &format!("{}?{}", paths::HUB, encode(parameters)))
    }

    /// Opens a stream without a token.
    pub(crate) async fn subscribe(&self, parameters: &[(&str, &str)]) -> Listener {
        self.stream(parameters).open().await
    }

    /// Opens a stream with a token.
    pub(crate) async fn subscribe_as(&self, token: &str, parameters: &[(&str, &str)]) -> Listener {
        self.stream(parameters).bearer_auth(token).open().await
    }

    /// Asks for an address of the hub with a token.
    pub(crate) async fn get_as(&self, token: &str, path: &str) -> Answer {
        self.request(Method::GET, path).bearer_auth(token).answer().await
    }

    /// Stops the hub and starts it again with the same data.
    pub(crate) async fn restart(self) -> Self {
        Self { app: self.app.restart().await, publisher: self.publisher }
    }
}

/// Pairs as a query or a form has them.
pub(crate) fn encode(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// The challenge of an answer, which must have one.
#[track_caller]
pub(crate) fn challenge(answer: &Answer) -> String {
    let challenge = answer.header("www-authenticate");
    assert!(challenge.starts_with("Bearer"), "{answer:?}");
    challenge
}
