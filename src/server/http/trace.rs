//! One log line for each request.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use tokio::time::Instant;
use tracing::info;

/// Logs the method, the path, the status and how long it took until the headers were ready. The query is
/// left out: it may hold what is nobody's business.
pub(super) async fn request(request: Request, next: Next) -> Response {
    let start = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    // Nanoseconds would be noise.
    let ms = start.elapsed().as_micros() as f64 / 1000.0;
    info!(%method, path, status = response.status().as_u16(), ms, "request");
    response
}
