//! The addresses of the demo.

mod messages;
mod publish;
mod root;
mod streams;

use std::sync::Arc;

use axum::{Router, middleware};

use super::Demo;
use crate::server::http::compress;

/// The table of contents.
pub(super) fn router() -> Router<Arc<Demo>> {
    Router::new()
        .merge(root::router())
        .merge(messages::router())
        .merge(publish::router())
        .layer(middleware::from_fn(compress::documents))
        .merge(streams::router())
}
