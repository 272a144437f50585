//! The hub: its URL, the token for it, and connections to it.

use std::time::Duration;

use clap::Args;
use reqwest::header::AUTHORIZATION;
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response};
use url::Url;

use super::error::{ClientError, cause};
use super::token::{Token, TokenArgs};
use crate::server::this_machine::is_this_machine;
use crate::wire::paths;

/// Where `tidings serve` listens by default.
const DEFAULT_HUB: &str = "http://127.0.0.1:3000/.well-known/mercure";

/// Longer than a handshake over a bad connection takes, and short enough to wait for.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Flags that say which hub, and with which token.
#[derive(Args)]
#[command(next_help_heading = "Hub")]
pub struct EndpointArgs {
    /// The hub's URL. Without a path, /.well-known/mercure is added
    #[arg(long, env = "TIDINGS_HUB", value_name = "URL", default_value = DEFAULT_HUB, value_parser = hub)]
    hub: Url,

    #[command(flatten)]
    token: TokenArgs,

    /// Send the token over plain http to another machine, where everybody on the way can read it
    #[arg(long)]
    insecure: bool,
}

/// An HTTP client for one hub. It keeps connections alive.
pub(super) struct Endpoint {
    http: Client,
    hub: Url,
    token: Token,
}

impl EndpointArgs {
    /// Makes a client for the hub. Fails rather than send the token in clear text to another machine.
    pub(super) fn endpoint(self) -> Result<Endpoint, ClientError> {
        let token = self.token.token()?;
        if token.is_present() && self.hub.scheme() == "http" && !is_this_machine(&self.hub) && !self.insecure {
            return Err(ClientError::Usage(format!(
                "{} is plain http: everybody on the way could read the token, so it was not sent. Use https, or \
                 --insecure if you trust the network",
                self.hub
            )));
        }
        // Following a redirect would send the request, perhaps with the token, to another server.
        let http = Client::builder().redirect(Policy::none()).connect_timeout(CONNECT_TIMEOUT);
        let http = http.user_agent(concat!("tidings/", env!("CARGO_PKG_VERSION"))).tcp_keepalive(CONNECT_TIMEOUT);
        // Requests to this machine must not go through a proxy.
        let http = if is_this_machine(&self.hub) { http.no_proxy() } else { http };
        let http = http.build().map_err(|error| ClientError::Runtime(std::io::Error::other(cause(&error))))?;
        Ok(Endpoint { http, hub: self.hub, token })
    }
}

impl Endpoint {
    /// The hub's URL, with its query if it has one.
    pub(super) fn hub(&self) -> &Url {
        &self.hub
    }

    /// Whether requests carry a token.
    pub(super) fn has_token(&self) -> bool {
        self.token.is_present()
    }

    /// Sends a request with the current token, and returns the response whatever its status, its body unread.
    pub(super) async fn send(&self, request: impl FnOnce(&Client) -> RequestBuilder) -> Result<Response, ClientError> {
        let mut request = request(&self.http);
        if let Some(value) = self.token.authorization()? {
            request = request.header(AUTHORIZATION, value);
        }
        request.send().await.map_err(|error| {
            if error.is_connect() { self.unreachable(&error) } else { ClientError::Broken(cause(&error)) }
        })
    }

    fn unreachable(&self, error: &reqwest::Error) -> ClientError {
        let hub = self.hub.origin().ascii_serialization();
        let hint = is_refused(error).then(|| {
            let port = self.hub.port_or_known_default().unwrap_or_default();
            match is_this_machine(&self.hub) {
                true => format!(
                    ". Nothing listens on port {port}: start a hub with `tidings serve --listen 127.0.0.1:{port}`, or \
                     name another with --hub"
                ),
                false => format!(
                    ". Nothing listens on port {port} there: start a hub on that machine with `tidings serve --listen \
                     0.0.0.0:{port}`, or name another with --hub"
                ),
            }
        });
        ClientError::Unreachable { hub, cause: cause(error), hint }
    }
}

fn is_refused(error: &reqwest::Error) -> bool {
    let mut next: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = next {
        if error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::ConnectionRefused) {
            return true;
        }
        next = error.source();
    }
    false
}

fn hub(text: &str) -> Result<Url, String> {
    let hint = "write it like https://example.com or http://127.0.0.1:3000/.well-known/mercure";
    if !text.contains("://") {
        return Err(format!("it must begin with http:// or https://; {hint}"));
    }
    let mut url = Url::parse(text).map_err(|error| format!("{error}; {hint}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("a hub's URL is http or https, not {}; {hint}", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a hub's URL has no user name or password: give a token with --token-file".to_owned());
    }
    if url.path() == "/" {
        // The well-known path, unless the URL names another.
        url.set_path(paths::HUB);
    }
    url.set_fragment(None);
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_without_a_path_is_that_of_a_hub_at_its_usual_place() {
        for (text, url) in [
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000/.well-known/mercure"),
            ("https://Example.com/", "https://example.com/.well-known/mercure"),
            ("https://example.com?a=b#c", "https://example.com/.well-known/mercure?a=b"),
            ("https://example.com/hub", "https://example.com/hub"),
        ] {
            assert_eq!(hub(text).map(String::from).as_deref(), Ok(url), "{text}");
        }
        assert_eq!(hub(DEFAULT_HUB).map(String::from).as_deref(), Ok(DEFAULT_HUB));
    }

    #[test]
    fn what_is_no_hubs_url_is_refused() {
        for text in ["", "localhost:3000", "example.com/hub", "ftp://example.com", "http://", "https://a:b@example.com"]
        {
            assert!(hub(text).is_err(), "{text}");
        }
    }
}
