//! All options: as a flag, in the environment or in the file, and which takes precedence.

use std::fs;
use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use clap::Args;
use serde::Deserialize;
use url::Url;

use super::values::{each, list};
use super::{
    AcmeChallengeKind, CorsOrigins, DurabilityKind, ListenAddress, LogFormat, ProxyHeaderKind, SettingsError, Span,
    StorageKind,
};
use crate::server::net::TrustedProxies;

/// All options. Each may be missing.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Options {
    /// Read settings from this TOML file, named as the flags are
    #[arg(long, env = "TIDINGS_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,

    /// Where to listen: HOST:PORT, where port 0 takes a free one; unix:PATH; or systemd for the sockets of its socket unit.
    /// Several with commas between them. Where there is TLS, http:// before one of them serves clear text there [default:
    /// 127.0.0.1:3000]
    #[arg(long, env = "TIDINGS_LISTEN", value_name = "ADDRESSES", value_delimiter = ',')]
    #[serde(deserialize_with = "each")]
    pub listen: Vec<ListenAddress>,

    /// Folder for the server's data, created if it is missing [default: ./data]
    #[arg(long, env = "TIDINGS_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,

    /// Join a cluster whose log is a NATS JetStream stream: URLs of its NATS servers with commas between them, nats://HOST:PORT or
    /// tls://HOST:PORT [default: none]
    #[arg(long, env = "TIDINGS_CLUSTER", value_name = "URLS", value_delimiter = ',', help_heading = "Cluster")]
    #[serde(deserialize_with = "each")]
    pub cluster: Vec<String>,

    /// File with a secret of 32 characters or more, the same on all nodes
    #[arg(long, env = "TIDINGS_CLUSTER_SECRET_FILE", value_name = "FILE", help_heading = "Cluster")]
    pub cluster_secret_file: Option<PathBuf>,

    /// Name of the stream, which the first node creates [default: tidings]
    #[arg(long, env = "TIDINGS_CLUSTER_STREAM", value_name = "NAME", help_heading = "Cluster")]
    pub cluster_stream: Option<String>,

    /// Number of NATS servers that store the stream, if this node creates it: 1, 3 or 5 [default: 3]
    #[arg(long, env = "TIDINGS_CLUSTER_REPLICAS", value_name = "COUNT", help_heading = "Cluster")]
    pub cluster_replicas: Option<usize>,

    /// Name of this node, unique in the cluster [default: the host name]
    #[arg(long, env = "TIDINGS_CLUSTER_NODE", value_name = "NAME", help_heading = "Cluster")]
    pub cluster_node: Option<String>,

    /// NATS credentials file (.creds)
    #[arg(long, env = "TIDINGS_CLUSTER_CREDENTIALS_FILE", value_name = "FILE", help_heading = "Cluster")]
    pub cluster_credentials_file: Option<PathBuf>,

    /// NATS user name
    #[arg(long, env = "TIDINGS_CLUSTER_USER", value_name = "NAME", help_heading = "Cluster")]
    pub cluster_user: Option<String>,

    /// File with the NATS user's password
    #[arg(long, env = "TIDINGS_CLUSTER_PASSWORD_FILE", value_name = "FILE", help_heading = "Cluster")]
    pub cluster_password_file: Option<PathBuf>,

    /// File with a NATS token
    #[arg(long, env = "TIDINGS_CLUSTER_TOKEN_FILE", value_name = "FILE", help_heading = "Cluster")]
    pub cluster_token_file: Option<PathBuf>,

    /// PEM file with CA certificates for the NATS servers, besides the system's
    #[arg(long, env = "TIDINGS_CLUSTER_CA_FILE", value_name = "FILE", help_heading = "Cluster")]
    pub cluster_ca_file: Option<PathBuf>,

    /// PEM file with this node's client certificate for NATS
    #[arg(long, env = "TIDINGS_CLUSTER_CERTIFICATE_FILE", value_name = "FILE", help_heading = "Cluster")]
    pub cluster_certificate_file: Option<PathBuf>,

    /// PEM file with the client certificate's key
    #[arg(long, env = "TIDINGS_CLUSTER_KEY_FILE", value_name = "FILE", help_heading = "Cluster")]
    pub cluster_key_file: Option<PathBuf>,

    /// File with the certificate and those that lead to its authority, in PEM; several with commas between them, of which
    /// each client gets the one for the name it asks for
    #[arg(
        long,
        env = "TIDINGS_TLS_CERTIFICATE_FILE",
        value_name = "FILES",
        value_delimiter = ',',
        help_heading = "TLS"
    )]
    #[serde(deserialize_with = "each")]
    pub tls_certificate_file: Vec<PathBuf>,

    /// File with the certificate's key, in PEM; several in the order of their certificates
    #[arg(long, env = "TIDINGS_TLS_KEY_FILE", value_name = "FILES", value_delimiter = ',', help_heading = "TLS")]
    #[serde(deserialize_with = "each")]
    pub tls_key_file: Vec<PathBuf>,

    /// Make a certificate for localhost, for a try on this machine: browsers have to be told to trust it [default: false]
    #[arg(long, env = "TIDINGS_TLS_SELF_SIGNED", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", help_heading = "TLS")]
    pub tls_self_signed: Option<bool>,

    /// Order certificates for these names from an authority that speaks ACME, and renew them; several with commas between
    /// them. It means that you accept the authority's terms
    #[arg(long, env = "TIDINGS_ACME_DOMAINS", value_name = "NAMES", value_delimiter = ',', help_heading = "TLS")]
    #[serde(deserialize_with = "each")]
    pub acme_domains: Vec<String>,

    /// Mail addresses to which the authority may write, with commas between them
    #[arg(long, env = "TIDINGS_ACME_CONTACT", value_name = "ADDRESSES", value_delimiter = ',', help_heading = "TLS")]
    #[serde(deserialize_with = "each")]
    pub acme_contact: Vec<String>,

    /// The authority: letsencrypt, letsencrypt-staging for tries, or the URL of another one's directory [default:
    /// letsencrypt]
    #[arg(long, env = "TIDINGS_ACME_DIRECTORY", value_name = "AUTHORITY", help_heading = "TLS")]
    pub acme_directory: Option<String>,

    /// How it is proved that the names lead here [default: tls-alpn-01]
    #[arg(long, env = "TIDINGS_ACME_CHALLENGE", value_name = "CHALLENGE", help_heading = "TLS")]
    pub acme_challenge: Option<AcmeChallengeKind>,

    /// File with the certificate by which a private authority's own server is known, in PEM
    #[arg(long, env = "TIDINGS_ACME_ROOT_FILE", value_name = "FILE", help_heading = "TLS")]
    pub acme_root_file: Option<PathBuf>,

    /// Lead clients from addresses in clear text to TLS, instead of serving them there [default: true]
    #[arg(long, env = "TIDINGS_REDIRECT_HTTP", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", help_heading = "TLS")]
    pub redirect_http: Option<bool>,

    /// Where to serve metrics for Prometheus at /metrics, with /livez and /readyz: HOST:PORT or unix:PATH, for operators
    /// alone [default: nowhere]
    #[arg(
        long,
        env = "TIDINGS_METRICS_LISTEN",
        value_name = "ADDRESSES",
        value_delimiter = ',',
        help_heading = "Operation"
    )]
    #[serde(deserialize_with = "each")]
    pub metrics_listen: Vec<ListenAddress>,

    /// Serve /metrics beside everything else, to everybody who can connect [default: false]
    #[arg(long, env = "TIDINGS_METRICS", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", help_heading = "Operation")]
    pub metrics: Option<bool>,

    /// Export traces to this OTLP endpoint, over HTTP with protobuf, for example http://127.0.0.1:4318: from each publish to
    /// its deliveries [default: nowhere]
    #[arg(long, env = "TIDINGS_OTLP_ENDPOINT", value_name = "URL", help_heading = "Operation")]
    pub otlp_endpoint: Option<String>,

    /// Share of publishes that begin a trace, from 0 to 1, of those without a traceparent: one with it is traced if that says
    /// so [default: 1]
    #[arg(long, env = "TIDINGS_OTLP_SAMPLE", value_name = "RATIO", help_heading = "Operation")]
    pub otlp_sample: Option<f64>,

    /// File with headers for the OTLP endpoint, such as a key: `Name: value` in each line
    #[arg(long, env = "TIDINGS_OTLP_HEADERS_FILE", value_name = "FILE", help_heading = "Operation")]
    pub otlp_headers_file: Option<PathBuf>,

    /// How long to go on as before at a stop, though /readyz says that the server isn't ready: for balancers, which take
    /// their time to notice [default: 0s]
    #[arg(long, env = "TIDINGS_DRAIN_DELAY", value_name = "DURATION", help_heading = "Operation")]
    pub drain_delay: Option<Span>,

    /// Over how long thousands of streams end at a stop, so that their clients don't all come back at once [default: 3s]
    #[arg(long, env = "TIDINGS_DRAIN_TIME", value_name = "DURATION", help_heading = "Operation")]
    pub drain_time: Option<Span>,

    /// Where updates are kept [default: disk]
    #[arg(long, env = "TIDINGS_STORAGE", value_name = "STORAGE", help_heading = "Log")]
    pub storage: Option<StorageKind>,

    /// When an update is durable, so that its publish is answered [default: fsync]
    #[arg(long, env = "TIDINGS_DURABILITY", value_name = "DURABILITY", help_heading = "Log")]
    pub durability: Option<DurabilityKind>,

    /// How long updates are kept; 0s for no limit [default: 7days]
    #[arg(long, env = "TIDINGS_KEEP_AGE", value_name = "DURATION", help_heading = "Log")]
    pub keep_age: Option<Span>,

    /// Maximum number of updates kept; 0 for no limit [default: 1000000]
    #[arg(long, env = "TIDINGS_KEEP_COUNT", value_name = "COUNT", help_heading = "Log")]
    pub keep_count: Option<u64>,

    /// Maximum size of all updates kept; 0 for no limit [default: 1GiB]
    #[arg(long, env = "TIDINGS_KEEP_BYTES", value_name = "SIZE", help_heading = "Log")]
    pub keep_bytes: Option<ByteSize>,

    /// Limits for each topic that matches a pattern: only in the file, as `[[keep]]` tables
    #[arg(skip)]
    pub keep: Vec<KeepTopic>,

    /// The hub's public URL: the audience of tokens, and the base of relative topics [default: the address it listens
    /// on]
    #[arg(long, env = "TIDINGS_RESOURCE", value_name = "URL", help_heading = "Tokens")]
    pub resource: Option<String>,

    /// Issuer of trusted tokens: their `iss` [default: the hub's public URL]
    #[arg(long, env = "TIDINGS_ISSUER", value_name = "ISSUER", help_heading = "Tokens")]
    #[serde(skip)]
    pub issuer: Option<String>,

    /// File with the key of publishers' tokens: PEM, JWK, JWKS or a secret in one line [default: a key generated in the data
    /// folder]
    #[arg(long, env = "TIDINGS_PUBLISHER_KEY_FILE", value_name = "FILE", help_heading = "Tokens")]
    pub publisher_key_file: Option<PathBuf>,

    /// File with the key of subscribers' tokens: PEM, JWK, JWKS or a secret in one line [default: a key generated in the data
    /// folder]
    #[arg(long, env = "TIDINGS_SUBSCRIBER_KEY_FILE", value_name = "FILE", help_heading = "Tokens")]
    pub subscriber_key_file: Option<PathBuf>,

    /// The issuers in the file
    #[arg(skip)]
    #[serde(rename = "issuer")]
    pub issuers: Issuers,

    /// Allow anonymous subscriptions to public updates [default: true if only this machine can connect and no public URL or
    /// trusted proxy is set]
    #[arg(long, env = "TIDINGS_ANONYMOUS", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", help_heading = "Tokens")]
    pub anonymous: Option<bool>,

    /// Allow everybody who can connect to publish on every topic, without a token [default: false]
    #[arg(long, env = "TIDINGS_PUBLISH_WITHOUT_TOKEN", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", help_heading = "Tokens")]
    pub publish_without_token: Option<bool>,

    /// Origins whose pages may publish, with a cookie or messages of the demo, comma-separated; * for all [default: the
    /// hub's own]
    #[arg(long, env = "TIDINGS_PUBLISH_ORIGINS", value_name = "ORIGINS", help_heading = "Tokens")]
    #[serde(deserialize_with = "list")]
    pub publish_origins: Option<CorsOrigins>,

    /// Also support the legacy protocol, Mercure 0.x: topics as URI templates, its tokens and its cookie [default: false]
    #[arg(long, env = "TIDINGS_LEGACY", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", help_heading = "Tokens")]
    pub legacy: Option<bool>,

    /// Publish presence: an event for each subscription that begins or ends [default: true]
    #[arg(long, env = "TIDINGS_PRESENCE", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", help_heading = "Streams")]
    pub presence: Option<bool>,

    /// Maximum lifetime of a stream, after which its client reconnects; 0s for no limit [default: 1day]
    #[arg(long, env = "TIDINGS_STREAM_LIFETIME", value_name = "DURATION", help_heading = "Streams")]
    pub stream_lifetime: Option<Span>,

    /// Origins whose pages may read from this server, comma-separated; * for all [default: *]
    #[arg(long, env = "TIDINGS_CORS_ORIGINS", value_name = "ORIGINS", help_heading = "Streams")]
    #[serde(deserialize_with = "list")]
    pub cors_origins: Option<CorsOrigins>,

    /// Send a comment on a stream after this much silence, so that proxies keep it open [default: 15s]
    #[arg(long, env = "TIDINGS_HEARTBEAT", value_name = "DURATION", help_heading = "Streams")]
    pub heartbeat: Option<Span>,

    /// Disconnect a client that reads nothing for this long while data waits for it [default: 30s]
    #[arg(long, env = "TIDINGS_STALL_TIMEOUT", value_name = "DURATION", help_heading = "Streams")]
    pub stall_timeout: Option<Span>,

    /// Answer a browser's EventSource 200 with a time after which it comes back, where others get 429 or 503: it would never
    /// come back from these [default: true]
    #[arg(long, env = "TIDINGS_SOFT_REFUSALS", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", help_heading = "Streams")]
    pub soft_refusals: Option<bool>,

    /// How much of the log is held in memory for one client that has fallen behind [default: 64KiB]
    #[arg(long, env = "TIDINGS_READER_BUFFER", value_name = "SIZE", help_heading = "Streams")]
    pub reader_buffer: Option<ByteSize>,

    /// Over how many tasks the streams are spread that are written to at once [default: the number of cores]
    #[arg(long, env = "TIDINGS_SHARDS", value_name = "COUNT", help_heading = "Streams")]
    pub shards: Option<usize>,

    /// Serve the demo: the page, its messages and its streams [default: true if only this machine can connect and
    /// no public URL or trusted proxy is set]
    #[arg(long, env = "TIDINGS_DEMO", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", help_heading = "Demo")]
    pub demo: Option<bool>,

    /// How many times a burst sends its message [default: 3]
    #[arg(long, env = "TIDINGS_BURST_REPEAT", value_name = "COUNT", help_heading = "Demo")]
    pub burst_repeat: Option<u32>,

    /// Time between two events of a burst [default: 1s]
    #[arg(long, env = "TIDINGS_BURST_INTERVAL", value_name = "DURATION", help_heading = "Demo")]
    pub burst_interval: Option<Span>,

    /// Longest message, in bytes of UTF-8 [default: 4096]
    #[arg(long, env = "TIDINGS_MAX_MESSAGE", value_name = "BYTES", help_heading = "Demo")]
    pub max_message: Option<usize>,

    /// Updates per second from one address without a token, with bursts of four times as many; 0 for no limit [default: 50]
    #[arg(long, env = "TIDINGS_RATE_LIMIT", value_name = "COUNT", help_heading = "Limits")]
    pub rate_limit: Option<u32>,

    /// Updates per second of one token's subject, with bursts of four times as many; 0 for no limit [default: 20000]
    #[arg(long, env = "TIDINGS_TOKEN_RATE_LIMIT", value_name = "COUNT", help_heading = "Limits")]
    pub token_rate_limit: Option<u32>,

    /// New subscriptions per second from one client (a token's subject, or an address), one for each matcher of a stream, with
    /// bursts of 20 times as many; 0 for no limit [default: 1000]
    #[arg(long, env = "TIDINGS_SUBSCRIPTION_RATE_LIMIT", value_name = "COUNT", help_heading = "Limits")]
    pub subscription_rate_limit: Option<u32>,

    /// New patterns per second from one client, which no other stream uses, with bursts of five times as many; from all clients
    /// together five times as many; 0 for no limit [default: 200]
    #[arg(long, env = "TIDINGS_PATTERN_RATE_LIMIT", value_name = "COUNT", help_heading = "Limits")]
    pub pattern_rate_limit: Option<u32>,

    /// Connections per second from one address, or one /64 network of IPv6, with bursts of 20 times as many; further ones
    /// are answered 429; 0 for no limit. Trusted proxies have none [default: 1000]
    #[arg(long, env = "TIDINGS_CONNECTION_RATE_LIMIT", value_name = "COUNT", help_heading = "Limits")]
    pub connection_rate_limit: Option<u32>,

    /// Longest request body, in bytes [default: 1048576]
    #[arg(long, env = "TIDINGS_MAX_BODY", value_name = "BYTES", help_heading = "Limits")]
    pub max_body: Option<usize>,

    /// Addresses and networks of proxies that say for whom they forward, with commas between them [default: none]
    #[arg(long, env = "TIDINGS_TRUSTED_PROXIES", value_name = "NETWORKS", help_heading = "Limits")]
    #[serde(deserialize_with = "list")]
    pub trusted_proxies: Option<TrustedProxies>,

    /// Connections of trusted proxies begin with a header of the PROXY protocol, version 1 or 2, which says for whom they
    /// are: for proxies that pass on bytes [default: false]
    #[arg(long, env = "TIDINGS_PROXY_PROTOCOL", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", help_heading = "Limits")]
    pub proxy_protocol: Option<bool>,

    /// The header in which trusted proxies say for whom they forward: one that they always write themselves [default:
    /// x-forwarded-for]
    #[arg(long, env = "TIDINGS_PROXY_HEADER", value_name = "HEADER", help_heading = "Limits")]
    pub proxy_header: Option<ProxyHeaderKind>,

    /// Maximum number of connections; further ones are answered 503 [default: 50000]
    #[arg(long, env = "TIDINGS_MAX_CONNECTIONS", value_name = "COUNT", help_heading = "Limits")]
    pub max_connections: Option<usize>,

    /// Maximum number of connections from one address, or one /64 network of IPv6; further ones are answered 429; 0 for no
    /// limit. Trusted proxies have none [default: 10000]
    #[arg(long, env = "TIDINGS_MAX_CONNECTIONS_PER_CLIENT", value_name = "COUNT", help_heading = "Limits")]
    pub max_connections_per_client: Option<u32>,

    /// Maximum number of open hub streams per client: a token's subject, or an address; 0 for no limit [default: 10000]
    #[arg(long, env = "TIDINGS_MAX_STREAMS", value_name = "COUNT", help_heading = "Limits")]
    pub max_streams: Option<usize>,

    /// Maximum number of streams that are compressed with gzip, for clients that accept it; each takes some 230 KiB of
    /// memory. Secrets should not be on a compressed stream beside what strangers publish: its size tells of them
    /// [default: 0]
    #[arg(long, env = "TIDINGS_MAX_COMPRESSED_STREAMS", value_name = "COUNT", help_heading = "Limits")]
    pub max_compressed_streams: Option<usize>,

    /// Maximum number of matchers of one stream [default: 100]
    #[arg(long, env = "TIDINGS_MAX_MATCHERS", value_name = "COUNT", help_heading = "Limits")]
    pub max_matchers: Option<usize>,

    /// Maximum number of requests at once, streams among them, over one HTTP/2 connection [default: 250]
    #[arg(long, env = "TIDINGS_MAX_HTTP2_STREAMS", value_name = "COUNT", help_heading = "Limits")]
    pub max_http2_streams: Option<u32>,

    /// Log each request: its method and path, who has sent it, and how it was answered [default: false]
    #[arg(long, env = "TIDINGS_ACCESS_LOG", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub access_log: Option<bool>,

    /// What to log: error, warn, info, debug, trace, or a filter like tidings=debug,info [default: info]
    #[arg(long, env = "TIDINGS_LOG_LEVEL", value_name = "LEVEL")]
    pub log_level: Option<String>,

    /// How to log [default: human on a terminal, json otherwise]
    #[arg(long, env = "TIDINGS_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// Limits for each topic that matches a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeepTopic {
    /// A topic, or a prefix of topics followed by `*`.
    pub topic: String,
    /// How long its updates are kept.
    pub age: Option<Span>,
    /// Maximum number of updates.
    pub count: Option<u64>,
    /// Maximum size of its updates.
    pub bytes: Option<ByteSize>,
}

