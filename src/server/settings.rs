//! The only reader of flags, environment and file. It refuses to start on nonsense.
//!
//! A flag outweighs its environment variable, which outweighs the file, which outweighs the default.

use std::net::{SocketAddr, ToSocketAddrs};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;
use std::{fmt, fs, io};

use axum::http::HeaderValue;
use clap::{Args, ValueEnum};
use serde::{Deserialize, Deserializer};
use thiserror::Error;

use super::demo::BurstOptions;
use crate::wire::message::DEFAULT_MAX_BYTES;

/// Where the server listens unless told otherwise: this machine only.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:3000";
/// Short enough for proxies that cut a connection after 30 s or a minute of silence.
const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(15);
/// A phone that changes its network is back within seconds.
const DEFAULT_STALL_TIMEOUT: Duration = Duration::from_secs(30);
const DEFAULT_BURST: BurstOptions = BurstOptions { repeat: 3, interval: Duration::from_secs(1) };
/// More would keep one stream busy for minutes, and its frames in memory.
const MAX_BURST_REPEAT: u32 = 1000;
/// Messages a second from one address.
const DEFAULT_RATE_LIMIT: u32 = 50;
/// A body with the longest message, every byte of it escaped, and room for the JSON around it.
const DEFAULT_MAX_BODY: usize = 64 * 1024;
const DEFAULT_MAX_CONNECTIONS: usize = 50_000;

/// What may be set, as a flag, in the environment or in the file: everything is optional.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Options {
    /// Read settings from this TOML file, named as the flags are
    #[arg(long, env = "TIDINGS_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,

    /// Address and port to listen on; port 0 takes a free one [default: 127.0.0.1:3000]
    #[arg(long, env = "TIDINGS_LISTEN", value_name = "HOST:PORT")]
    pub listen: Option<Listen>,

    /// Folder for the server's data, made if it is not there [default: ./data]
    #[arg(long, env = "TIDINGS_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,

    /// Origins whose pages may read from this server, comma-separated; * for all [default: *]
    #[arg(long, env = "TIDINGS_CORS_ORIGINS", value_name = "ORIGINS")]
    pub cors_origins: Option<CorsOrigins>,

    /// Send a comment on a stream after this much silence, so that proxies keep it open [default: 15s]
    #[arg(long, env = "TIDINGS_HEARTBEAT", value_name = "DURATION")]
    pub heartbeat: Option<Span>,

    /// Disconnect a client that takes nothing for this long while data waits for it [default: 30s]
    #[arg(long, env = "TIDINGS_STALL_TIMEOUT", value_name = "DURATION")]
    pub stall_timeout: Option<Span>,

    /// How often a burst tells its message [default: 3]
    #[arg(long, env = "TIDINGS_BURST_REPEAT", value_name = "COUNT")]
    pub burst_repeat: Option<u32>,

    /// Time between two events of a burst [default: 1s]
    #[arg(long, env = "TIDINGS_BURST_INTERVAL", value_name = "DURATION")]
    pub burst_interval: Option<Span>,

    /// Messages a second that one address may publish, four times as many at once; 0 for no limit [default: 50]
    #[arg(long, env = "TIDINGS_RATE_LIMIT", value_name = "COUNT")]
    pub rate_limit: Option<u32>,

    /// Longest message, in bytes of UTF-8 [default: 4096]
    #[arg(long, env = "TIDINGS_MAX_MESSAGE", value_name = "BYTES")]
    pub max_message: Option<usize>,

    /// Longest request body, in bytes [default: 65536]
    #[arg(long, env = "TIDINGS_MAX_BODY", value_name = "BYTES")]
    pub max_body: Option<usize>,

    /// Most connections at once; further ones are answered 503 [default: 50000]
    #[arg(long, env = "TIDINGS_MAX_CONNECTIONS", value_name = "COUNT")]
    pub max_connections: Option<usize>,

    /// What to log: error, warn, info, debug, trace, or a filter like tidings=debug,info [default: info]
    #[arg(long, env = "TIDINGS_LOG_LEVEL", value_name = "LEVEL")]
    pub log_level: Option<String>,

    /// How to log [default: human on a terminal, json otherwise]
    #[arg(long, env = "TIDINGS_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// Everything the server needs to know, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen: every address the host's name has.
    pub listen: Vec<SocketAddr>,
    /// The folder for the server's data.
    pub data: PathBuf,
    /// Whose pages may read.
    pub cors_origins: CorsOrigins,
    /// The silence after which a stream gets a comment.
    pub heartbeat: Duration,
    /// How long a client may take nothing while data waits for it.
    pub stall_timeout: Duration,
    /// How bursts are told.
    pub burst: BurstOptions,
    /// Messages a second from one address, four times as many at once; `None` for no limit.
    pub rate_limit: Option<NonZeroU32>,
    /// Longest message, in bytes of UTF-8.
    pub max_message: usize,
    /// Longest request body, in bytes.
    pub max_body: usize,
    /// Most connections at once.
    pub max_connections: usize,
    /// A filter of `tracing`.
    pub log_level: String,
    /// How to log; `None` decides by whether the log goes to a terminal.
    pub log_format: Option<LogFormat>,
}

