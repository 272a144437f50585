//! The settings of a cluster.

use std::fs;
use std::path::PathBuf;

use url::Url;

use super::{Options, SettingsError, invalid};
use crate::server::log::{ClusterOptions, ClusterSecret, Credentials};
use crate::server::this_machine;

/// The name of the stream, and what its subjects begin with.
const DEFAULT_STREAM: &str = "tidings";
/// Tolerates the failure of one server.
const DEFAULT_REPLICAS: usize = 3;

/// `None` without NATS servers.
pub(super) fn resolve(options: &Options) -> Result<Option<ClusterOptions>, SettingsError> {
    if options.cluster.is_empty() {
        return match without(options) {
            Some(name) => Err(invalid(name, "", "has no effect without --cluster: add it, or remove this setting")),
            None => Ok(None),
        };
    }
    for server in &options.cluster {
        check_server(server)?;
    }
    let stream = options.cluster_stream.clone().unwrap_or_else(|| DEFAULT_STREAM.into());
    if stream.is_empty() || !stream.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')) {
        return Err(invalid("cluster-stream", stream, "must be letters, digits, hyphens and underscores"));
    }
    let replicas = options.cluster_replicas.unwrap_or(DEFAULT_REPLICAS);
    if ![1, 3, 5].contains(&replicas) {
        return Err(invalid(
            "cluster-replicas",
            replicas,
            "must be 1, 3 or 5: an even number tolerates no more failures",
        ));
    }
    let node = options.cluster_node.clone().unwrap_or_else(this_machine::name);
    if node.is_empty() || node.chars().count() > 64 || node.chars().any(char::is_control) {
        return Err(invalid("cluster-node", node.escape_debug(), "must be a name of at most 64 characters"));
    }
    Ok(Some(ClusterOptions {
        servers: options.cluster.clone(),
        stream,
        node,
        replicas,
        creates_stream: true,
        secret: secret(options)?,
        credentials: credentials(options)?,
        ca_file: options.cluster_ca_file.clone(),
        certificate: certificate(options)?,
        patience: ClusterOptions::PATIENCE,
    }))
}

/// Each setting's name and value.
pub(super) fn rows(cluster: Option<&ClusterOptions>) -> [(&'static str, String); 12] {
    let value = |value: fn(&ClusterOptions) -> String| cluster.map(value).unwrap_or_default();
    let path = |path: Option<&PathBuf>| path.map(|path| path.display().to_string()).unwrap_or_default();
    let (mut credentials, mut user, mut password, mut token) = (None, None, None, None);
    match cluster.map(|cluster| &cluster.credentials) {
        Some(Credentials::File(file)) => credentials = Some(file),
        Some(Credentials::Password(name, file)) => (user, password) = (Some(name.clone()), Some(file)),
        Some(Credentials::Token(file)) => token = Some(file),
        Some(Credentials::None) | None => {}
    }
    let certificate = cluster.and_then(|cluster| cluster.certificate.as_ref());
    [
        ("cluster", value(|cluster| cluster.servers.join(","))),
        ("cluster-secret-file", value(|_| "(given)".into())),
        ("cluster-stream", value(|cluster| cluster.stream.clone())),
        ("cluster-replicas", value(|cluster| cluster.replicas.to_string())),
        ("cluster-node", value(|cluster| cluster.node.clone())),
        ("cluster-credentials-file", path(credentials)),
        ("cluster-user", user.unwrap_or_default()),
        ("cluster-password-file", path(password)),
        ("cluster-token-file", path(token)),
        ("cluster-ca-file", path(cluster.and_then(|cluster| cluster.ca_file.as_ref()))),
        ("cluster-certificate-file", path(certificate.map(|(certificate, _)| certificate))),
        ("cluster-key-file", path(certificate.map(|(_, key)| key))),
    ]
}

/// A cluster setting that is given without --cluster.
fn without(options: &Options) -> Option<&'static str> {
    let given = [
        ("cluster-stream", options.cluster_stream.is_some()),
        ("cluster-node", options.cluster_node.is_some()),
        ("cluster-replicas", options.cluster_replicas.is_some()),
        ("cluster-secret-file", options.cluster_secret_file.is_some()),
        ("cluster-credentials-file", options.cluster_credentials_file.is_some()),
        ("cluster-user", options.cluster_user.is_some()),
        ("cluster-password-file", options.cluster_password_file.is_some()),
        ("cluster-token-file", options.cluster_token_file.is_some()),
        ("cluster-ca-file", options.cluster_ca_file.is_some()),
        ("cluster-certificate-file", options.cluster_certificate_file.is_some()),
        ("cluster-key-file", options.cluster_key_file.is_some()),
    ];
    given.iter().find(|(_, is_given)| *is_given).map(|(name, _)| *name)
}

