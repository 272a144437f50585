//! The host names that this server answers to, and the origin under which a visitor reaches it.
//!
//! Another site can point its own name at this server (DNS rebinding). A browser then treats the server as part of that
//! site, so requests under unknown names are refused.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::ApiError;
use super::{App, callers};
use crate::wire::paths;

/// Refuses requests for other hosts with 421, once the operator has set the public URL. Health checks are answered under
/// any name, and so are requests for an IP address or for localhost, which no other site can point here.
pub(super) async fn check(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let Some(public) = &app.public_host else { return next.run(request).await };
    let named = name(request.headers());
    let known = |host: &str| host.eq_ignore_ascii_case(public) || is_local(host);
    let is_for_health = [paths::PING, paths::LIVE, paths::READY].contains(&request.uri().path());
    if is_for_health || named.is_some_and(known) {
        return next.run(request).await;
    }
    let detail = format!("This server is {public}. Ask it under that name; the operator sets it with --resource.");
    ApiError::Misdirected(detail).into_response()
}

/// Whether a host, with or without a port, is an IP address or localhost.
pub(super) fn is_local(host: &str) -> bool {
    let host = without_port(host).trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok()
}

/// The origin under which the visitor reaches this server, as far as the request says.
pub(in crate::server) fn origin(headers: &HeaderMap) -> String {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let host = text("host").filter(|host| host.bytes().all(is_host_byte)).unwrap_or("127.0.0.1:3000");
    let scheme = text(callers::FORWARDED_PROTO.as_str()).filter(|scheme| *scheme == "https").unwrap_or("http");
    format!("{scheme}://{host}")
}

/// The name by which the client has asked for this server, without a port.
pub(super) fn name(headers: &HeaderMap) -> Option<&str> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    Some(without_port(host)).filter(|host| !host.is_empty() && host.bytes().all(is_host_byte))
}

/// What a host and port may hold. The origin stands in shell commands that visitors copy: a forged
/// `Host` must not bring its own.
fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte)
}

fn without_port(host: &str) -> &str {
    let (name, port) = host.rsplit_once(':').unwrap_or((host, ""));
    if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty() { name } else { host }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_localhost_are_local_with_or_without_a_port() {
        for host in ["localhost", "LOCALHOST:3000", "127.0.0.1", "10.0.0.1:80", "[::1]", "[::1]:3000"] {
            assert!(is_local(host), "{host}");
        }
        for host in ["example.com", "localhost.example.com:3000", "127.0.0.1.nip.io", "", ":80", "1.2.3"] {
            assert!(!is_local(host), "{host}");
        }
    }
}