/// Why the settings can't be used: each says which one and what to do.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// The file can't be read.
    #[error("--config: {} can't be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("--config: {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A value is out of its range.
    #[error("--{name} {value}: {hint}")]
    Value {
        /// The setting's name, as its flag is written.
        name: &'static str,
        /// What was given.
        value: String,
        /// What it must be.
        hint: String,
    },
}

impl Options {
    /// Reads the file, if there is one, and checks everything.
    pub fn resolve(self) -> Result<Settings, SettingsError> {
        let file = match &self.config {
            Some(path) => Self::read(path)?,
            None => Self::default(),
        };
        self.or(file).check()
    }

    fn read(path: &Path) -> Result<Self, SettingsError> {
        let unreadable = |source| SettingsError::Unreadable { path: path.into(), source };
        let text = fs::read_to_string(path).map_err(unreadable)?;
        toml::from_str(&text).map_err(|source| SettingsError::File { path: path.into(), source: Box::new(source) })
    }

    fn or(self, file: Self) -> Self {
        Self {
            config: self.config,
            listen: self.listen.or(file.listen),
            data: self.data.or(file.data),
            cors_origins: self.cors_origins.or(file.cors_origins),
            heartbeat: self.heartbeat.or(file.heartbeat),
            stall_timeout: self.stall_timeout.or(file.stall_timeout),
            burst_repeat: self.burst_repeat.or(file.burst_repeat),
            burst_interval: self.burst_interval.or(file.burst_interval),
            rate_limit: self.rate_limit.or(file.rate_limit),
            max_message: self.max_message.or(file.max_message),
            max_body: self.max_body.or(file.max_body),
            max_connections: self.max_connections.or(file.max_connections),
            log_level: self.log_level.or(file.log_level),
            log_format: self.log_format.or(file.log_format),
        }
    }

    fn check(self) -> Result<Settings, SettingsError> {
        let listen = self.listen.unwrap_or_else(|| Listen(DEFAULT_LISTEN.into()));
        let repeat = self.burst_repeat.unwrap_or(DEFAULT_BURST.repeat);
        let burst = BurstOptions {
            repeat: within("burst-repeat", repeat, 1, MAX_BURST_REPEAT)?,
            interval: self.burst_interval.map_or(DEFAULT_BURST.interval, |span| span.0),
        };
        let max_body = within("max-body", self.max_body.unwrap_or(DEFAULT_MAX_BODY), 1024, 1 << 30)?;
        let log_level = self.log_level.unwrap_or_else(|| "info".into());
        tracing_subscriber::EnvFilter::try_new(&log_level)
            .map_err(|_| invalid("log-level", &log_level, "must be error, warn, info, debug or trace"))?;
        Ok(Settings {
            listen: listen.resolve()?,
            data: self.data.unwrap_or_else(|| "data".into()),
            cors_origins: self.cors_origins.unwrap_or(CorsOrigins::Any),
            heartbeat: at_least_100ms("heartbeat", self.heartbeat, DEFAULT_HEARTBEAT)?,
            stall_timeout: at_least_100ms("stall-timeout", self.stall_timeout, DEFAULT_STALL_TIMEOUT)?,
            burst,
            rate_limit: NonZeroU32::new(self.rate_limit.unwrap_or(DEFAULT_RATE_LIMIT)),
            max_message: within("max-message", self.max_message.unwrap_or(DEFAULT_MAX_BYTES), 1, max_body)?,
            max_body,
            max_connections: within(
                "max-connections",
                self.max_connections.unwrap_or(DEFAULT_MAX_CONNECTIONS),
                1,
                1 << 24,
            )?,
            log_level,
            log_format: self.log_format,
        })
    }
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

fn within<T: PartialOrd + fmt::Display>(name: &'static str, value: T, min: T, max: T) -> Result<T, SettingsError> {
    if value < min || value > max {
        return Err(invalid(name, value, format!("must be from {min} to {max}")));
    }
    Ok(value)
}

/// `HOST:PORT`, where the host is an address or a name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Listen(String);

impl Listen {
    fn resolve(&self) -> Result<Vec<SocketAddr>, SettingsError> {
        let hint = "must be HOST:PORT, for example 127.0.0.1:3000, or 0.0.0.0:3000 for every network";
        match self.0.to_socket_addrs().map(Iterator::collect::<Vec<_>>) {
            Ok(addresses) if !addresses.is_empty() => Ok(addresses),
            _ => Err(invalid("listen", &self.0, hint)),
        }
    }
}

impl FromStr for Listen {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.into()))
    }
}

