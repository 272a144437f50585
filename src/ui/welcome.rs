//! What a browser sees at `/` of a server that serves the hub alone.

use leptos::prelude::*;

use crate::ui::parts::mark::Wordmark;
use crate::wire::paths;

/// The page that says what this server is. It is never hydrated: it needs no script.
#[component]
pub fn Welcome(
    /// The server's version.
    version: &'static str,
) -> impl IntoView {
    view! {
        <div class="page">
            <header class="masthead">
                <Wordmark/>
            </header>
            <main id="content" class="welcome">
                <h1>"A hub for live updates."</h1>
                <p>
                    "Backends publish updates here with one POST, and browsers and other clients receive them over "
                    "Server-Sent Events. The hub is at "<code>{paths::HUB}</code>" and speaks the Mercure protocol."
                </p>
                <p><a class="button-main" href=paths::DOCS>"Every address, described"</a></p>
            </main>
            <footer class="foot"><span>"tidings "{version}</span></footer>
        </div>
    }
}
