//! The demo page: write a message, and watch it arrive.

//!
//! [`feed`] is what the page knows and decides, as plain structs. [`controller`] connects it to the browser and to
//! signals. [`panels`] show them.

pub mod controller;
pub mod draft;
pub mod feed;
mod page_data;
pub mod panels;
mod words;

pub use page_data::{PageData, Refused};

use controller::Controller;
use leptos::prelude::*;
use panels::activity::Activity;
use panels::composer::Composer;
use panels::demo_streams::DemoStreams;
use panels::masthead::Masthead;
use panels::terminal::Terminal;

use crate::wire::paths;

/// The WASM module's entry point for this page.
pub const ENTRY_POINT: &str = "hydrate_demo";

/// The whole page, below `<body>`. The server provides its [`PageData`] as context; the browser
/// finds the same data in the document.
#[component]
pub fn App() -> impl IntoView {
    let page = SharedValue::new(|| use_context::<PageData>().unwrap_or_default()).into_inner();
    let controller = Controller::new(&page);
    provide_context(controller);
    Effect::new(move || controller.start());
    view! {
        <div class="page" data-alive=move || controller.alive.get().to_string()>
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
                    <Composer refused=page.draft.map(|refused| refused.text)/>
                    <Activity origin=page.origin.clone()/>
                </div>
                <div class="column-side">
                    <DemoStreams/>
                    <Terminal origin=page.origin/>
                </div>
            </main>
            <footer class="foot">
                <span>"tidings "{page.version}</span>
                <span>"Server-Sent Events, one POST, everyone who listens."</span>
                <a href=paths::DOCS>"Every address, described"</a>
            </footer>
            <p class="sr" role="status" aria-live="polite">{move || controller.announcement.get()}</p>
        </div>
    }
}
