//! Which settings take effect while the server runs.

use super::Settings;

/// Their names, as their flags are written. Whatever is not here waits for a restart.
pub const RELOADABLE: [&str; 25] = [
    "access-log",
    "anonymous",
    "connection-rate-limit",
    "cors-origins",
    "drain-delay",
    "drain-time",
    "log-level",
    "max-body",
    "max-compressed-streams",
    "max-connections",
    "max-connections-per-client",
    "max-http2-streams",
    "max-matchers",
    "max-streams",
    "metrics",
    "pattern-rate-limit",
    "proxy-header",
    "publish-origins",
    "publish-without-token",
    "rate-limit",
    "soft-refusals",
    "stream-lifetime",
    "subscription-rate-limit",
    "token-rate-limit",
    "trusted-proxies",
];

impl Settings {
    /// These settings with what others have of those that take effect at once.
    #[must_use]
    pub fn with_reloaded(&self, new: &Self) -> Self {
        Self {
            access_log: new.access_log,
            cors_origins: new.cors_origins.clone(),
            drain: new.drain,
            limits: new.limits.clone(),
            log_level: new.log_level.clone(),
            metrics: new.metrics,
            proxy_header: new.proxy_header,
            soft_refusals: new.soft_refusals,
            trusted_proxies: new.trusted_proxies.clone(),
            mercure: self.mercure.with_reloaded(&new.mercure),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::settings::{Options, report};

    #[test]
    fn what_takes_effect_at_once_is_what_is_said_to_and_nothing_else() {
        let settings = |toml: &str| {
            let options: Options = toml::from_str(toml).expect(toml);
            options.resolve().expect(toml)
        };
        let before = settings("");
        let after = settings(
            "access-log = true\nanonymous = false\nconnection-rate-limit = 1\ncors-origins = 'https://a.example'\n\
             drain-delay = '7s'\ndrain-time = '8s'\nlog-level = 'warn'\nmax-body = 2000000\nmax-compressed-streams = 7\nmax-connections = 7\n\
             max-connections-per-client = 7\nmax-http2-streams = 7\nmax-matchers = 7\nmax-streams = 7\nmetrics = true\n\
             pattern-rate-limit = 7\nproxy-header = 'forwarded'\npublish-origins = 'https://a.example'\n\
             publish-without-token = true\nrate-limit = 7\nsoft-refusals = false\nstream-lifetime = '7s'\n\
             subscription-rate-limit = 7\ntoken-rate-limit = 7\ntrusted-proxies = '192.0.2.1'\n\
             data = 'elsewhere'\nheartbeat = '7s'\nkeep-age = '7s'\nkeep-count = 7\nkeep-bytes = 7\nlegacy = true\n\
             listen = '127.0.0.1:1'\nmetrics-listen = '127.0.0.1:2'\npresence = false\nreader-buffer = '7KiB'\n\
             resource = 'https://hub.example'\nshards = 7\nstall-timeout = '7s'\nstorage = 'memory'\n\
             durability = 'os'\nproxy-protocol = true\nredirect-http = false\ntls-self-signed = true\ndemo = false",
        );
        let reloaded = before.with_reloaded(&after);
        let rows = |settings: &Settings| report::rows(settings);
        for ((name, before), ((_, now), (_, new))) in
            rows(&before).into_iter().zip(rows(&reloaded).into_iter().zip(rows(&after)))
        {
            let expected = if RELOADABLE.contains(&name) { &new } else { &before };
            assert_eq!(&now, expected, "{name}");
        }
        for name in RELOADABLE {
            let value = |settings| rows(settings).into_iter().find(|row| row.0 == name).expect(name).1;
            assert_ne!(value(&before), value(&after), "{name}");
        }
    }
}
