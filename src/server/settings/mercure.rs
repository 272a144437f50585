//! The hub's own settings: its URL, whose tokens it trusts, and what it allows without one.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use url::Url;

use super::options::{Issuer, Issuers};
use super::{CorsOrigins, Options, SettingsError, invalid};
use crate::server::auth::{AuthOptions, IssuerOptions, KeySource};
use crate::wire::paths;

/// Long enough that clients don't notice, short enough that a balancer's new machine gets its share within a day.
const DEFAULT_STREAM_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// Streams of one client.
const DEFAULT_MAX_STREAMS: usize = 10_000;

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
    /// Most streams of one client; `None` for no limit.
    pub max_streams: Option<usize>,
    /// The flag's issuer; `None` for the public URL.
    issuer: Option<String>,
    keys: (KeySource, KeySource),
    issuers: Vec<IssuerOptions>,
}

impl MercureSettings {
    pub(super) fn resolve(options: &Options, listen: &[SocketAddr]) -> Result<Self, SettingsError> {
        if let Some(resource) = &options.resource {
            let hint = "must be the hub's public URL, for example https://hub.example.com/.well-known/mercure";
            Url::parse(resource)
                .ok()
                .filter(|url| matches!(url.scheme(), "http" | "https"))
                .ok_or_else(|| invalid("resource", resource, hint))?;
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
            max_streams: Some(options.max_streams.unwrap_or(DEFAULT_MAX_STREAMS)).filter(|&count| count > 0),
            issuer: options.issuer.clone().or(named),
            keys: (file(&options.publisher_key_file), file(&options.subscriber_key_file)),
            issuers: tables.iter().map(further).collect::<Result<_, _>>()?,
        })
    }

    /// The hub's public URL, for a server that listens on `address`.
    pub fn url(&self, address: SocketAddr) -> Url {
        let set = self.resource.as_deref().and_then(|resource| Url::parse(resource).ok());
        let mut url = set.unwrap_or_else(|| listening(address));
        if url.path() == "/" {
            url.set_path(paths::HUB);
        }
        url
    }

    /// Whose tokens are trusted, by a server that listens on `address` and has its data in this folder.
    pub fn auth(&self, address: SocketAddr, data: &Path) -> AuthOptions {
        let resource = self.resource.clone().unwrap_or_else(|| self.url(address).into());
        let (publisher, subscriber) = self.keys.clone();
        let issuer = self.issuer.clone().unwrap_or_else(|| resource.clone());
        let mut issuers = vec![IssuerOptions { issuer, publisher, subscriber }];
        issuers.extend(self.issuers.iter().cloned());
        AuthOptions { resource, issuers, data: data.into(), legacy: self.legacy }
    }
}

/// How this machine reaches a server that listens on `address`.
fn listening(address: SocketAddr) -> Url {
    let host = if address.ip().is_unspecified() { "localhost".into() } else { address.ip().to_string() };
    let host = if address.is_ipv6() && host.contains(':') { format!("[{host}]") } else { host };
    Url::parse(&format!("http://{host}:{}/", address.port())).expect("an address makes a URL")
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
