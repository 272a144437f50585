//! The only reader of flags, environment and file. It refuses to start with invalid values.
//!
//! A flag takes precedence over its environment variable, which takes precedence over the file.

mod cluster;
mod demo;
mod limits;
mod mercure;
mod options;
mod otlp;
mod reload;
pub mod report;
mod tls;
mod values;

use std::path::PathBuf;
use std::time::Duration;
use std::{fmt, io};

use bytesize::ByteSize;
use thiserror::Error;
use url::Url;

pub use demo::DemoSettings;
pub use limits::LimitSettings;
pub use mercure::MercureSettings;
pub use options::{Issuer, Issuers, KeepTopic, Options};
pub use reload::{Change, Reloaded, Reloader};
pub use tls::TlsSettings;
pub use values::{
    AcmeChallengeKind, CorsOrigins, DEFAULT_LISTEN, DurabilityKind, LogFormat, ProxyHeaderKind, Span, StorageKind,
};

use super::hub::{DEFAULT_READER_BUFFER, default_shards};
use super::log::{Limits, LogOptions, Retention, TopicLimits, TopicPattern};
pub use super::net::{
    AcmeChallenge, AcmeOptions, ListenAddress, PemFiles, ProxyHeader, Scheme, TlsError, TrustedProxies,
};
pub use super::traces::TraceOptions;
use crate::wire::message::TOPIC;

/// The log's folder within the data folder.
pub const LOG_FOLDER: &str = "log";

/// Short enough for proxies that close a connection after 30 s or a minute without data.
const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(15);
/// A phone that changes its network reconnects within seconds.
const DEFAULT_STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Short enough for an operator who waits.
const DEFAULT_DRAIN: Duration = Duration::from_secs(3);

/// All settings of the server, validated.
#[derive(Clone)]
pub struct Settings {
    /// Where to listen, each in turn.
    pub listen: Vec<ListenAddress>,
    /// The certificates; `None` for clear text alone.
    pub tls: Option<TlsSettings>,
    /// Whether clients in clear text are led to TLS, where there is TLS.
    pub redirect_http: bool,
    /// Where to serve metrics and health alone.
    pub metrics_listen: Vec<ListenAddress>,
    /// Whether metrics are served beside everything else.
    pub metrics: bool,
    /// Where traces are exported to, and which; `None` for no traces.
    pub traces: Option<TraceOptions>,
    /// Whether a browser's stream that is refused for a while is told when to come back, instead of being refused.
    pub soft_refusals: bool,
    /// How the server stops.
    pub drain: Drain,
    /// The folder for the server's data.
    pub data: PathBuf,
    /// The log: its storage, durability and retention.
    pub log: LogOptions,
    /// The hub: its URL, its tokens, and what it allows without a token.
    pub mercure: MercureSettings,
    /// Origins whose pages may read.
    pub cors_origins: CorsOrigins,
    /// The time without an event after which a stream gets a comment.
    pub heartbeat: Duration,
    /// How long a client may read nothing while data waits for it.
    pub stall_timeout: Duration,
    /// How many bytes of the log are held in memory for one client that has fallen behind.
    pub reader_buffer: usize,
    /// Over how many tasks the streams are spread.
    pub shards: usize,
    /// The demo: its bursts and its messages; `None` where it is switched off.
    pub demo: Option<DemoSettings>,
    /// What one client may do, and all together.
    pub limits: LimitSettings,
    /// The proxies that are believed when they say for whom they forward a request.
    pub trusted_proxies: TrustedProxies,
    /// Whether their connections begin with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// The header in which they say it.
    pub proxy_header: ProxyHeader,
    /// Whether each request is logged.
    pub access_log: bool,
    /// A filter of `tracing`.
    pub log_level: String,
    /// The format of log lines; `None` chooses by whether the log goes to a terminal.
    pub log_format: Option<LogFormat>,
}

/// How the server stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// How long it goes on as before, though it says that it isn't ready.
    pub delay: Duration,
    /// Over how long many streams end after that.
    pub time: Duration,
}

/// Why the settings are refused. Each error names the setting and says what to do.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// The file can't be read.
    #[error("--config: {} can't be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file is invalid.
    #[error("--config: {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The position in the file, and what is wrong there.
        source: Box<toml::de::Error>,
    },
    /// A value is out of range.
    #[error("--{name} {value}: {hint}")]
    Value {
        /// The setting's name, as its flag is written.
        name: &'static str,
        /// The value as it was given.
        value: String,
        /// What the value must be.
        hint: String,
    },
}

