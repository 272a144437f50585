//! `Cache-Control`: what caches may do with an answer.

use axum::http::HeaderValue;

/// For an answer to one client: no cache keeps it.
pub(super) const PRIVATE: HeaderValue = HeaderValue::from_static("private, no-store");

/// For a stream, which may hold private updates. A proxy that transformed it, for example compressed it, would hold
/// events back to fill a block.
pub(super) const STREAM: HeaderValue = HeaderValue::from_static("private, no-cache, no-store, no-transform");

/// For a page or document that everybody may have: kept, and asked for again before it is used.
pub(super) const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");
