//! What a browser's `EventSource` gets where the server has no room for the moment: it takes any status but 200 for the end,
//! and never comes back (WHATWG HTML, "Server-sent events", processing model).

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use rand::Rng;

use super::cache;

/// Lets a browser's stream that is refused for a while end at once, and begin again after that while.
pub(super) async fn for_browsers(request: Request, next: Next) -> Response {
    let is_browsers = is_event_source(request.headers());
    let response = next.run(request).await;
    let is_refused = matches!(response.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    match response.headers().get(header::RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse::<u64>().ok()) {
        Some(seconds) if is_browsers && is_refused => come_back_in(seconds.clamp(1, 3600), response),
        _ => response,
    }
}

/// Whether this is what a browser's `EventSource` sends: nothing else says both.
fn is_event_source(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT).is_some_and(|accept| accept.as_bytes() == b"text/event-stream")
        && headers.contains_key("sec-fetch-mode")
}

/// A stream that ends, and tells when to come back: later than was said by a part that differs from client to client.
fn come_back_in(seconds: u64, refusal: Response) -> Response {
    let milliseconds = rand::rng().random_range(seconds * 1000..=seconds * 1500);
    let mut response = Body::from(format!("retry: {milliseconds}\n")).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, cache::STREAM);
    if let Some(close) = refusal.headers().get(header::CONNECTION) {
        headers.insert(header::CONNECTION, close.clone());
    }
    response
}
