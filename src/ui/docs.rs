//! The page that describes every address. Its text is generated from the server's own description.

use leptos::nonce::use_nonce;
use leptos::prelude::*;

use crate::ui::parts::mark::Wordmark;
use crate::wire::paths;

/// The frame around the description. It is never hydrated: a small script of its own copies and filters.
#[component]
pub fn Docs(
    /// The contents and the reference, as HTML.
    body: String,
    /// The server's version.
    version: &'static str,
) -> impl IntoView {
    view! {
        <div class="page" data-alive="false">
            <a class="skip" href="#content">"Skip to the content"</a>
            <header class="masthead">
                <Wordmark/>
            </header>
            <div class="docs" inner_html=body></div>
            <footer class="foot">
                <span>"tidings "{version}</span>
                <a href=paths::OPENAPI>"openapi.json"</a>
            </footer>
            <p class="sr" role="status" aria-live="polite" id="said"></p>
        </div>
        <script src=paths::DOCS_SCRIPT nonce=use_nonce() defer></script>
    }
}