/// The issuers in the file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Issuers {
    /// `issuer = "…"`: the flag's value.
    Name(String),
    /// `[[issuer]]`: trusted besides the flag's issuer, each with its own keys.
    Tables(Vec<Issuer>),
}

impl Default for Issuers {
    fn default() -> Self {
        Self::Tables(Vec::new())
    }
}

/// An additional trusted issuer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Issuer {
    /// The `iss` of its tokens.
    pub issuer: String,
    /// File with the key of its publishers' tokens.
    pub publisher_key_file: Option<PathBuf>,
    /// File with the key of its subscribers' tokens.
    pub subscriber_key_file: Option<PathBuf>,
    /// The address of a JWKS document with the keys of both.
    pub jwks_url: Option<Url>,
    /// Whether that address may be in an internal network.
    #[serde(default)]
    pub jwks_internal: bool,
}

impl Options {
    /// Whether only this machine can reach a server that listens on these addresses. With a public URL or a proxy that it
    /// trusts it may stand behind one on the same machine, through which the whole internet comes from a loopback address.
    pub(super) fn is_for_this_machine(&self, listen: &[ListenAddress]) -> bool {
        self.resource.is_none()
            && self.trusted_proxies.is_none()
            && listen.iter().all(ListenAddress::is_for_this_machine)
    }

