//! Which token a request brings, and whether a cookie's may be meant (Mercure, "Authorization").

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode, header};

use super::{Mercure, legacy};
use crate::server::auth::{Role, Token};
use crate::server::http::error::ApiError;
use crate::server::http::origin::ForeignPage;

/// The cookie that holds a token.
pub(in crate::server::http) const COOKIE: &str = "__Secure-mercure_access_token";

/// A token as a request presents it.
enum Presented<'a> {
    Header(&'a str),
    Cookie(&'a str),
}

impl Mercure {
    /// Who subscribes: by the header, by a ticket, by a token in the query, by the cookie, in this order of
    /// weight.
    pub(super) async fn subscriber(
        &self,
        headers: &HeaderMap,
        ticket: Option<&str>,
        in_query: Option<&str>,
    ) -> Result<Option<Arc<Token>>, ApiError> {
        let (header, cookie) = match self.presented(headers)? {
            Some(Presented::Header(token)) => (Some(token), None),
            Some(Presented::Cookie(token)) => (None, Some(token)),
            None => (None, None),
        };
        if let (None, Some(ticket)) = (header, ticket) {
            return match self.auth.redeem_ticket(ticket) {
                Some(token) => Ok(Some(token)),
                None => {
                    let detail = "The ticket is unknown, too old or was used before. It is good for one stream, opened \
                                  within 30 s: ask for a new one.";
                    Err(self.refused(StatusCode::UNAUTHORIZED, "invalid_token", detail.into()))
                }
            };
        }
        match header.or(in_query).or(cookie) {
            Some(token) => self.verified(token, Role::Subscriber).await,
            None => Ok(None),
        }
    }

    /// Who publishes. A cookie counts only where the request comes from a page that may publish: a browser
    /// sends it along with requests of any page (cross-site request forgery).
    pub(super) async fn publisher(&self, headers: &HeaderMap) -> Result<Option<Arc<Token>>, ApiError> {
        match self.presented(headers)? {
            Some(Presented::Header(token)) => self.verified(token, Role::Publisher).await,
            Some(Presented::Cookie(token)) => {
                self.origins.check_named(headers).map_err(|foreign| refused(&foreign))?;
                self.verified(token, Role::Publisher).await
            }
            None => Ok(None),
        }
    }

    /// Refuses what another site's page sends. What comes from no page, as from a script, passes.
    pub(super) fn check_forgery(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        self.origins.check(headers).map_err(|foreign| refused(&foreign))
    }

    async fn verified(&self, token: &str, role: Role) -> Result<Option<Arc<Token>>, ApiError> {
        self.auth.verify(token, role).await.map(Some).map_err(|reason| self.token_refused(&reason))
    }

    fn presented<'a>(&self, headers: &'a HeaderMap) -> Result<Option<Presented<'a>>, ApiError> {
        let mut authorization = headers.get_all(header::AUTHORIZATION).iter();
        if let Some(value) = authorization.next() {
            if authorization.next().is_some() {
                return Err(self.presented_wrongly("There is more than one Authorization header. Send one."));
            }
            let token = value.to_str().ok().and_then(bearer);
            let wrong = || self.presented_wrongly("The Authorization header is not `Bearer` and a token. Send that.");
            return token.map(Presented::Header).map(Some).ok_or_else(wrong);
        }
        let older = self.settings.legacy.then(|| cookie(headers, legacy::COOKIE)).flatten();
        Ok(cookie(headers, COOKIE).or(older).map(Presented::Cookie))
    }
}

/// 403: another site may have made a visitor's browser send this.
fn refused(foreign: &ForeignPage) -> ApiError {
    let detail = format!("{foreign} A token in the Authorization header needs no permission.");
    ApiError::Token { status: StatusCode::FORBIDDEN, detail, challenge: "Bearer".into() }
}

/// The token of `Bearer <token>`; the scheme's case doesn't matter (RFC 9110, 11.1).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && !token.contains(' ')).then_some(token)
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = values.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(n, _)| *n == name).map(|(_, value)| value.trim_matches('"')).find(|value| !value.is_empty())
}
