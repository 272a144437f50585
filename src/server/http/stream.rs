//! Responses that are streams.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, stream};

use super::cache;
use super::direct::OpeningBody;
use super::frames::Frames;
use super::gzip::{CompressionPermit, GZIP, GzipBody};
use super::sse_body::SseBody;
use crate::server::hub::{AtLimit, Hub, Session, SessionOptions, Start, Wanted};
use crate::server::net::Handover;

/// The response that carries these frames, compressed where it may be. `name` stands for the stream in the log.
pub(super) fn respond<S>(name: &'static str, frames: S, session: Session, permit: Option<CompressionPermit>) -> Response
where
    S: Stream<Item = Bytes> + Send + Unpin + 'static,
{
    let body = SseBody::new(name, frames, session);
    match permit {
        Some(permit) => {
            let encoded = [(header::CONTENT_ENCODING, GZIP), (header::VARY, "accept-encoding")];
            (headers(), encoded, Body::new(GzipBody::new(body, permit))).into_response()
        }
        None => (headers(), Body::new(body)).into_response(),
    }
}

/// A stream of what the hub delivers, about to be opened.
pub(super) struct StreamOpening {
    /// Stands for the stream in the log.
    pub(super) name: &'static str,
    pub(super) options: SessionOptions,
    pub(super) wanted: Arc<Wanted>,
    pub(super) start: Start,
    /// Whether the client is told of gaps.
    pub(super) tells_gaps: bool,
    /// The id that the client came back with.
    pub(super) asked: Option<String>,
    /// Present if it is compressed.
    pub(super) compression: Option<CompressionPermit>,
}

impl StreamOpening {
    /// Opens the session, and answers the response that carries it. It takes the connection over where that can be.
    pub(super) async fn respond(self, hub: &Hub, handover: Option<Handover>) -> Result<Response, AtLimit> {
        if self.start == Start::Now {
            hub.catch_up().await;
        }
        let (session, subscription) = hub.open_session(self.options, self.wanted, self.start)?;
        let frames = Frames::new(subscription, self.tells_gaps, self.asked);
        // What is compressed for one alone can't be written by the fan-out.
        Ok(match handover.filter(|_| self.compression.is_none()) {
            Some(handover) => {
                let body = OpeningBody::new(SseBody::new(self.name, frames, session), handover);
                (headers(), Body::new(body)).into_response()
            }
            None => respond(self.name, frames, session, self.compression),
        })
    }
}

/// The answer to `HEAD`: the headers of a stream, without opening one.
pub(super) fn respond_to_head() -> Response {
    // A body of unknown length, or `Content-Length: 0` would be sent for a stream.
    (headers(), Body::from_stream(stream::empty::<Result<Bytes, Infallible>>())).into_response()
}

fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, cache::STREAM);
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    headers
}
