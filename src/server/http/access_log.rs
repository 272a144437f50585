//! One log line for each request, where the settings ask for them.

use axum::extract::{ConnectInfo, Request};
use axum::middleware::Next;
use axum::response::Response;
use tokio::time::Instant;
use tracing::info;

use super::Peer;

/// Logs who has sent it, the method, the path, the status and how long it took until the headers were ready. The query is
/// left out: it may hold what is nobody's business.
pub(super) async fn log(ConnectInfo(peer): Peer, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let version = request.version();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    // Nanoseconds would be noise.
    let ms = start.elapsed().as_micros() as f64 / 1000.0;
    info!(client = %peer.ip(), %method, path, ?version, status = response.status().as_u16(), ms, "request");
    response
}
