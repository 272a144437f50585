//! The document around a page: its head, its files and its script. Rendered by the server only.

use leptos::hydration::AutoReload;
use leptos::nonce::use_nonce;
use leptos::prelude::*;

/// The addresses of the site's files, with their hashes: `/pkg/tidings.<hash>.js`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assets {
    /// The module that loads the WASM and hydrates.
    pub script: String,
    /// The WASM.
    pub wasm: String,
    /// The style sheet.
    pub style: String,
}

/// Whether the page hydrates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// The WASM is loaded, and its entry point of this name hydrates the body.
    Hydrate(&'static str),
    /// The page stays as it was rendered.
    None,
}

/// The document with `body` in it. Without `assets`, when the site was not built, it has neither
/// style nor script. Every script carries the nonce of this render, as the policy asks.
pub fn shell(assets: Option<Assets>, script: Script, title: String, body: impl IntoView) -> impl IntoView {
    let options = LeptosOptions::builder().output_name(env!("CARGO_PKG_NAME")).build();
    let style = assets.as_ref().map(|assets| assets.style.clone());
    let hydration = match script {
        Script::Hydrate(entry) => assets.map(|assets| hydration(assets, entry)),
        Script::None => None,
    };
    view! {
        <!DOCTYPE html>
        <html lang="en">
            <head>
                <meta charset="utf-8"/>
                <meta name="viewport" content="width=device-width, initial-scale=1"/>
                <title>{title}</title>
                <meta
                    name="description"
                    content="One POST, and everyone who listens has the tidings: live updates over Server-Sent Events."
                />
                <meta name="color-scheme" content="light dark"/>
                <meta name="theme-color" media="(prefers-color-scheme: light)" content="#f3f5f1"/>
                <meta name="theme-color" media="(prefers-color-scheme: dark)" content="#101514"/>
                <link rel="icon" href="/favicon.svg" type="image/svg+xml"/>
                {style.map(|style| view! { <link rel="stylesheet" href=style/> })}
                {hydration}
                <AutoReload options/>
            </head>
            <body>{body}</body>
        </html>
    }
}

/// The preloads and the module that starts the WASM. `crossorigin` must be what the module's own
/// requests use, or the browser fetches both files twice.
fn hydration(assets: Assets, entry: &str) -> impl IntoView {
    let start = format!(
        "import init,{{{entry}}} from {:?};init({{module_or_path:{:?}}}).then(()=>{entry}())",
        assets.script, assets.wasm
    );
    view! {
        <link rel="modulepreload" href=assets.script crossorigin="anonymous" nonce=use_nonce()/>
        <link rel="preload" href=assets.wasm r#as="fetch" r#type="application/wasm" crossorigin="anonymous"/>
        <script type="module" nonce=use_nonce()>{start}</script>
    }
}
