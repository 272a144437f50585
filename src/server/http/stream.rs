//! Responses that are streams.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, stream};

use super::cache;
use super::direct::OpeningBody;
use super::frames::Frames;
use super::sse_body::SseBody;
use crate::server::hub::Session;
use crate::server::net::Handover;

/// The response that carries these frames. `name` stands for the stream in the log.
pub(super) fn respond<S>(name: &'static str, frames: S, session: Session) -> Response
where
    S: Stream<Item = Bytes> + Send + Unpin + 'static,
{
    (headers(), Body::new(SseBody::new(name, frames, session))).into_response()
}

/// The same for what the hub delivers. It takes the connection over where that can be.
pub(super) fn respond_directly(
    name: &'static str,
    frames: Frames,
    session: Session,
    handover: Option<Handover>,
) -> Response {
    match handover {
        Some(handover) => {
            let body = OpeningBody::new(SseBody::new(name, frames, session), handover);
            (headers(), Body::new(body)).into_response()
        }
        None => respond(name, frames, session),
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
