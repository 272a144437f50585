//! What a browser sees at an address that isn't there.

use leptos::prelude::*;

use crate::wire::paths;

/// The page for an unknown address. It is never hydrated: it needs no script.
#[component]
pub fn NotFound(
    /// The path that was asked for.
    path: String,
) -> impl IntoView {
    view! {
        <main id="content">
            <h1>"Nothing at this address"</h1>
            <p><code>{path}</code>" is not an address of this server."</p>
            <p><a href=paths::ROOT>"To the page"</a></p>
        </main>
    }
}
