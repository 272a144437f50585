//! `GET` and `QUERY` on the hub's URL: a stream of what the matchers match. `POST` there is in `publish`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Router, handler::Handler};

use super::{Mercure, publish};
use crate::server::http::error::ApiError;
use crate::server::http::last_event_id::LastEventId;
use crate::server::http::limits::client_key;
use crate::server::http::params::Params;
use crate::server::http::stream::StreamOpening;
use crate::server::http::{App, AppState, Connection, body, method_not_allowed, stream};
use crate::server::hub::{Holder, Matchers, SessionOptions, Start};
use crate::server::log::{Cursor, Log, PageSize, ReadError};
use crate::wire::paths;

/// The event that precedes the first one of a stream that was asked to go on from somewhere.
const PRECEDING: HeaderName = HeaderName::from_static("mercure-last-event-id");

/// `GET` with a body, for what doesn't fit into a URL (RFC 10008).
const QUERY: &str = "QUERY";

pub(super) fn router() -> Router<Arc<App>> {
    // axum's filters have no QUERY: what no route takes goes there.
    let query_or_none = any(async |state: AppState, request: Request| match request.method().as_str() {
        QUERY => query.call(request, state.0).await,
        _ => not_taken(request).await,
    });
    Router::new().route(paths::HUB, query_or_none.merge(get(subscribe).post(publish::publish)))
}

async fn not_taken(request: Request) -> Response {
    let mut response = method_not_allowed(request).await.into_response();
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET,HEAD,POST,QUERY"));
    response
}

async fn subscribe(
    State(app): AppState,
    connection: Connection,
    method: Method,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, ApiError> {
    app.subscribe(connection, &method, &headers, &params).await
}

async fn query(
    State(app): AppState,
    connection: Connection,
    headers: HeaderMap,
    params: Params,
    body: Body,
) -> Result<Response, ApiError> {
    if body::media_type(&headers).as_deref() != Some(body::FORM) {
        return Err(ApiError::MediaType(body::FORM));
    }
    let body = body::read(&headers, body, app.max_body).await?;
    // The query's values come first: of a value that may stand once, they win.
    let params = params.and(Params::parse(&body));
    app.subscribe(connection, &Method::GET, &headers, &params).await
}

/// Where a stream begins, and the event before that.
struct ResumePoint {
    start: Start,
    preceding: Option<HeaderValue>,
}

impl App {
    async fn subscribe(
        &self,
        connection: Connection,
        method: &Method,
        headers: &HeaderMap,
        params: &Params,
    ) -> Result<Response, ApiError> {
        let (hub, Connection { peer, handover }) = (&self.mercure, connection);
        // Before anything that costs: patterns are compiled and the log is read only for those who may subscribe.
        let ticket = params.get("ticket")?;
        let subscriber = hub.subscriber(headers, ticket, hub.token_in_query(params)?).await?;
        let token = subscriber.token.clone();
        if token.is_none() && !hub.settings.anonymous {
            let hint = match params.get("access_token")? {
                Some(_) => " One in the query is not accepted: it would end up in logs. Ask for a ticket instead.",
                None => "",
            };
            return Err(hub.token_needed(&format!("Subscribing here needs a token.{hint}")));
        }
        let client = client_key(token.as_deref(), peer);
        let _compiled = hub.compile_patterns(&client, params).await?;
        let matchers = hub.matchers(params)?;
        let rights = token.as_ref().map_or_else(|| hub.no_rights.clone(), |token| token.rights.clone());
        let last_event_id = match LastEventId::of(headers, params)? {
            LastEventId::Given(id) => LastEventId::Given(id),
            none => hub.older_last_event_id(params)?.map_or(none, LastEventId::Given),
        };
        let wanted = hub.hub.wanted(&matchers, &rights);
        let resume = hub.resume_point(&last_event_id, wanted.matchers()).await?;

        let tells_gaps = params.get("gap")? == Some("1");
        let mut reconnect_cookie = None;
        let mut response = if method == Method::HEAD {
            stream::respond_to_head()
        } else {
            hub.opening.check_subscriptions(&client, matchers.len())?;
            hub.hub.presence().admission().await;
            let options = SessionOptions {
                holder: token.clone().map(|token| token as Arc<dyn Holder>),
                expires: token.as_ref().and_then(|token| token.expires),
                lifetime: hub.settings.stream_lifetime,
                ..hub.session_of(client)
            };
            let opening = StreamOpening {
                name: paths::HUB,
                options,
                wanted,
                start: resume.start,
                tells_gaps,
                asked: last_event_id.id(),
                compression: self.compressed_streams.admit(headers),
            };
            let response = opening.respond(&hub.hub, handover).await?;
            // Behind it: a token that is revoked meanwhile is seen here, or ends the session.
            reconnect_cookie = hub.admit(&subscriber, headers).await?;
            response
        };
        if let Some(cookie) = reconnect_cookie {
            response.headers_mut().insert(header::SET_COOKIE, cookie);
        }
        if let Some(preceding) = resume.preceding {
            hub.tell_preceding(&preceding, response.headers_mut());
            response.headers_mut().insert(PRECEDING, preceding);
        }
        Ok(response)
    }
}

impl Mercure {
    /// Where a client with this last event id goes on.
    async fn resume_point(
        &self,
        last_event_id: &LastEventId,
        wanted: &Arc<Matchers>,
    ) -> Result<ResumePoint, ReadError> {
        let earliest = HeaderValue::from_static(paths::EARLIEST);
        let log = self.hub.log();
        let asked = match last_event_id {
            LastEventId::Missing => return Ok(ResumePoint { start: Start::Now, preceding: None }),
            LastEventId::Empty => return self.after_newest().await,
            LastEventId::Given(id) => id,
        };
        if asked == paths::EARLIEST {
            let start = Start::After(log.bounds().oldest.previous());
            return Ok(ResumePoint { start, preceding: Some(earliest) });
        }
        Ok(match log.locate(asked).await? {
            Some(cursor) => {
                let preceding = if has_gap(log, cursor, wanted).await? { None } else { header_of(asked) };
                ResumePoint { start: Start::After(cursor), preceding: preceding.or(Some(earliest)) }
            }
            None => ResumePoint { start: Start::Lost, preceding: Some(earliest) },
        })
    }

    /// Nothing is replayed, and the newest update precedes what comes.
    async fn after_newest(&self) -> Result<ResumePoint, ReadError> {
        // Before the update is looked for: one that becomes durable meanwhile is still to be sent.
        let bound = self.hub.log().bounds().newest;
        let newest = self.hub.newest().await?;
        let cursor = newest.as_ref().map_or(bound, |entry| entry.cursor);
        let preceding = newest.and_then(|entry| header_of(&entry.id));
        let earliest = || HeaderValue::from_static(paths::EARLIEST);
        Ok(ResumePoint { start: Start::After(cursor), preceding: preceding.or_else(|| Some(earliest())) })
    }
}

/// Whether a reader that begins at this cursor is told that it has missed something.
async fn has_gap(log: &dyn Log, cursor: Cursor, wanted: &Arc<Matchers>) -> Result<bool, ReadError> {
    let first = PageSize { entries: 1, bytes: 0 };
    Ok(log.reader(cursor, wanted.clone()).next(first).await?.gap)
}

fn header_of(id: &str) -> Option<HeaderValue> {
    HeaderValue::from_bytes(id.as_bytes()).ok()
}
