//! Bodies of requests that are answered before they are read. Closing a connection with unread bytes resets it (RFC 9112, 9.6),
//! and the answer is lost on its way, most of all through proxies: so the rest is read and thrown away first, within
//! limits.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::BoxError;
use axum::body::{Body, Bytes};
use axum::http::{Request, Version, header};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::timeout;

/// Most that is read and thrown away.
const MOST: usize = 8 << 20;
/// For how long at most.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a handler has left unread, once it has dropped the body.
pub(super) struct Unread<B>(Arc<Mutex<Option<B>>>);

/// A body that is given back when it is dropped before its end.
struct Lent<B: http_body::Body> {
    body: Option<B>,
    back: Arc<Mutex<Option<B>>>,
}

/// Lends a request's body to its handler. `None` where nothing of it needs to be read: there is none, the client waits to be
/// asked for it, or the connection goes on without it.
pub(super) fn lend<B>(request: Request<B>) -> (Request<Body>, Option<Unread<B>>)
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    let is_sent = request.version() < Version::HTTP_2 && !request.headers().contains_key(header::EXPECT);
    if !is_sent || http_body::Body::is_end_stream(request.body()) {
        return (request.map(Body::new), None);
    }
    let back = Arc::new(Mutex::new(None));
    let unread = Unread(back.clone());
    (request.map(|body| Body::new(Lent { body: Some(body), back })), Some(unread))
}

impl<B: http_body::Body<Data = Bytes> + Unpin> Unread<B> {
    /// Reads what is left, and throws it away.
    pub(super) async fn discard(self) {
        let left = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut body) = left else { return };
        let read = async {
            let mut bytes = 0;
            while bytes < MOST
                && let Some(Ok(frame)) = body.frame().await
            {
                bytes += frame.data_ref().map_or(0, Bytes::len);
            }
        };
        _ = timeout(PATIENCE, read).await;
    }
}

impl<B: http_body::Body<Data = Bytes> + Unpin> http_body::Body for Lent<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(http_body::Body::size_hint).unwrap_or_default()
    }
}

impl<B: http_body::Body> Drop for Lent<B> {
    fn drop(&mut self) {
        let left = self.body.take().filter(|body| !http_body::Body::is_end_stream(body));
        *self.back.lock().unwrap_or_else(PoisonError::into_inner) = left;
    }
}
