//! Compression of what is answered as a document.

use std::convert::Infallible;
use std::future::ready;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tower::{ServiceExt, service_fn};
use tower_http::compression::Compression;

use super::accept::EVENT_STREAM;

/// Compresses the response as the client accepts, unless it is a stream: compression would hold events back
/// to fill a block, and even a wrapper that does nothing costs each of them something.
pub(in crate::server) async fn documents(request: Request, next: Next) -> Response {
    let mut asked = Request::new(Body::empty());
    if let Some(accepted) = request.headers().get(header::ACCEPT_ENCODING) {
        asked.headers_mut().insert(header::ACCEPT_ENCODING, accepted.clone());
    }
    let response = next.run(request).await;
    if response.headers().get(header::CONTENT_TYPE).is_some_and(|value| value == EVENT_STREAM) {
        return response;
    }
    let mut answer = Some(response);
    let answer = service_fn(move |_| ready(Ok::<_, Infallible>(answer.take().unwrap_or_default())));
    Compression::new(answer).oneshot(asked).await.into_response()
}