impl Options {
    /// Reads the file, if one is named, and validates all settings.
    pub fn resolve(self) -> Result<Settings, SettingsError> {
        self.with_file()?.validate()
    }

    /// Validates all settings, without those of a file.
    fn validate(self) -> Result<Settings, SettingsError> {
        let options = self;
        let listen = match &options.listen[..] {
            [] => vec![DEFAULT_LISTEN.parse().map_err(|hint: String| invalid("listen", DEFAULT_LISTEN, hint))?],
            listen => listen.to_vec(),
        };
        if let Some(address) = listen.iter().find(|address| !address.is_usable()) {
            let hint = "must be HOST:PORT, for example 127.0.0.1:3000, or 0.0.0.0:3000 for every network; unix:PATH for a \
                        Unix socket; or systemd for the sockets of its socket unit";
            return Err(invalid("listen", address, hint));
        }
        if let Some(address) = options.metrics_listen.iter().find(|address| !address.is_usable() || address.wants_tls())
        {
            return Err(invalid(
                "metrics-listen",
                address,
                "must be HOST:PORT, for example 127.0.0.1:9464, or unix:PATH",
            ));
        }
        if options.proxy_protocol == Some(true) && options.trusted_proxies.is_none() {
            let hint = "needs --trusted-proxies: with the PROXY protocol whoever is believed says whose limits count";
            return Err(invalid("proxy-protocol", true, hint));
        }
        let traces = otlp::resolve(&options)?;
        let data = options.data.clone().unwrap_or_else(|| "data".into());
        let tls = TlsSettings::resolve(&options, &data)?;
        let default_buffer = ByteSize::b(DEFAULT_READER_BUFFER as u64);
        let buffer = (ByteSize::kib(1), ByteSize::mib(64));
        let reader_buffer = within("reader-buffer", options.reader_buffer, default_buffer, buffer.0, buffer.1)?;
        let limits = LimitSettings::resolve(&options)?;
        let demo = DemoSettings::resolve(&options, &listen, limits.max_body)?;
        let log_level = options.log_level.clone().unwrap_or_else(|| "info".into());
        tracing_subscriber::EnvFilter::try_new(&log_level)
            .map_err(|_| invalid("log-level", &log_level, "must be error, warn, info, debug or trace"))?;
        let mercure = MercureSettings::resolve(&options, &listen)?;
        let mut log = log_options(&options, &data);
        log.cluster = cluster::resolve(&options)?;
        // The operator's own limits take precedence.
        if demo.is_some() && log.retention.of_topic(TOPIC).is_none() {
            log.retention.quota = Some(DemoSettings::quota(&log.retention.all));
        }
        Ok(Settings {
            mercure,
            log,
            data,
            heartbeat: at_least_100ms("heartbeat", options.heartbeat, DEFAULT_HEARTBEAT)?,
            stall_timeout: at_least_100ms("stall-timeout", options.stall_timeout, DEFAULT_STALL_TIMEOUT)?,
            reader_buffer: usize::try_from(reader_buffer.as_u64()).unwrap_or(usize::MAX),
            shards: within("shards", options.shards, default_shards(), 1, 1024)?,
            demo,
            limits,
            listen,
            tls,
            metrics_listen: options.metrics_listen,
            soft_refusals: options.soft_refusals.unwrap_or(true),
            metrics: options.metrics.unwrap_or(false),
            traces,
            drain: Drain {
                delay: options.drain_delay.map_or(Duration::ZERO, |span| span.0),
                time: options.drain_time.map_or(DEFAULT_DRAIN, |span| span.0),
            },
            redirect_http: options.redirect_http.unwrap_or(true),
            trusted_proxies: options.trusted_proxies.unwrap_or_default(),
            proxy_protocol: options.proxy_protocol.unwrap_or(false),
            proxy_header: options.proxy_header.map(Into::into).unwrap_or_default(),
            access_log: options.access_log.unwrap_or(false),
            cors_origins: options.cors_origins.unwrap_or(CorsOrigins::Any),
            log_level,
            log_format: options.log_format,
        })
    }
}

impl Settings {
    /// How clients speak at addresses that don't say it.
    pub fn scheme(&self) -> Scheme {
        if self.tls.is_some() { Scheme::Https } else { Scheme::Http }
    }

    /// The URL by which this machine reaches the server, as far as it is known before it listens.
    pub fn listening_url(&self) -> Option<Url> {
        self.listen.iter().find_map(|address| address.url(self.scheme()))
    }
}

