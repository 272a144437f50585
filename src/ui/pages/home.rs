//! The demo page: write a message, and watch it arrive.

use leptos::prelude::*;

use crate::ui::PageData;
use crate::ui::desk::Desk;
use crate::ui::panels::activity::Activity;
use crate::ui::panels::composer::Composer;
use crate::ui::panels::masthead::Masthead;
use crate::ui::panels::taps::Taps;
use crate::ui::panels::terminal::Terminal;
use crate::wire::paths;

/// The whole page, below `<body>`. The server provides its [`PageData`] as context; the browser
/// finds the same data in the document.
#[component]
pub fn App() -> impl IntoView {
    let page = SharedValue::new(|| use_context::<PageData>().unwrap_or_default()).into_inner();
    let desk = Desk::new(&page);
    provide_context(desk);
    Effect::new(move || desk.start());
    view! {
        <div class="page" data-alive=move || desk.alive.get().to_string()>
            <a class="skip" href="#content">"Skip to the content"</a>
            <Masthead/>
            <main id="content" class="columns">
                <div class="column-main">
                    <div class="intro">
                        <h1>"Write a message, watch it arrive."</h1>
                        <p>
                            "Each message opens a stream of its own: it arrives, it repeats, it ends. "
                            "What you see is what is on the wire."
                        </p>
                    </div>
                    <Composer draft=page.draft max_bytes=page.max_bytes/>
                    <Activity origin=page.origin.clone()/>
                </div>
                <div class="column-side">
                    <Taps/>
                    <Terminal origin=page.origin/>
                </div>
            </main>
            <footer class="foot">
                <span>"tidings "{page.version}</span>
                <span>"Server-Sent Events, one POST, everyone who listens."</span>
                <a href=paths::DOCS>"Every address, described"</a>
            </footer>
            <p class="sr" role="status" aria-live="polite">{move || desk.said.get()}</p>
        </div>
    }
}
