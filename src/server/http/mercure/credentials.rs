//! Which token a request brings, and whether a cookie's may be meant (Mercure, "Authorization").

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{Mercure, legacy};
use crate::server::auth::{Role, Ticket, TicketError, Token};
use crate::server::http::error::ApiError;
use crate::server::http::origin::ForeignPage;

/// The cookie that holds a token.
pub(in crate::server::http) const COOKIE: &str = "__Secure-mercure_access_token";

/// The cookie that a browser gets with a stream that it opened with a ticket: with it the ticket is good again.
const RECONNECT_COOKIE: &str = "__Secure-mercure_reconnect";

/// A token as a request presents it.
enum Presented<'a> {
    Header(&'a str),
    Cookie(&'a str),
}

/// Who opens a stream.
pub(super) struct Subscriber {
    /// The verified token; `None` for an anonymous subscriber.
    pub(super) token: Option<Arc<Token>>,
    /// The ticket that stands for it, which is redeemed when the stream is open.
    ticket: Option<Ticket>,
}

impl Mercure {
    /// Who opens a stream. The header takes precedence over a ticket, a ticket over a token in the query, and that over
    /// the cookie.
    pub(super) async fn subscriber(
        &self,
        headers: &HeaderMap,
        ticket: Option<&str>,
        in_query: Option<&str>,
    ) -> Result<Subscriber, ApiError> {
        let presented = self.presented(headers)?;
        if let (None | Some(Presented::Cookie(_)), Some(ticket)) = (&presented, ticket) {
            let opened = self.auth.ticket(ticket, cookie(headers, RECONNECT_COOKIE)).await;
            let ticket = opened.map_err(|error| self.ticket_refused(&error))?;
            return Ok(Subscriber { token: Some(ticket.token.clone()), ticket: Some(ticket) });
        }
        Ok(Subscriber { token: self.reader_token(headers, in_query).await?, ticket: None })
    }

    /// The token of a request that reads. The header takes precedence over the query, and that over the cookie.
    pub(super) async fn reader_token(
        &self,
        headers: &HeaderMap,
        in_query: Option<&str>,
    ) -> Result<Option<Arc<Token>>, ApiError> {
        let token = match (self.presented(headers)?, in_query) {
            (Some(Presented::Header(token)), _) => token,
            (_, Some(token)) => token,
            (Some(Presented::Cookie(token)), None) => token,
            (None, None) => return Ok(None),
        };
        self.verified(token, Role::Subscriber).await.map(Some)
    }

    /// Lets a subscriber have its stream. Call it when the stream is registered where a revocation finds it: a token
    /// that was revoked before is found here. Redeems the ticket, and answers the cookie with which the stream's
    /// browser can reconnect.
    pub(super) async fn admit(
        &self,
        subscriber: &Subscriber,
        headers: &HeaderMap,
    ) -> Result<Option<HeaderValue>, ApiError> {
        if let Some(token) = &subscriber.token {
            self.auth.still_valid(token).map_err(|reason| self.token_refused(&reason))?;
        }
        let Some(ticket) = &subscriber.ticket else { return Ok(None) };
        if let Some(name) = ticket.name()
            && !self.hub.log().claim(&name).await?
        {
            return Err(self.ticket_refused(&TicketError::Spent));
        }
        self.auth.redeem(ticket).map_err(|error| self.ticket_refused(&error))?;
        let proofs = ticket.proofs(cookie(headers, RECONNECT_COOKIE));
        let path = self.hub.url().path();
        // `None` and `Partitioned`, since a ticket is for pages of other sites.
        let attributes = "HttpOnly; Secure; SameSite=None; Partitioned";
        Ok(HeaderValue::from_str(&format!("{RECONNECT_COOKIE}={proofs}; Path={path}; {attributes}")).ok())
    }

    /// The token of the header `Authorization`, verified for subscribing, as text.
    pub(super) async fn bearer_token<'a>(&self, headers: &'a HeaderMap) -> Result<Option<&'a str>, ApiError> {
        let Some(Presented::Header(token)) = self.presented(headers)? else { return Ok(None) };
        self.verified(token, Role::Subscriber).await?;
        Ok(Some(token))
    }

    /// Who publishes. A cookie counts only where the request comes from a page that may publish: a browser
    /// sends it along with requests of any page (cross-site request forgery).
    pub(super) async fn publisher(&self, headers: &HeaderMap) -> Result<Option<Arc<Token>>, ApiError> {
        match self.presented(headers)? {
            Some(Presented::Header(token)) => self.verified(token, Role::Publisher).await.map(Some),
            Some(Presented::Cookie(token)) => {
                self.origins.check_named(headers).map_err(|foreign| refused(&foreign))?;
                self.verified(token, Role::Publisher).await.map(Some)
            }
            None => Ok(None),
        }
    }

    /// Refuses what another site's page sends. What comes from no page, as from a script, passes.
    pub(super) fn check_forgery(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        self.origins.check(headers).map_err(|foreign| refused(&foreign))
    }

    async fn verified(&self, token: &str, role: Role) -> Result<Arc<Token>, ApiError> {
        self.auth.verify(token, role).await.map_err(|reason| self.token_refused(&reason))
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

/// The value of the first cookie of this name that has one. Other cookies may hold any bytes.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lists = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes);
    for pair in lists.flat_map(|list| list.split(|&byte| byte == b';')) {
        let Some(value) = pair.trim_ascii().strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"="))
        else {
            continue;
        };
        match std::str::from_utf8(value) {
            Ok(value) if !value.trim_matches('"').is_empty() => return Some(value.trim_matches('"')),
            _ => {}
        }
    }
    None
}