fn log_options(options: &Options, data: &std::path::Path) -> LogOptions {
    let mut log = match options.storage {
        Some(StorageKind::Memory) => LogOptions::memory(),
        Some(StorageKind::Disk) | None => LogOptions::disk(data.join(LOG_FOLDER)),
    };
    log.durability = options.durability.map(Into::into).unwrap_or_default();
    let age = options.keep_age.map_or(Retention::DEFAULT_AGE, |span| span.0);
    let count = options.keep_count.unwrap_or(Retention::DEFAULT_COUNT);
    let bytes = options.keep_bytes.map_or(Retention::DEFAULT_BYTES, |size| size.as_u64());
    // Nobody wants to keep nothing at all: zero means no limit, as for the rate.
    let limits = |age: Option<Duration>, count: Option<u64>, bytes: Option<u64>| Limits {
        age: age.filter(|age| !age.is_zero()),
        count: count.filter(|&count| count > 0),
        bytes: bytes.filter(|&bytes| bytes > 0),
    };
    let topic_limits = |keep: &KeepTopic| TopicLimits {
        pattern: TopicPattern::new(&*keep.topic),
        limits: limits(keep.age.map(|span| span.0), keep.count, keep.bytes.map(|size| size.as_u64())),
    };
    log.retention = Retention {
        all: limits(Some(age), Some(count), Some(bytes)),
        topics: options.keep.iter().map(topic_limits).collect(),
        ..Retention::unlimited()
    };
    log
}

fn invalid(name: &'static str, value: impl fmt::Display, hint: impl Into<String>) -> SettingsError {
    SettingsError::Value { name, value: value.to_string(), hint: hint.into() }
}

fn at_least_100ms(name: &'static str, span: Option<Span>, default: Duration) -> Result<Duration, SettingsError> {
    let duration = span.map_or(default, |span| span.0);
    if duration < Duration::from_millis(100) {
        return Err(invalid(name, Span(duration), "must be 100ms or longer, for example 15s"));
    }
    Ok(duration)
}