/// A duration as people write it: `300ms`, `15s`, `5m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let hint = "write a number and its unit, for example 300ms, 15s or 5m";
        humantime::parse_duration(text).map(Self).map_err(|error| format!("{error}; {hint}"))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Whose pages may read from this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CorsOrigins {
    /// Everybody's.
    Any,
    /// Those of these origins; none if the list is empty.
    List(Vec<HeaderValue>),
}

impl FromStr for CorsOrigins {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim() == "*" {
            return Ok(Self::Any);
        }
        let origins = text.split(',').map(str::trim).filter(|origin| !origin.is_empty());
        origins.map(parse_origin).collect::<Result<_, _>>().map(Self::List)
    }
}

impl<'de> Deserialize<'de> for CorsOrigins {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum OneOrMany {
            One(String),
            Many(Vec<String>),
        }
        let text = match OneOrMany::deserialize(deserializer)? {
            OneOrMany::One(text) => text,
            OneOrMany::Many(origins) => origins.join(","),
        };
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// An origin as browsers send it: scheme, host and, where it is not the scheme's own, port.
fn parse_origin(origin: &str) -> Result<HeaderValue, String> {
    let hint = "write origins like https://example.com, comma-separated, or * alone for all";
    let host = origin.split_once("://").map(|(_, host)| host);
    match host {
        Some(host) if !host.is_empty() && !host.contains(['/', '?', '#', '@', '*', ' ']) => {
            HeaderValue::from_str(&origin.to_ascii_lowercase())
                .map_err(|_| format!("`{origin}` is not an origin; {hint}"))
        }
        _ => Err(format!("`{origin}` is not an origin; {hint}")),
    }
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(toml: &str) -> Result<Options, String> {
        toml::from_str(toml).map_err(|error| error.to_string())
    }

    fn error(toml: &str) -> String {
        options(toml).and_then(|options| options.check().map_err(|e| e.to_string())).map(|_| ()).unwrap_err()
    }

    #[test]
    fn the_defaults_work() {
        let settings = Options::default().check().expect("defaults");
        assert_eq!(settings.listen, ["127.0.0.1:3000".parse().expect("an address")]);
        assert_eq!(settings.cors_origins, CorsOrigins::Any);
        assert_eq!(settings.rate_limit, NonZeroU32::new(50));
    }

    #[test]
    fn a_flag_outweighs_the_file() {
        let flags = options("heartbeat = '300ms'").expect("options");
        let file = options("heartbeat = '5m'\nburst-repeat = 5").expect("options");
        let settings = flags.or(file).check().expect("settings");
        assert_eq!((settings.heartbeat, settings.burst.repeat), (Duration::from_millis(300), 5));
    }

    #[test]
    fn no_rate_limit_is_written_zero() {
        assert_eq!(options("rate-limit = 0").expect("options").check().expect("settings").rate_limit, None);
    }

    #[test]
    fn nonsense_is_refused_with_the_settings_name() {
        for (toml, name) in [
            ("burst-repeat = 0", "--burst-repeat 0"),
            ("heartbeat = '1ms'", "--heartbeat 1ms"),
            ("heartbeat = 'soon'", "heartbeat"),
            ("listen = 'nowhere'", "--listen nowhere"),
            ("cors-origins = 'example.com'", "cors-origins"),
            ("cors-origins = ['*', 'https://a.example']", "cors-origins"),
            ("log-level = 'tidings=loud'", "--log-level tidings=loud"),
            ("max-message = 100000", "--max-message 100000"),
            ("hartbeat = '15s'", "hartbeat"),
        ] {
            let error = error(toml);
            assert!(error.contains(name), "{toml}: {error}");
        }
    }

    #[test]
    fn origins_are_a_list_or_all() {
        let list = options("cors-origins = ['https://a.example', 'http://B.example:8080']").expect("options");
        let origins = ["https://a.example", "http://b.example:8080"].map(HeaderValue::from_static).to_vec();
        assert_eq!(list.cors_origins, Some(CorsOrigins::List(origins)));
        assert_eq!("*".parse(), Ok(CorsOrigins::Any));
    }
}