    /// These options, filled in from the file that they name.
    pub(super) fn with_file(self) -> Result<Self, SettingsError> {
        Ok(match &self.config {
            Some(path) => {
                let file = Self::read(path)?;
                self.or(file)
            }
            None => self,
        })
    }

    /// The names of the settings in the file that these options name.
    pub fn names_in_file(&self) -> Result<Vec<String>, SettingsError> {
        let Some(path) = &self.config else { return Ok(Vec::new()) };
        let unreadable = |source| SettingsError::Unreadable { path: path.into(), source };
        let text = fs::read_to_string(path).map_err(unreadable)?;
        let file = |source| SettingsError::File { path: path.into(), source: Box::new(source) };
        let table: toml::Table = toml::from_str(&text).map_err(file)?;
        Ok(table.keys().cloned().collect())
    }

    fn read(path: &Path) -> Result<Self, SettingsError> {
        let unreadable = |source| SettingsError::Unreadable { path: path.into(), source };
        let text = fs::read_to_string(path).map_err(unreadable)?;
        toml::from_str(&text).map_err(|source| SettingsError::File { path: path.into(), source: Box::new(source) })
    }

    pub(super) fn or(self, file: Self) -> Self {
        Self {
            config: self.config,
            listen: or(self.listen, file.listen),
            metrics_listen: or(self.metrics_listen, file.metrics_listen),
            metrics: self.metrics.or(file.metrics),
            otlp_endpoint: self.otlp_endpoint.or(file.otlp_endpoint),
            otlp_sample: self.otlp_sample.or(file.otlp_sample),
            otlp_headers_file: self.otlp_headers_file.or(file.otlp_headers_file),
            drain_delay: self.drain_delay.or(file.drain_delay),
            drain_time: self.drain_time.or(file.drain_time),
            cluster: or(self.cluster, file.cluster),
            cluster_secret_file: self.cluster_secret_file.or(file.cluster_secret_file),
            cluster_stream: self.cluster_stream.or(file.cluster_stream),
            cluster_replicas: self.cluster_replicas.or(file.cluster_replicas),
            cluster_node: self.cluster_node.or(file.cluster_node),
            cluster_credentials_file: self.cluster_credentials_file.or(file.cluster_credentials_file),
            cluster_user: self.cluster_user.or(file.cluster_user),
            cluster_password_file: self.cluster_password_file.or(file.cluster_password_file),
            cluster_token_file: self.cluster_token_file.or(file.cluster_token_file),
            cluster_ca_file: self.cluster_ca_file.or(file.cluster_ca_file),
            cluster_certificate_file: self.cluster_certificate_file.or(file.cluster_certificate_file),
            cluster_key_file: self.cluster_key_file.or(file.cluster_key_file),
            tls_certificate_file: or(self.tls_certificate_file, file.tls_certificate_file),
            tls_key_file: or(self.tls_key_file, file.tls_key_file),
            tls_self_signed: self.tls_self_signed.or(file.tls_self_signed),
            acme_domains: or(self.acme_domains, file.acme_domains),
            acme_contact: or(self.acme_contact, file.acme_contact),
            acme_directory: self.acme_directory.or(file.acme_directory),
            acme_challenge: self.acme_challenge.or(file.acme_challenge),
            acme_root_file: self.acme_root_file.or(file.acme_root_file),
            redirect_http: self.redirect_http.or(file.redirect_http),
            data: self.data.or(file.data),
            storage: self.storage.or(file.storage),
            durability: self.durability.or(file.durability),
            keep_age: self.keep_age.or(file.keep_age),
            keep_count: self.keep_count.or(file.keep_count),
            keep_bytes: self.keep_bytes.or(file.keep_bytes),
            keep: or(self.keep, file.keep),
            resource: self.resource.or(file.resource),
            issuer: self.issuer.or(file.issuer),
            publisher_key_file: self.publisher_key_file.or(file.publisher_key_file),
            subscriber_key_file: self.subscriber_key_file.or(file.subscriber_key_file),
            issuers: if self.issuers == Issuers::default() { file.issuers } else { self.issuers },
            anonymous: self.anonymous.or(file.anonymous),
            publish_without_token: self.publish_without_token.or(file.publish_without_token),
            publish_origins: self.publish_origins.or(file.publish_origins),
            legacy: self.legacy.or(file.legacy),
            presence: self.presence.or(file.presence),
            stream_lifetime: self.stream_lifetime.or(file.stream_lifetime),
            cors_origins: self.cors_origins.or(file.cors_origins),
            heartbeat: self.heartbeat.or(file.heartbeat),
            stall_timeout: self.stall_timeout.or(file.stall_timeout),
            soft_refusals: self.soft_refusals.or(file.soft_refusals),
            reader_buffer: self.reader_buffer.or(file.reader_buffer),
            shards: self.shards.or(file.shards),
            demo: self.demo.or(file.demo),
            burst_repeat: self.burst_repeat.or(file.burst_repeat),
            burst_interval: self.burst_interval.or(file.burst_interval),
            rate_limit: self.rate_limit.or(file.rate_limit),
            token_rate_limit: self.token_rate_limit.or(file.token_rate_limit),
            subscription_rate_limit: self.subscription_rate_limit.or(file.subscription_rate_limit),
            pattern_rate_limit: self.pattern_rate_limit.or(file.pattern_rate_limit),
            connection_rate_limit: self.connection_rate_limit.or(file.connection_rate_limit),
            max_message: self.max_message.or(file.max_message),
            max_body: self.max_body.or(file.max_body),
            trusted_proxies: self.trusted_proxies.or(file.trusted_proxies),
            proxy_protocol: self.proxy_protocol.or(file.proxy_protocol),
            proxy_header: self.proxy_header.or(file.proxy_header),
            max_connections: self.max_connections.or(file.max_connections),
            max_connections_per_client: self.max_connections_per_client.or(file.max_connections_per_client),
            max_streams: self.max_streams.or(file.max_streams),
            max_compressed_streams: self.max_compressed_streams.or(file.max_compressed_streams),
            max_matchers: self.max_matchers.or(file.max_matchers),
            max_http2_streams: self.max_http2_streams.or(file.max_http2_streams),
            access_log: self.access_log.or(file.access_log),
            log_level: self.log_level.or(file.log_level),
            log_format: self.log_format.or(file.log_format),
        }
    }
}

/// A list as it is, or where it is empty, the file's.
fn or<T>(list: Vec<T>, file: Vec<T>) -> Vec<T> {
    if list.is_empty() { file } else { list }
}