fn within<T>(name: &'static str, value: Option<T>, default: T, min: T, max: T) -> Result<T, SettingsError>
where
    T: PartialOrd + fmt::Display,
{
    let value = value.unwrap_or(default);
    if value < min || value > max {
        return Err(invalid(name, value, format!("must be from {min} to {max}")));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;
    use crate::server::log::Storage;

    fn options(toml: &str) -> Result<Options, String> {
        toml::from_str(toml).map_err(|error| error.to_string())
    }

    fn error(toml: &str) -> String {
        options(toml).and_then(|options| options.resolve().map_err(|e| e.to_string())).map(|_| ()).expect_err(toml)
    }

    #[test]
    fn the_defaults_work() {
        let settings = Options::default().resolve().expect("defaults");
        assert_eq!(settings.listening_url().map(String::from).as_deref(), Some("http://127.0.0.1:3000/"));
        assert_eq!(settings.cors_origins, CorsOrigins::Any);
        assert_eq!(settings.limits.rate.map(u32::from), Some(50));
    }

    #[test]
    fn a_flag_takes_precedence_over_the_file() {
        let flags = options("heartbeat = '300ms'").expect("options");
        let file = options("heartbeat = '5m'\nburst-repeat = 5").expect("options");
        let settings = flags.or(file).resolve().expect("settings");
        assert_eq!(
            (settings.heartbeat, settings.demo.map(|demo| demo.burst_repeat)),
            (Duration::from_millis(300), Some(5))
        );
    }

    #[test]
    fn no_rate_limit_is_written_zero() {
        assert_eq!(options("rate-limit = 0").expect("options").resolve().expect("settings").limits.rate, None);
    }

    #[test]
    fn nonsense_is_refused_with_the_settings_name() {
        for (toml, name) in [
            ("burst-repeat = 0", "--burst-repeat 0"),
            ("heartbeat = '1ms'", "--heartbeat 1ms"),
            ("heartbeat = 'soon'", "heartbeat"),
            ("listen = 'nowhere'", "--listen nowhere"),
            ("listen = 'https://127.0.0.1:0'", "--listen https://127.0.0.1:0"),
            ("tls-certificate-file = 'a.pem'", "--tls-key-file"),
            ("acme-domains = '*.example.com'", "--acme-domains *.example.com"),
            ("acme-domains = 'localhost'", "--acme-domains localhost"),
            ("acme-domains = 'a.example'\nacme-directory = 'somebody'", "--acme-directory somebody"),
            ("acme-domains = 'a.example'\nacme-challenge = 'http-01'\nredirect-http = false", "--acme-challenge"),
            ("acme-domains = 'a.example'\ntls-self-signed = true", "--acme-domains"),
            ("tls-self-signed = true\ntls-certificate-file = 'a'\ntls-key-file = 'b'", "--tls-self-signed"),
            ("cors-origins = 'example.com'", "cors-origins"),
            ("cors-origins = ['*', 'https://a.example']", "cors-origins"),
            ("log-level = 'tidings=loud'", "--log-level tidings=loud"),
            ("keep-bytes = 'much'", "keep-bytes"),
            ("storage = 'tape'", "storage"),
            ("max-message = 2000000", "--max-message 2000000"),
            ("hartbeat = '15s'", "hartbeat"),
            ("resource = 'hub.example'", "--resource hub.example"),
            ("trusted-proxies = '10.0.0.0/99'", "trusted-proxies"),
            ("proxy-protocol = true", "--proxy-protocol"),
        ] {
            let error = error(toml);
            assert!(error.contains(name), "{toml}: {error}");
        }
    }

    #[test]
    fn anybody_may_subscribe_only_where_nobody_else_can_come() {
        for (toml, anonymous) in [
            ("", true),
            ("listen = '[::1]:3000'", true),
            ("listen = '0.0.0.0:3000'", false),
            ("listen = ['127.0.0.1:3000', 'unix:/run/tidings.sock']", false),
            // A proxy on the same machine comes from a loopback address with what the internet sends.
            ("resource = 'https://hub.example/.well-known/mercure'", false),
            ("resource = 'https://hub.example/.well-known/mercure'\nanonymous = true", true),
            ("anonymous = false", false),
            ("trusted-proxies = '127.0.0.1'", false),
            ("trusted-proxies = ['::1', '10.0.0.0/8']", false),
        ] {
            let settings = options(toml).expect("options").resolve().expect("settings");
            assert_eq!(settings.mercure.anonymous, anonymous, "{toml}");
        }
    }

    #[test]
    fn the_demo_is_on_while_the_server_is_for_this_machine_unless_it_is_set() {
        for (toml, on) in [
            ("", true),
            ("listen = '[::1]:3000'", true),
            ("listen = '0.0.0.0:3000'", false),
            ("resource = 'https://hub.example.com'", false),
            ("demo = false", false),
            ("demo = true\nlisten = '0.0.0.0:3000'\nresource = 'https://hub.example.com'", true),
        ] {
            let settings = options(toml).expect("options").resolve().expect("settings");
            assert_eq!(settings.demo.is_some(), on, "{toml}");
        }
    }

    #[test]
    fn the_demos_messages_have_a_quota_unless_the_operator_limits_them() {
        let quota = |toml: &str| {
            let quota = options(toml).expect("options").resolve().expect("settings").log.retention.quota;
            quota.is_some_and(|quota| quota.pattern.matches("messages") && !quota.pattern.matches("other"))
        };
        assert!(quota(""));
        assert!(quota("[[keep]]\ntopic = 'other'\ncount = 5"));
        assert!(!quota("[[keep]]\ntopic = 'mess*'\ncount = 5"));
        assert!(!quota("demo = false"));
    }

    #[test]
    fn the_log_is_kept_in_the_data_folder_for_as_long_as_is_set() {
        let toml =
            "data = '/x'\nkeep-age = '1h'\nkeep-count = 0\nkeep-bytes = '2MiB'\n[[keep]]\ntopic = 'jobs/*'\ncount = 5";
        let log = options(toml).expect("options").resolve().expect("settings").log;
        assert_eq!(log.storage, Storage::Disk { folder: "/x/log".into() });
        let hour = Some(Duration::from_secs(3600));
        assert_eq!(log.retention.all, Limits { age: hour, count: None, bytes: Some(2 << 20) });
        assert_eq!(log.retention.topics[0].limits, Limits { age: None, count: Some(5), bytes: None });
        assert!(log.retention.topics[0].pattern.matches("jobs/7"));
    }

    #[test]
    fn origins_are_a_list_or_all() {
        let list = options("cors-origins = ['https://a.example', 'http://B.example:8080']").expect("options");
        let origins = ["https://a.example", "http://b.example:8080"].map(HeaderValue::from_static).to_vec();
        assert_eq!(list.cors_origins, Some(CorsOrigins::List(origins)));
        assert_eq!("*".parse(), Ok(CorsOrigins::Any));
    }
}
