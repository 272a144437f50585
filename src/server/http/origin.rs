//! Which pages may make a visitor's browser publish. A browser sends what any page asks it to, with the visitor's
//! cookies, and to servers that only the visitor can reach (cross-site request forgery).

use axum::http::{HeaderMap, HeaderValue, header};
use thiserror::Error;
use url::Url;

use super::host;
use crate::server::settings::CorsOrigins;

/// The origins whose pages may publish: the hub's own, and those that the operator allows.
pub(super) struct PublishOrigins {
    allowed: CorsOrigins,
    own: String,
}

/// Why a request is refused: its `Display` is for whoever sent it.
#[derive(Debug, Error)]
pub(super) enum ForeignPage {
    /// It names the origin of a page that may not publish.
    #[error(
        "The request comes from a page of {0}, which may not publish here. The operator allows origins with \
         --publish-origins, or names the server's public URL with --resource."
    )]
    Origin(String),
    /// The browser says that it comes from another site, and hides which.
    #[error(
        "The request comes from a page of another site, which may not publish here. The operator allows origins with \
         --publish-origins."
    )]
    Hidden,
    /// It has to name the page that it comes from, and does not.
    #[error("The request names no page that it comes from. Send the header Origin.")]
    Unnamed,
}

impl PublishOrigins {
    pub(super) fn new(allowed: CorsOrigins, hub: &Url) -> Self {
        Self { allowed, own: hub.origin().ascii_serialization() }
    }

    /// Refuses a request from a page that may not publish. A request that comes from no page passes, as a script's.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), ForeignPage> {
        match origin_of(headers) {
            Some(origin) => self.check_origin(origin, headers),
            // What the page hides, the browser says of it.
            None => match headers.get("sec-fetch-site").map(HeaderValue::as_bytes) {
                Some(b"cross-site" | b"same-site") if self.allowed != CorsOrigins::Any => Err(ForeignPage::Hidden),
                _ => Ok(()),
            },
        }
    }

    /// As [`PublishOrigins::check`], and refuses a request that does not name its page too.
    pub(super) fn check_named(&self, headers: &HeaderMap) -> Result<(), ForeignPage> {
        let origin = origin_of(headers).ok_or(ForeignPage::Unnamed)?;
        self.check_origin(origin, headers)
    }

    fn check_origin(&self, origin: String, headers: &HeaderMap) -> Result<(), ForeignPage> {
        let is_allowed = match &self.allowed {
            CorsOrigins::Any => true,
            CorsOrigins::List(origins) => origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()),
        };
        if is_allowed || self.is_own(&origin, headers) { Ok(()) } else { Err(ForeignPage::Origin(origin)) }
    }

    /// Whether this is the hub's origin. A server that is reached by an address or as localhost is its own origin there:
    /// other names could be another site's, made to lead here (DNS rebinding).
    fn is_own(&self, origin: &str, headers: &HeaderMap) -> bool {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).filter(|host| host::is_local(host));
        self.own == origin || (host.is_some() && host::origin(headers) == origin)
    }
}

/// The origin of the page that sent the request, as far as the browser says.
fn origin_of(headers: &HeaderMap) -> Option<String> {
    // Bytes that aren't UTF-8 make an origin that nobody allows.
    let text = |name| headers.get(name).map(|value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()));
    if let Some(origin) = text(header::ORIGIN) {
        return Some(origin.into_owned());
    }
    let referer = Url::parse(&text(header::REFERER)?).ok()?;
    Some(referer.origin().ascii_serialization())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    #[track_caller]
    fn check(allowed: CorsOrigins, pairs: &[(&'static str, &'static str)], passes: bool) {
        let hub = Url::parse("https://hub.example/.well-known/mercure").expect("a URL");
        let origins = PublishOrigins::new(allowed, &hub);
        let pair = |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        let headers = pairs.iter().map(pair).collect();
        assert_eq!(origins.check(&headers).is_ok(), passes, "{pairs:?}");
    }

    #[test]
    fn a_page_publishes_where_it_is_the_hubs_own_or_allowed_and_a_script_everywhere() {
        let list = || "https://a.example".parse().expect("origins");
        for (pairs, passes) in [
            (&[][..], true),
            (&[("origin", "https://hub.example")], true),
            (&[("origin", "https://a.example")], true),
            (&[("origin", "https://b.example")], false),
            (&[("origin", "null")], false),
            (&[("referer", "https://hub.example/a?b")], true),
            (&[("referer", "https://b.example/")], false),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("origin", "https://a.example"), ("sec-fetch-site", "cross-site")], true),
            (&[("origin", "http://127.0.0.1:3000"), ("host", "127.0.0.1:3000")], true),
            (&[("origin", "http://localhost:3000"), ("host", "localhost:3000")], true),
            (&[("origin", "http://localhost:8080"), ("host", "localhost:3000")], false),
            // A name that was made to lead here.
            (&[("origin", "http://b.example:3000"), ("host", "b.example:3000")], false),
        ] {
            check(list(), pairs, passes);
            check(CorsOrigins::Any, pairs, true);
        }
    }
}