fn check_server(server: &str) -> Result<(), SettingsError> {
    let url = Url::parse(server).ok();
    let has_secret = url.as_ref().is_some_and(|url| !url.username().is_empty() || url.password().is_some());
    if has_secret || server.contains('@') {
        let hint =
            "must have no user or password, which would appear in logs: use --cluster-user and --cluster-password-file";
        return Err(invalid("cluster", server.rsplit('@').next().unwrap_or_default(), hint));
    }
    match url {
        Some(url) if matches!(url.scheme(), "nats" | "tls") && url.has_host() => Ok(()),
        _ => Err(invalid("cluster", server, "must be the URLs of NATS servers, for example nats://10.0.0.1:4222")),
    }
}

fn secret(options: &Options) -> Result<ClusterSecret, SettingsError> {
    let hint = "needs a file with a secret of 32 characters or more, the same on all nodes: make one with `openssl rand -hex \
                32`";
    let Some(file) = &options.cluster_secret_file else { return Err(invalid("cluster-secret-file", "", hint)) };
    let text = fs::read_to_string(file)
        .map_err(|error| invalid("cluster-secret-file", file.display(), format!("can't be read: {error}")))?;
    ClusterSecret::parse(&text).ok_or_else(|| invalid("cluster-secret-file", file.display(), hint))
}

fn credentials(options: &Options) -> Result<Credentials, SettingsError> {
    let given = (
        &options.cluster_credentials_file,
        &options.cluster_user,
        &options.cluster_password_file,
        &options.cluster_token_file,
    );
    Ok(match given {
        (None, None, None, None) => Credentials::None,
        (Some(file), None, None, None) => Credentials::File(file.clone()),
        (None, Some(user), Some(file), None) => Credentials::Password(user.clone(), file.clone()),
        (None, None, None, Some(file)) => Credentials::Token(file.clone()),
        (None, Some(user), None, None) => return Err(invalid("cluster-user", user, "needs --cluster-password-file")),
        (None, None, Some(file), None) => {
            return Err(invalid("cluster-password-file", file.display(), "needs --cluster-user"));
        }
        _ => {
            let hint = "can't be used together with other credentials: one of a credentials file, a user with a password, \
                        and a token";
            return Err(invalid("cluster-credentials-file", "", hint));
        }
    })
}

fn certificate(options: &Options) -> Result<Option<(PathBuf, PathBuf)>, SettingsError> {
    match (&options.cluster_certificate_file, &options.cluster_key_file) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => Ok(Some((certificate.clone(), key.clone()))),
        (Some(file), None) => Err(invalid("cluster-certificate-file", file.display(), "needs --cluster-key-file")),
        (None, Some(file)) => Err(invalid("cluster-key-file", file.display(), "needs --cluster-certificate-file")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(toml: &str) -> Result<Option<ClusterOptions>, String> {
        let options: Options = toml::from_str(toml).expect("options");
        resolve(&options).map_err(|error| error.to_string())
    }

    fn secret_file(folder: &tempfile::TempDir) -> String {
        let path = folder.path().join("secret");
        fs::write(&path, "0123456789abcdef0123456789abcdef\n").expect("a file");
        format!("cluster-secret-file = '{}'\n", path.display())
    }

    #[test]
    fn without_servers_there_is_no_cluster_and_nothing_about_it() {
        assert_eq!(resolved(""), Ok(None));
        let error = resolved("cluster-stream = 'x'").expect_err("a setting without a cluster");
        assert!(error.starts_with("--cluster-stream : has no effect without --cluster"), "{error}");
    }

    #[test]
    fn the_defaults_are_for_three_servers() {
        let folder = tempfile::tempdir().expect("a folder");
        let toml = format!("cluster = 'nats://a:4222,nats://b:4222'\n{}", secret_file(&folder));
        let cluster = resolved(&toml).expect("settings").expect("a cluster");
        assert_eq!((cluster.servers.len(), cluster.replicas, &*cluster.stream), (2, 3, "tidings"));
        assert!(!cluster.node.is_empty());
    }

    #[test]
    fn nonsense_is_refused_with_the_settings_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let secret = secret_file(&folder);
        for (toml, says) in [
            ("cluster = 'a:4222'", "--cluster a:4222: must be"),
            ("cluster = 'http://a'", "--cluster http://a: must be"),
            ("cluster = 'nats://me:s3cret@a:4222'", "--cluster a:4222: must have no user"),
            ("cluster = 'nats://a'\ncluster-replicas = 2", "--cluster-replicas 2: must be 1, 3 or 5"),
            ("cluster = 'nats://a'\ncluster-stream = 'a.b'", "--cluster-stream a.b"),
            ("cluster = 'nats://a'\ncluster-user = 'me'", "--cluster-user me: needs --cluster-password-file"),
            ("cluster = 'nats://a'\ncluster-token-file = 'x'\ncluster-credentials-file = 'y'", "other credentials"),
            ("cluster = 'nats://a'\ncluster-key-file = 'x'", "--cluster-key-file x: needs"),
        ] {
            let error = resolved(&format!("{toml}\n{secret}")).expect_err(toml);
            assert!(error.contains(says) && !error.contains("s3cret"), "{toml}: {error}");
        }
        let error = resolved("cluster = 'nats://a'").expect_err("no secret");
        assert!(error.contains("--cluster-secret-file") && error.contains("openssl rand"), "{error}");
    }
}
