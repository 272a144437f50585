//! The types of option values, and how they are written.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use axum::http::HeaderValue;
use clap::ValueEnum;
use serde::{Deserialize, Deserializer};

use crate::server::log::Durability;
use crate::server::net::{AcmeChallenge, ProxyHeader};

/// The default address to listen on: only this machine can connect.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:3000";

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

/// A set of origins, for example those whose pages may read from this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CorsOrigins {
    /// All origins.
    Any,
    /// These origins; no origin if the list is empty.
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

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    /// As on the command line.
    fn with_commas(self) -> String {
        match self {
            Self::One(text) => text,
            Self::Many(texts) => texts.join(","),
        }
    }
}

/// Reads a list in the file: as one text with commas, as on the command line, or as several.
pub(super) fn list<'de, D: Deserializer<'de>, T: FromStr<Err = String>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let text = OneOrMany::deserialize(deserializer)?.with_commas();
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

/// The same, of a list that is one value for each of its texts.
pub(super) fn each<'de, D: Deserializer<'de>, T: FromStr<Err: fmt::Display>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let text = OneOrMany::deserialize(deserializer)?.with_commas();
    text.split(',').map(|text| text.trim().parse().map_err(serde::de::Error::custom)).collect()
}

/// Parses an origin as browsers send it: scheme, host and, unless it is the scheme's default, port.
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

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// To read in a terminal.
    Human,
    /// One JSON object per line.
    Json,
}

/// Where the log is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StorageKind {
    /// In the data folder: it survives a restart
    Disk,
    /// In memory: it is lost when the server stops
    Memory,
}

/// Where proxies say for whom they forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyHeaderKind {
    /// X-Forwarded-For, X-Forwarded-Host and X-Forwarded-Proto
    XForwardedFor,
    /// Forwarded (RFC 7239)
    Forwarded,
}

impl From<ProxyHeaderKind> for ProxyHeader {
    fn from(kind: ProxyHeaderKind) -> Self {
        match kind {
            ProxyHeaderKind::XForwardedFor => Self::XForwardedFor,
            ProxyHeaderKind::Forwarded => Self::Forwarded,
        }
    }
}

/// How it is proved to an authority that a name leads here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AcmeChallengeKind {
    /// By a certificate at port 443
    #[value(name = "tls-alpn-01")]
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
    /// By a file at port 80
    #[value(name = "http-01")]
    #[serde(rename = "http-01")]
    Http01,
}

impl From<AcmeChallengeKind> for AcmeChallenge {
    fn from(kind: AcmeChallengeKind) -> Self {
        match kind {
            AcmeChallengeKind::TlsAlpn01 => Self::TlsAlpn01,
            AcmeChallengeKind::Http01 => Self::Http01,
        }
    }
}

/// When an update is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DurabilityKind {
    /// Once it is on the disk: it survives a power cut
    Fsync,
    /// Once the operating system has it: it survives a crash of the process, not of the machine
    Os,
}

impl From<DurabilityKind> for Durability {
    fn from(kind: DurabilityKind) -> Self {
        match kind {
            DurabilityKind::Fsync => Self::Fsync,
            DurabilityKind::Os => Self::Os,
        }
    }
}
