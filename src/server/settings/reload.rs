//! Which settings take effect while the server runs.

use super::{Options, Settings, SettingsError, report};

/// Reads settings again while a server runs with them.
pub struct Reloader {
    /// The flags and the environment.
    given: Options,
    /// What the server runs with, the file's among them.
    in_effect: Options,
}

/// What a reload changes.
pub struct Reloaded {
    /// What is in effect from now on.
    pub settings: Settings,
    /// What takes effect.
    pub changed: Vec<Change>,
    /// What waits for a restart.
    pub waiting: Vec<Change>,
}

/// A setting with another value than before.
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    /// Its name, as its flag is written.
    pub name: &'static str,
    /// Its value so far.
    pub before: String,
    /// Its value from now on, or after a restart.
    pub now: String,
}

impl Reloader {
    /// Reads the settings of a server that is about to start with these flags and environment.
    pub fn start(given: Options) -> Result<(Self, Settings), SettingsError> {
        let mut in_effect = given.clone().with_file()?;
        let settings = in_effect.clone().validate()?;
        // Its default depends on others that may change.
        in_effect.demo = Some(settings.demo.is_some());
        Ok((Self { given, in_effect }, settings))
    }

    /// Reads the file again. What can't be used changes nothing, and neither does what can't be used together with what waits
    /// for a restart.
    pub fn reload(&mut self) -> Result<Reloaded, SettingsError> {
        let new = self.given.clone().with_file()?;
        let mixed = self.in_effect.with_reloadable(&new);
        let [before, settings, new] = [self.in_effect.clone(), mixed.clone(), new].map(Options::validate);
        let (before, settings, new) = (before?, settings?, new?);
        self.in_effect = mixed;
        Ok(Reloaded { changed: changes(&before, &settings), waiting: changes(&settings, &new), settings })
    }
}

impl Options {
    /// These options with what others have of those that take effect at once. Whatever is not here waits for a restart.
    fn with_reloadable(&self, new: &Self) -> Self {
        let new = new.clone();
        Self {
            access_log: new.access_log,
            anonymous: new.anonymous,
            connection_rate_limit: new.connection_rate_limit,
            cors_origins: new.cors_origins,
            drain_delay: new.drain_delay,
            drain_time: new.drain_time,
            log_level: new.log_level,
            max_body: new.max_body,
            max_compressed_streams: new.max_compressed_streams,
            max_connections: new.max_connections,
            max_connections_per_client: new.max_connections_per_client,
            max_http2_streams: new.max_http2_streams,
            max_matchers: new.max_matchers,
            max_streams: new.max_streams,
            metrics: new.metrics,
            pattern_rate_limit: new.pattern_rate_limit,
            proxy_header: new.proxy_header,
            publish_origins: new.publish_origins,
            publish_without_token: new.publish_without_token,
            rate_limit: new.rate_limit,
            soft_refusals: new.soft_refusals,
            stream_lifetime: new.stream_lifetime,
            subscription_rate_limit: new.subscription_rate_limit,
            token_rate_limit: new.token_rate_limit,
            trusted_proxies: new.trusted_proxies,
            ..self.clone()
        }
    }
}

fn changes(before: &Settings, now: &Settings) -> Vec<Change> {
    let rows = report::rows(before).into_iter().zip(report::rows(now));
    let rows = rows.filter(|((_, before), (_, now))| before != now);
    rows.map(|((name, before), (_, now))| Change { name, before, now }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(toml: &str) -> Options {
        toml::from_str(toml).expect(toml)
    }

    /// A reload of a server that was started with the first options, to the second.
    fn reload(before: &str, after: &str) -> Result<Reloaded, SettingsError> {
        let (mut reloader, _) = Reloader::start(options(before)).expect(before);
        reloader.given = options(after);
        reloader.reload()
    }

    fn names(changes: &[Change]) -> Vec<&'static str> {
        let mut names: Vec<_> = changes.iter().map(|change| change.name).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn what_takes_effect_at_once_is_what_the_documentation_says() {
        let at_once = "access-log = true\nanonymous = false\nconnection-rate-limit = 1\ncors-origins = 'https://a.example'\n\
             drain-delay = '7s'\ndrain-time = '8s'\nlog-level = 'warn'\nmax-body = 2000000\nmax-compressed-streams = 7\n\
             max-connections = 7\nmax-connections-per-client = 7\nmax-http2-streams = 7\nmax-matchers = 7\n\
             max-streams = 7\nmetrics = true\npattern-rate-limit = 7\nproxy-header = 'forwarded'\n\
             publish-origins = 'https://a.example'\npublish-without-token = true\nrate-limit = 7\n\
             soft-refusals = false\nstream-lifetime = '7s'\nsubscription-rate-limit = 7\ntoken-rate-limit = 7\n\
             trusted-proxies = '192.0.2.1'\n";
        let later = "data = 'elsewhere'\nheartbeat = '7s'\nkeep-age = '7s'\nkeep-count = 7\nkeep-bytes = 7\nlegacy = true\n\
             listen = '127.0.0.1:1'\nmetrics-listen = '127.0.0.1:2'\npresence = false\nreader-buffer = '7KiB'\n\
             shards = 7\nstall-timeout = '7s'\nstorage = 'memory'\ndurability = 'os'\nredirect-http = false\n\
             tls-self-signed = true\ndemo = false\nmax-message = 7\n";
        let keys = |toml: &str| {
            let mut keys: Vec<_> =
                toml.lines().filter_map(|line| line.split(" = ").next()).map(str::to_owned).collect();
            keys.sort_unstable();
            keys
        };
        let reloaded = reload("", &format!("{at_once}{later}")).expect("settings");
        assert_eq!(names(&reloaded.changed), keys(at_once));
        let waiting = names(&reloaded.waiting);
        assert!(keys(later).iter().all(|name| waiting.contains(&name.as_str())), "{waiting:?}");
        assert!(keys(at_once).iter().all(|name| !waiting.contains(&name.as_str())), "{waiting:?}");
        let documentation = include_str!("../../../docs/deploy.md");
        for name in names(&reloaded.changed) {
            assert!(documentation.contains(&format!("`{name}`")), "{name}");
        }
    }

    #[test]
    fn a_default_goes_by_what_is_in_effect_and_not_by_what_waits() {
        for after in ["listen = '127.0.0.1:3000'", ""] {
            let reloaded = reload("listen = '0.0.0.0:3000'", after).expect("settings");
            assert!(!reloaded.settings.mercure.anonymous && reloaded.settings.demo.is_none(), "{after}");
            assert_eq!(names(&reloaded.changed), Vec::<&str>::new(), "{after}");
            assert!(names(&reloaded.waiting).contains(&"listen"), "{after}");
        }
        let reloaded = reload("", "resource = 'https://hub.example'").expect("settings");
        assert!(reloaded.settings.mercure.anonymous && reloaded.settings.demo.is_some());
    }

    #[test]
    fn what_can_not_be_used_beside_what_waits_changes_nothing() {
        let refused = |before, after| reload(before, after).map(|_| ()).expect_err("a refusal").to_string();
        let error = refused("trusted-proxies = '192.0.2.1'\nproxy-protocol = true", "");
        assert!(error.contains("--proxy-protocol"), "{error}");
        let error = refused("max-message = 100000", "max-body = 2000");
        assert!(error.contains("--max-message"), "{error}");
    }
}
