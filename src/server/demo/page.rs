//! The demo's page: its data, and its rendering.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use leptos::prelude::*;

use super::Demo;
use super::producers::Before;
use crate::server::http::error::ApiError;
use crate::server::http::{host, pages};
use crate::ui::demo::{App, ENTRY_POINT, PageData, Refused};
use crate::ui::shell::{Script, shell};
use crate::wire::message::Message;

/// How many messages the page is rendered with.
const RECENT: usize = 50;

/// The page with the newest messages. With `draft`, the page has the status of its problem.
pub(super) async fn page(demo: &Demo, headers: &HeaderMap, draft: Option<Refused>) -> Response {
    let status = draft.as_ref().and_then(|draft| StatusCode::from_u16(draft.problem.status).ok());
    // One more tells whether there are older ones.
    let mut messages = match demo.messages.list(Before::Newest, RECENT + 1).await {
        Ok(messages) => messages.unwrap_or_default(),
        Err(error) => return ApiError::from(error).into_response(),
    };
    let has_older = messages.len() > RECENT;
    messages.truncate(RECENT);
    let link = link(demo, &messages);
    let data = PageData {
        messages,
        has_older,
        draft,
        origin: host::origin(headers),
        max_bytes: demo.settings.max_message,
        repeat: demo.settings.burst_repeat,
        version: env!("CARGO_PKG_VERSION").into(),
    };
    let assets = demo.app.assets();
    let context = move || provide_context(data.clone());
    let document = move || {
        let title = "tidings: live updates over Server-Sent Events".to_owned();
        shell(assets.clone(), Script::Hydrate(ENTRY_POINT), title, view! { <App/> })
    };
    let mut response = pages::respond(status.unwrap_or(StatusCode::OK), context, document).await;
    response.headers_mut().extend(link.map(|link| (header::LINK, link)));
    response
}

/// The `Link` to the hub, whose events continue after the newest of these messages. They are sorted newest first.
pub(super) fn link(demo: &Demo, messages: &[Message]) -> Option<HeaderValue> {
    demo.app.link_to_hub(messages.first().map(|newest| &*newest.id), "; content-type=\"application/json\"")
}
