//! The connection to the NATS servers.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, ConnectError, ConnectOptions, Event, ServerAddr};

use super::{ClusterOptions, Credentials};
use crate::server::log::OpenError;

/// A server that leaves two pings unanswered is disconnected.
const PING_EVERY: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest backoff between two connection attempts.
const MAX_RECONNECT_DELAY: Duration = Duration::from_secs(1);
/// Maximum number of live messages in the subscription buffer. The client drops more; the follower fetches them.
const LIVE_CAPACITY: usize = 4096;

/// Connects to the NATS servers.
pub(super) struct Connector {
    servers: Vec<ServerAddr>,
    options: ConnectOptions,
}

impl Connector {
    /// Reads the credentials. `events` is called with each change of the connection.
    pub(super) fn new(
        options: &ClusterOptions,
        events: impl Fn(Event) + Send + Sync + 'static,
    ) -> Result<Self, OpenError> {
        let servers = options.servers.iter().map(|url| url.parse::<ServerAddr>()).collect::<Result<Vec<_>, _>>();
        let servers = servers.map_err(|error| OpenError::Cluster(format!("--cluster: {error}")))?;
        let events = Arc::new(events);
        let connect = ConnectOptions::new()
            .name(format!("tidings {}", options.node))
            .retry_on_initial_connect()
            .ping_interval(PING_EVERY)
            .connection_timeout(CONNECT_TIMEOUT)
            .subscription_capacity(LIVE_CAPACITY)
            .reconnect_delay_callback(|tries| Duration::from_millis(50 << tries.min(5)).min(MAX_RECONNECT_DELAY))
            .event_callback(move |event| {
                let events = events.clone();
                async move { events(event) }
            });
        let mut connect = match &options.credentials {
            Credentials::None => connect,
            Credentials::File(file) => {
                let setting = "cluster-credentials-file";
                let credentials = connect.credentials(&read(setting, file)?);
                credentials.map_err(|error| unreadable(setting, file, &error))?
            }
            Credentials::Password(user, file) => {
                connect.user_and_password(user.clone(), read("cluster-password-file", file)?)
            }
            Credentials::Token(file) => connect.token(read("cluster-token-file", file)?),
        };
        if let Some(file) = &options.ca_file {
            connect = connect.add_root_certificates(file.clone()).require_tls(true);
        }
        if let Some((certificate, key)) = &options.certificate {
            connect = connect.add_client_certificate(certificate.clone(), key.clone()).require_tls(true);
        }
        Ok(Self { servers, options: connect })
    }

    /// Returns a client that connects in the background and reconnects for ever.
    pub(super) async fn connect(self) -> Result<Client, ConnectError> {
        self.options.connect(self.servers).await
    }
}

fn read(setting: &str, file: &Path) -> Result<String, OpenError> {
    let text = std::fs::read_to_string(file).map_err(|error| unreadable(setting, file, &error))?;
    Ok(text.trim_end().to_owned())
}

fn unreadable(setting: &str, file: &Path, error: &std::io::Error) -> OpenError {
    OpenError::Cluster(format!("--{setting}: {} can't be read: {error}", file.display()))
}
