//! The site's files, inside the binary: the page's script, WASM and style, and what `public/` holds.

use std::sync::LazyLock;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rust_embed::{Embed, EmbeddedFile};
use sha2::{Digest, Sha256};

use super::conditional;
use crate::ui::Assets;
use crate::wire::paths;

/// What cargo-leptos has built. In a debug build it is read when it is asked for.
#[derive(Embed)]
#[folder = "target/site"]
#[allow_missing = true]
struct Site;

/// What is served as it stands in the repository: also where the site was not built.
#[derive(Embed)]
#[folder = "public"]
struct Public;

/// Folder of the files whose names change with their content.
const HASHED: &str = "pkg/";

/// `cargo leptos watch` gives hashed names to what it builds first and plain ones to what it builds
/// after a change. A debug build names all files plainly, so that a page finds the newest, and the
/// reload its style.
const NAMES_CHANGE: bool = !cfg!(debug_assertions);

/// The addresses of the page's script, WASM and style; `None` where the site was not built.
pub(super) fn assets() -> Option<Assets> {
    let find = |extension: &str| {
        let mut names = Site::iter().filter(|name| name.starts_with(HASHED) && name.ends_with(extension));
        let name = names.next()?;
        if NAMES_CHANGE { Some(format!("/{name}")) } else { Some(format!("/{HASHED}tidings{extension}")) }
    };
    Some(Assets { script: find(".js")?, wasm: find(".wasm")?, style: find(".css")? })
}

/// The file at this request's path, if there is one.
pub(super) fn file(request: &Request) -> Option<Response> {
    let path = request.uri().path().trim_start_matches('/');
    let plain = get(path)?;
    let headers = request.headers();
    let (encoding, file) = precompressed(path, headers).map_or((None, None), |(e, f)| (Some(e), Some(f)));
    let etag = etag(file.as_ref().unwrap_or(&plain));
    let mut response = if conditional::is_known(headers, &etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Body::from(file.as_ref().unwrap_or(&plain).data.clone().into_owned()).into_response()
    };
    let out = response.headers_mut();
    out.insert(header::ETAG, etag);
    out.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    out.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let forever =
        if NAMES_CHANGE && path.starts_with(HASHED) { "public, max-age=31536000, immutable" } else { "no-cache" };
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static(forever));
    if let Ok(media_type) = HeaderValue::from_str(&with_charset(plain.metadata.mimetype())) {
        out.insert(header::CONTENT_TYPE, media_type);
    }
    if let Some(encoding) = encoding {
        out.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    if format!("/{path}") == paths::CLIENT {
        out.insert(header::CONTENT_SECURITY_POLICY, CLIENT_POLICY.clone());
    }
    Some(response)
}

fn get(path: &str) -> Option<EmbeddedFile> {
    Site::get(path).or_else(|| Public::get(path)).or_else(|| hashed(path))
}

/// What stands for a plain name that is not there, in a debug build: `pkg/tidings.<hash>.js` for `pkg/tidings.js`.
fn hashed(path: &str) -> Option<EmbeddedFile> {
    let (stem, extension) = path.rsplit_once('.').filter(|_| !NAMES_CHANGE && path.starts_with(HASHED))?;
    let name =
        Site::iter().find(|name| name.starts_with(&format!("{stem}.")) && name.ends_with(&format!(".{extension}")))?;
    Site::get(&name)
}

fn precompressed(path: &str, headers: &HeaderMap) -> Option<(&'static str, EmbeddedFile)> {
    let accepted = String::from_utf8_lossy(headers.get(header::ACCEPT_ENCODING)?.as_bytes());
    let takes = |encoding: &str| {
        accepted.split(',').any(|value| {
            let (name, weight) = value.split_once(';').unwrap_or((value, ""));
            name.trim() == encoding && weight.trim() != "q=0"
        })
    };
    let found = |encoding, extension: &str| {
        takes(encoding).then(|| Site::get(&format!("{path}.{extension}")))?.map(|file| (encoding, file))
    };
    found("br", "br").or_else(|| found("gzip", "gz"))
}

fn etag(file: &EmbeddedFile) -> HeaderValue {
    let hash = BASE64_STANDARD.encode(file.metadata.sha256_hash());
    HeaderValue::from_str(&format!("\"{hash}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

fn with_charset(media_type: &str) -> String {
    let text = media_type.starts_with("text/") || media_type.ends_with("javascript");
    if text { format!("{media_type}; charset=utf-8") } else { media_type.into() }
}

/// The client page stands alone: its script and style are its own, known by their hashes, and it may
/// listen to any server.
static CLIENT_POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let page = get(paths::CLIENT.trim_start_matches('/')).map(|file| file.data.into_owned()).unwrap_or_default();
    let page = String::from_utf8_lossy(&page);
    let policy = format!(
        "default-src 'none'; script-src {}; style-src {}; connect-src *; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
        hashes(&page, "script"),
        hashes(&page, "style"),
    );
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// The sources of a policy that allow the inline elements of this name.
fn hashes(page: &str, element: &str) -> String {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    let contents = page.split(&open).skip(1).filter_map(|rest| rest.split(&close).next());
    let hashes = contents.map(|content| format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(content))));
    hashes.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inline_elements_are_allowed_by_their_hashes() {
        let page = "<style>a</style><script>alert(1)</script>";
        assert_eq!(hashes(page, "script"), "'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI='");
    }
}
