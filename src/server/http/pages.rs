//! The HTML pages: renders the views to a document and gives it its policy.
//!
//! The only file of the server that knows `leptos_axum`.

use any_spawner::Executor;
use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, Request, StatusCode};
use axum::response::Response;
use leptos::nonce::Nonce;
use leptos::prelude::*;

use crate::ui::shell::{Script, shell};
use crate::ui::{Assets, Docs, NotFound, Welcome};

/// The page that describes every address, round this description.
pub(super) async fn docs(assets: Option<Assets>, body: String) -> Response {
    let document = move || {
        let title = "Every address: tidings".to_owned();
        shell(
            assets.clone(),
            Script::None,
            title,
            view! { <Docs body=body.clone() version=env!("CARGO_PKG_VERSION")/> },
        )
    };
    respond(StatusCode::OK, || (), document).await
}

/// The page that says what a hub is, on a server that serves one alone.
pub(super) async fn welcome(assets: Option<Assets>) -> Response {
    let document = move || {
        let title = "tidings: a hub for live updates".to_owned();
        shell(assets.clone(), Script::None, title, view! { <Welcome version=env!("CARGO_PKG_VERSION")/> })
    };
    respond(StatusCode::OK, || (), document).await
}

/// The page for a browser that asked for an address that isn't there.
pub(super) async fn not_found(assets: Option<Assets>, path: String) -> Response {
    let document = move || {
        let title = "Nothing here: tidings".to_owned();
        shell(assets.clone(), Script::None, title, view! { <NotFound path=path.clone()/> })
    };
    respond(StatusCode::NOT_FOUND, || (), document).await
}

/// The response with this document, rendered where `context` has provided what its views need.
pub(in crate::server) async fn respond<V: IntoView + 'static>(
    status: StatusCode,
    context: impl Fn() + Clone + Send + Sync + 'static,
    document: impl Fn() -> V + Clone + Send + Sync + 'static,
) -> Response {
    // Fails when it was done before, by an earlier page: that is as good.
    _ = Executor::init_tokio();
    let nonce = Nonce::new();
    let policy = policy(&nonce);
    let context = move || {
        provide_context(nonce.clone());
        context();
    };
    // The views look at nothing of the request, so an empty one stands for it.
    let request = Request::new(Body::empty());
    let mut response = leptos_axum::render_app_async_with_context(context, document)(request).await;
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(VARY, HeaderValue::from_static("accept"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Everything comes from this server, and no script runs without the nonce of its render.
/// `strict-dynamic` lets the module import what it names; a form may only be sent here.
fn policy(nonce: &str) -> String {
    let reload =
        if std::env::var_os("LEPTOS_WATCH").is_some() { " ws://127.0.0.1:3001 ws://localhost:3001" } else { "" };
    format!(
        "default-src 'none'; script-src 'nonce-{nonce}' 'strict-dynamic' 'wasm-unsafe-eval'; style-src 'self'; \
         connect-src 'self'{reload}; img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
}
