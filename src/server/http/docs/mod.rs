//! What this server answers, described: `/openapi.json` for programs, `/docs` to read.
//!
//! Both come from one document, which `openapi/` holds for the hub; whoever adds routes adds their description. The page is written here as HTML, once, and the frame of every page
//! stands round it: a tree of views, made anew for each visit, would say no more, and would be a second model of the
//! document. It is never hydrated, so nothing of it is in the page's WASM.

mod curl;
mod document;
mod page;
mod prose;
mod schema;

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::accept::JSON;
use super::{App, AppState, cache, conditional, host, pages};
use crate::wire::paths;
use document::Document;

/// Stands in the page's commands where the server's own scheme, host and port belong.
const ORIGIN: &str = "{origin}";

/// What is described: the hub, and what else this server serves.
pub(in crate::server) struct Description {
    more: &'static [&'static str],
    rendered: OnceLock<Rendered>,
}

/// Made when it is first asked for.
struct Rendered {
    /// The document, as it is answered.
    openapi: String,
    /// Its entity tag.
    openapi_etag: HeaderValue,
    /// The page below its masthead, for any origin.
    page: String,
}

impl Description {
    /// The description of the hub and of `more`: further parts of an OpenAPI document, as JSON.
    pub(in crate::server) fn new(more: &'static [&'static str]) -> Self {
        Self { more, rendered: OnceLock::new() }
    }

    fn rendered(&self) -> &Rendered {
        self.rendered.get_or_init(|| {
            let document = Document::new(self.more);
            let openapi = document.to_json();
            Rendered { openapi_etag: etag(&[&openapi]), page: page::body(&document), openapi }
        })
    }
}

pub(super) fn router() -> Router<Arc<App>> {
    Router::new().route(paths::OPENAPI, get(openapi)).route(paths::DOCS, get(docs))
}

async fn openapi(State(app): AppState, headers: HeaderMap) -> Response {
    let Rendered { openapi, openapi_etag, .. } = app.description.rendered();
    let etag = openapi_etag.clone();
    if conditional::is_known(&headers, &etag) {
        return not_modified(etag);
    }
    let mut response = openapi.clone().into_response();
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    out.insert(header::ETAG, etag);
    out.insert(header::CACHE_CONTROL, cache::REVALIDATE);
    out.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn docs(State(app): AppState, headers: HeaderMap) -> Response {
    let origin = host::origin(&headers);
    let style = app.assets.as_ref().map_or("", |assets| &assets.style);
    let page = &app.description.rendered().page;
    let etag = etag(&[page, &origin, style]);
    if conditional::is_known(&headers, &etag) {
        // Without a policy: the browser keeps that of the page it has, whose nonce its script carries.
        return not_modified(etag);
    }
    let mut response = pages::docs(app.assets.clone(), page.replace(ORIGIN, &origin)).await;
    response.headers_mut().insert(header::ETAG, etag);
    response
}

fn not_modified(etag: HeaderValue) -> Response {
    (StatusCode::NOT_MODIFIED, [(header::ETAG, etag), (header::CACHE_CONTROL, cache::REVALIDATE)]).into_response()
}

/// Changes with any of the parts. Weak: what is answered is compressed, and the page has a new nonce each time.
fn etag(parts: &[&str]) -> HeaderValue {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let etag = format!("W/\"{}\"", BASE64_URL_SAFE_NO_PAD.encode(hash.finalize()));
    HeaderValue::from_str(&etag).unwrap_or(HeaderValue::from_static("W/\"\""))
}
