//! What a browser sees at an address that isn't there.

use leptos::prelude::*;

use crate::ui::parts::mark::Wordmark;
use crate::wire::paths;

/// The page for an unknown address. It is never hydrated: it needs no script.
#[component]
pub fn NotFound(
    /// The path that was asked for.
    path: String,
) -> impl IntoView {
    view! {
        <div class="page">
            <header class="masthead">
                <Wordmark/>
            </header>
            <main id="content" class="nowhere">
                <p class="nowhere-status">"404"</p>
                <h1>"No tidings from here."</h1>
                <p><code>{path}</code>" is not an address of this server."</p>
                <p><a class="button-main" href=paths::ROOT>"To the page"</a></p>
            </main>
        </div>
    }
}
