//! The demo's addresses on a server that does not serve it: each says so, and what helps.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;

use crate::server::http::App;
use crate::wire::paths;

/// The addresses of the demo that only the demo serves.
const PATHS: [&str; 8] = [
    paths::MESSAGES,
    paths::PUBLISH,
    paths::STREAM,
    paths::CLOCK,
    paths::REMOTE,
    paths::SSE,
    paths::COUNTER,
    paths::CLIENT,
];

/// Answers 404 at each of the demo's addresses.
pub(in crate::server) fn switched_off() -> Router<Arc<App>> {
    let message = paths::message("{id}");
    let paths = PATHS.into_iter().chain([&*message]);
    paths.fold(Router::new(), |router, path| router.route(path, any(not_served)))
}

async fn not_served(State(app): State<Arc<App>>, request: Request) -> Response {
    let path = request.uri().path();
    let hub = paths::HUB;
    let detail = format!(
        "{path} is part of the demo, which is switched off on this server. The operator switches it on with --demo. To \
         publish or to subscribe, use the hub at {hub}."
    );
    app.not_found(request, detail).await
}
