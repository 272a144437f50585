//! How a JWKS document is fetched: over HTTPS, without detours, from public addresses unless told otherwise.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{ACCEPT, CACHE_CONTROL};
use reqwest::{Client, StatusCode, redirect};
use serde_json::Value;
use thiserror::Error;
use url::{Host, Url};

use super::address::{PublicAddresses, is_global};
use super::jwk;
use super::key::Key;
use super::key_error::KeyError;

/// For all of it: the name, the connection, the document.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of the document.
const MAX_DOCUMENT: usize = 256 * 1024;

/// How long keys are fresh: where the answer doesn't say, at least, and at most.
const DEFAULT_FRESH: Duration = Duration::from_secs(3600);
const LEAST_FRESH: Duration = Duration::from_secs(5 * 60);
const MOST_FRESH: Duration = Duration::from_secs(24 * 3600);

/// The keys of a document, and how long they are fresh.
pub(super) struct Fetched {
    pub(super) keys: Vec<Key>,
    pub(super) fresh: Duration,
}

/// Why keys could not be fetched.
#[derive(Debug, Error)]
pub(super) enum FetchError {
    /// The request failed; the cause stands last.
    #[error("{0}")]
    Request(String),
    #[error("it answered {0}, not 200")]
    Status(StatusCode),
    #[error("its answer is larger than {MAX_DOCUMENT} bytes")]
    TooLarge,
    #[error("its answer is no JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Keys(#[from] KeyError),
}

/// Where keys are fetched from.
#[async_trait]
pub(super) trait Fetch: Send + Sync {
    async fn fetch(&self) -> Result<Fetched, FetchError>;
}

/// A JWKS document at an address.
pub(super) struct Document {
    url: Url,
    client: Client,
}

impl Document {
    /// Refuses addresses that may not be fetched from, as far as they can be told without a resolver.
    pub(super) fn new(url: Url, internal: bool) -> Result<Self, String> {
        if !internal {
            check(&url)?;
        }
        let client = Client::builder()
            .timeout(TIMEOUT)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .https_only(!internal)
            // Each fetch resolves the name anew, and so checks it.
            .pool_max_idle_per_host(0)
            .user_agent(concat!("tidings/", env!("CARGO_PKG_VERSION")));
        let client = if internal { client } else { client.dns_resolver(Arc::new(PublicAddresses)) };
        let client = client.build().map_err(|error| format!("no HTTPS client could be made: {error}"))?;
        Ok(Self { url, client })
    }
}

/// An address in the URL itself is never resolved, so it is checked here.
fn check(url: &Url) -> Result<(), String> {
    if url.scheme() != "https" {
        return Err("it must begin with https://, unless it is an internal one (jwks-internal = true)".into());
    }
    let address = match url.host() {
        Some(Host::Ipv4(address)) => Some(address.into()),
        Some(Host::Ipv6(address)) => Some(address.into()),
        Some(Host::Domain(_)) | None => None,
    };
    match address {
        Some(address) if !is_global(address) => {
            Err("it is no public address: if it is meant to be an internal one, set jwks-internal = true".into())
        }
        _ => Ok(()),
    }
}

#[async_trait]
impl Fetch for Document {
    async fn fetch(&self) -> Result<Fetched, FetchError> {
        let request = self.client.get(self.url.clone()).header(ACCEPT, "application/jwk-set+json, application/json");
        let mut response = request.send().await.map_err(explain)?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let headers = response.headers().get_all(CACHE_CONTROL).iter();
        let directives: Vec<_> = headers.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect();
        let mut document = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(explain)? {
            if document.len() + chunk.len() > MAX_DOCUMENT {
                return Err(FetchError::TooLarge);
            }
            document.extend_from_slice(&chunk);
        }
        let document: Value = serde_json::from_slice(&document)?;
        Ok(Fetched { keys: jwk::read_published(document)?, fresh: fresh(&directives.join(",")) })
    }
}

/// How long an answer with this `Cache-Control` is fresh.
fn fresh(directives: &str) -> Duration {
    let mut fresh = DEFAULT_FRESH;
    for directive in directives.split(',') {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "no-store" | "no-cache" => return LEAST_FRESH,
            "max-age" => {
                let seconds = value.trim().trim_matches('"').parse().map(Duration::from_secs);
                fresh = seconds.unwrap_or(DEFAULT_FRESH);
            }
            _ => {}
        }
    }
    fresh.clamp(LEAST_FRESH, MOST_FRESH)
}

/// What failed, down to its cause, without the address: whoever logs it names that.
fn explain(error: reqwest::Error) -> FetchError {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    FetchError::Request(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_fresh_for_as_long_as_the_answer_says_within_bounds() {
        for (header, seconds) in [
            ("", 3600),
            ("public", 3600),
            ("max-age=600", 600),
            ("public, MAX-AGE=600, must-revalidate", 600),
            ("max-age=\"600\"", 600),
            ("max-age=soon", 3600),
            ("max-age=0", 300),
            ("no-store", 300),
            ("no-cache, max-age=7200", 300),
            ("max-age=31536000", 86400),
            ("s-maxage=600", 3600),
        ] {
            assert_eq!(fresh(header), Duration::from_secs(seconds), "{header}");
        }
    }

    #[test]
    fn an_address_that_is_not_public_or_not_https_is_refused_unless_it_may_be_internal() {
        for url in [
            "http://keys.example/jwks",
            "https://127.0.0.1/jwks",
            "https://0x7f.1/jwks",
            "https://2130706433/jwks",
            "https://[::1]/jwks",
            "https://[::ffff:10.0.0.1]/jwks",
            "https://169.254.169.254/latest/meta-data",
        ] {
            let url = Url::parse(url).expect(url);
            let error = Document::new(url.clone(), false).err().unwrap_or_else(|| panic!("{url} is taken"));
            assert!(error.contains("jwks-internal"), "{url}: {error}");
            assert!(Document::new(url.clone(), true).is_ok(), "{url}");
        }
        assert!(Document::new(Url::parse("https://8.8.8.8/jwks").expect("a URL"), false).is_ok());
    }
}
