//! The hub's own settings: its URL, whose tokens it trusts, and what it allows without one.

use std::path::Path;
use std::time::Duration;

use url::Url;

use super::options::{Issuer, Issuers};
use super::{CorsOrigins, ListenAddress, Options, SettingsError, invalid};
use crate::server::auth::{AuthOptions, IssuerOptions, KeySource};
use crate::wire::paths;

/// Long enough that clients don't notice, short enough that a balancer's new machine gets its share within a day.
const DEFAULT_STREAM_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// What the hub's addresses need to know.
#[derive(Clone, Debug)]
pub struct MercureSettings {
    /// The public URL as it was set, which tokens name as their audience.
    pub resource: Option<String>,
    /// Whether who has no token may subscribe to public updates.
    pub anonymous: bool,
    /// Whether who has no token may publish.
    pub publish_without_token: bool,
    /// Whose pages may publish with a cookie, beside the hub's own.
    pub publish_origins: CorsOrigins,
    /// Whether the older protocol is spoken too.
    pub legacy: bool,
    /// Whether presence is told.
    pub presence: bool,
    /// How long a stream lasts at most.
    pub stream_lifetime: Option<Duration>,
    /// The flag's issuer; `None` for the public URL.
    issuer: Option<String>,
    keys: (KeySource, KeySource),
    issuers: Vec<IssuerOptions>,
}

impl MercureSettings {
    pub(super) fn resolve(options: &Options, listen: &[ListenAddress]) -> Result<Self, SettingsError> {
        if let Some(resource) = &options.resource
            && !is_hub_url(resource)
        {
            // The hub's addresses, its metadata and the ids of subscriptions all begin with the hub's path.
            let hint = format!(
                "must be the hub's public URL, for example https://hub.example.com{0}. The hub answers at {0} alone: \
                 to publish it below another path, give it a host name of its own",
                paths::HUB
            );
            return Err(invalid("resource", resource, hint));
        }
        let file = |path: &Option<std::path::PathBuf>| path.clone().map_or(KeySource::Generated, KeySource::File);
        let (named, tables) = match &options.issuers {
            Issuers::Name(name) => (Some(name.clone()), &[][..]),
            Issuers::Tables(tables) => (None, &tables[..]),
        };
        Ok(Self {
            resource: options.resource.clone(),
            anonymous: options.anonymous.unwrap_or_else(|| options.is_for_this_machine(listen)),
            publish_without_token: options.publish_without_token.unwrap_or(false),
            publish_origins: options.publish_origins.clone().unwrap_or(CorsOrigins::List(Vec::new())),
            legacy: options.legacy.unwrap_or(false),
            presence: options.presence.unwrap_or(true),
            stream_lifetime: Some(options.stream_lifetime.map_or(DEFAULT_STREAM_LIFETIME, |span| span.0))
                .filter(|lifetime| !lifetime.is_zero()),
            issuer: options.issuer.clone().or(named),
            keys: (file(&options.publisher_key_file), file(&options.subscriber_key_file)),
            issuers: tables.iter().map(further).collect::<Result<_, _>>()?,
        })
    }

    /// The hub's public URL, for a server that this machine reaches at `listening`, if it is known where.
    pub fn url(&self, listening: Option<Url>) -> Url {
        let set = self.resource.as_deref().and_then(|resource| Url::parse(resource).ok());
        let mut url = set.or(listening).unwrap_or_else(|| Url::parse("http://localhost/").expect("it is a URL"));
        if url.path() == "/" {
            url.set_path(paths::HUB);
        }
        url
    }

    /// Whose tokens are trusted, by a hub with this URL that has its data in this folder.
    pub fn auth(&self, url: &Url, data: &Path) -> AuthOptions {
        let resource = self.resource.clone().unwrap_or_else(|| url.to_string());
        let (publisher, subscriber) = self.keys.clone();
        let issuer = self.issuer.clone().unwrap_or_else(|| resource.clone());
        let mut issuers = vec![IssuerOptions { issuer, publisher, subscriber }];
        issuers.extend(self.issuers.iter().cloned());
        AuthOptions { resource, issuers, data: data.into(), shared: None, legacy: self.legacy }
    }
}

/// Whether this is a URL of the hub, or of its host alone, and has nothing else in it.
fn is_hub_url(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else { return false };
    let rest = (url.username(), url.password(), url.query(), url.fragment());
    matches!(url.scheme(), "http" | "https") && matches!(url.path(), "/" | paths::HUB) && rest == ("", None, None, None)
}

fn further(table: &Issuer) -> Result<IssuerOptions, SettingsError> {
    let refuse = |hint: &str| Err(invalid("config", format!("[[issuer]] {:?}", table.issuer), hint));
    if let Some(url) = &table.jwks_url {
        if table.publisher_key_file.is_some() || table.subscriber_key_file.is_some() {
            return refuse("has both jwks-url and key files: keep one of them");
        }
        if !matches!(url.scheme(), "http" | "https") {
            return refuse("jwks-url must begin with https://");
        }
        let source = KeySource::Url { url: url.clone(), internal: table.jwks_internal };
        return Ok(IssuerOptions { issuer: table.issuer.clone(), publisher: source.clone(), subscriber: source });
    }
    if table.publisher_key_file.is_none() && table.subscriber_key_file.is_none() {
        return refuse("has no keys: set publisher-key-file, subscriber-key-file or jwks-url");
    }
    let file = |path: &Option<std::path::PathBuf>| path.clone().map_or(KeySource::Nowhere, KeySource::File);
    Ok(IssuerOptions {
        issuer: table.issuer.clone(),
        publisher: file(&table.publisher_key_file),
        subscriber: file(&table.subscriber_key_file),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_url_is_refused_where_the_hub_would_not_answer() {
        let resolve = |resource: &str| Options { resource: Some(resource.into()), ..Options::default() }.resolve();
        for resource in [
            "hub.example",
            "https://hub.example/live/.well-known/mercure",
            "https://hub.example/.well-known/mercure/",
            "https://hub.example/.well-known/mercure?a",
            "https://hub.example/.well-known/mercure#a",
            "https://me@hub.example/.well-known/mercure",
            "ftp://hub.example/.well-known/mercure",
        ] {
            let error = resolve(resource).map(|_| ()).expect_err(resource).to_string();
            assert!(error.contains(&format!("--resource {resource}: must be")), "{error}");
        }
        for resource in
            ["https://hub.example/.well-known/mercure", "http://[::1]:3000/.well-known/mercure", "https://hub.example"]
        {
            resolve(resource).expect("settings");
        }
    }
}
