//! The settings in words, for an operator who wants to see what is in effect.

use std::time::Duration;

use bytesize::ByteSize;

use super::{AcmeChallenge, CorsOrigins, ProxyHeader, Settings, Span, TlsSettings, cluster};
use crate::server::auth::KeySource;
use crate::server::log::{Durability, Storage};

/// Each setting's name, as its flag is written, and its value.
pub fn rows(settings: &Settings) -> Vec<(&'static str, String)> {
    let Settings { mercure, log, tls, demo, limits, traces, .. } = settings;
    let keep = &log.retention.all;
    let otlp_headers = traces.as_ref().and_then(|traces| traces.headers_file.as_ref());
    let (certificates, keys) = match tls {
        Some(TlsSettings::Files(files)) => (
            list(files.iter().map(|files| files.certificate.display())),
            list(files.iter().map(|files| files.key.display())),
        ),
        _ => (String::new(), String::new()),
    };
    let acme = match tls {
        Some(TlsSettings::Acme(acme)) => Some(acme),
        _ => None,
    };
    let url = mercure.url(settings.listening_url());
    let auth = mercure.auth(&url, &settings.data);
    let first = auth.issuers.first();
    let key = |source: Option<&KeySource>| match source {
        Some(KeySource::File(path)) => path.display().to_string(),
        _ => "made in the data folder".into(),
    };
    let demo_value = |value: Option<String>| value.unwrap_or_else(|| "(the demo is off)".into());
    let rows = vec![
        ("listen", list(&settings.listen)),
        ("data", settings.data.display().to_string()),
        ("tls-certificate-file", certificates),
        ("tls-key-file", keys),
        ("tls-self-signed", matches!(tls, Some(TlsSettings::SelfSigned(_))).to_string()),
        ("acme-domains", acme.map(|acme| acme.domains.join(",")).unwrap_or_default()),
        ("acme-contact", acme.map(|acme| acme.contacts.join(",")).unwrap_or_default()),
        ("acme-directory", acme.map(|acme| acme.directory.clone()).unwrap_or_default()),
        ("acme-challenge", acme.map(|acme| challenge(acme.challenge).into()).unwrap_or_default()),
        ("acme-root-file", acme.and_then(|acme| Some(acme.root.as_ref()?.display().to_string())).unwrap_or_default()),
        ("redirect-http", settings.redirect_http.to_string()),
        ("metrics-listen", list(&settings.metrics_listen)),
        ("metrics", settings.metrics.to_string()),
        ("otlp-endpoint", traces.as_ref().map(|traces| traces.endpoint.to_string()).unwrap_or_default()),
        ("otlp-sample", traces.as_ref().map_or("(nothing is traced)".into(), |traces| traces.sample.to_string())),
        ("otlp-headers-file", otlp_headers.map(|path| path.display().to_string()).unwrap_or_default()),
        ("drain-delay", span(settings.drain.delay)),
        ("drain-time", span(settings.drain.time)),
        ("storage", if log.storage == Storage::Memory { "memory" } else { "disk" }.into()),
        ("durability", if log.durability == Durability::Fsync { "fsync" } else { "os" }.into()),
        ("keep-age", keep.age.map_or_else(no_limit, span)),
        ("keep-count", limit(keep.count)),
        ("keep-bytes", keep.bytes.map_or_else(no_limit, |bytes| ByteSize::b(bytes).to_string())),
        ("resource", url.to_string()),
        ("issuer", list(auth.issuers.iter().map(|issuer| &issuer.issuer))),
        ("publisher-key-file", key(first.map(|issuer| &issuer.publisher))),
        ("subscriber-key-file", key(first.map(|issuer| &issuer.subscriber))),
        ("anonymous", mercure.anonymous.to_string()),
        ("publish-without-token", mercure.publish_without_token.to_string()),
        ("publish-origins", origins(&mercure.publish_origins)),
        ("legacy", mercure.legacy.to_string()),
        ("presence", mercure.presence.to_string()),
        ("stream-lifetime", mercure.stream_lifetime.map_or_else(no_limit, span)),
        ("cors-origins", origins(&settings.cors_origins)),
        ("heartbeat", span(settings.heartbeat)),
        ("stall-timeout", span(settings.stall_timeout)),
        ("soft-refusals", settings.soft_refusals.to_string()),
        ("reader-buffer", ByteSize::b(settings.reader_buffer as u64).to_string()),
        ("shards", settings.shards.to_string()),
        ("demo", demo.is_some().to_string()),
        ("burst-repeat", demo_value(demo.map(|demo| demo.burst_repeat.to_string()))),
        ("burst-interval", demo_value(demo.map(|demo| span(demo.burst_interval)))),
        ("max-message", demo_value(demo.map(|demo| demo.max_message.to_string()))),
        ("rate-limit", limit(limits.rate)),
        ("token-rate-limit", limit(limits.token_rate)),
        ("subscription-rate-limit", limit(limits.subscription_rate)),
        ("pattern-rate-limit", limit(limits.pattern_rate)),
        ("connection-rate-limit", limit(limits.connection_rate)),
        ("max-body", limits.max_body.to_string()),
        ("trusted-proxies", settings.trusted_proxies.to_string()),
        ("proxy-protocol", settings.proxy_protocol.to_string()),
        ("proxy-header", proxy_header(settings.proxy_header).into()),
        ("max-connections", limits.max_connections.to_string()),
        ("max-connections-per-client", limit(limits.max_connections_per_client)),
        ("max-streams", limit(limits.max_streams)),
        ("max-matchers", limits.max_matchers.to_string()),
        ("max-compressed-streams", limits.max_compressed_streams.to_string()),
        ("max-http2-streams", limits.max_http2_streams.to_string()),
        ("access-log", settings.access_log.to_string()),
        ("log-level", settings.log_level.clone()),
        ("log-format", settings.log_format.map_or("by terminal".into(), |format| format!("{format:?}").to_lowercase())),
    ];
    rows.into_iter().chain(cluster::rows(log.cluster.as_ref())).collect()
}

fn list(items: impl IntoIterator<Item: ToString>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(",")
}

fn span(duration: Duration) -> String {
    Span(duration).to_string()
}

fn limit(limit: Option<impl ToString>) -> String {
    limit.map_or_else(no_limit, |limit| limit.to_string())
}

fn no_limit() -> String {
    "no limit".into()
}

fn origins(origins: &CorsOrigins) -> String {
    match origins {
        CorsOrigins::Any => "*".into(),
        CorsOrigins::List(origins) => list(origins.iter().map(|origin| String::from_utf8_lossy(origin.as_bytes()))),
    }
}

fn challenge(challenge: AcmeChallenge) -> &'static str {
    match challenge {
        AcmeChallenge::TlsAlpn01 => "tls-alpn-01",
        AcmeChallenge::Http01 => "http-01",
    }
}

fn proxy_header(header: ProxyHeader) -> &'static str {
    match header {
        ProxyHeader::XForwardedFor => "x-forwarded-for",
        ProxyHeader::Forwarded => "forwarded",
    }
}
