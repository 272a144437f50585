//! `tidings` pushes live updates to browsers and to any other HTTP client: one `POST`, and everyone
//! who listens has the tidings, over Server-Sent Events.
//!
//! # Layout
//!
//! Three rooms, by where their code runs:
//!
//! * [`wire`]: the words that both sides speak: plain data, its parsing and its rules.
//! * [`server`]: native only. `log` keeps order and durability, `hub` decides who hears what, `auth` who may do
//!   what, `net` knows sockets, `http` is the hub's web API, `demo` the five demo systems on top of it, `settings` reads
//!   flags, environment and file, `cli` has the commands.
//! * [`ui`]: the views, rendered by the server and hydrated in the browser.
//!
//! A room names only the rooms before it: wire; ui (wire); log (wire); hub (wire, log); auth (wire, log, hub); net;
//! settings (the options of those rooms); http (all of these); demo (all of these). Only `server/mod.rs` names the demo.
//! `tests/layers.rs` holds this.
//!
//! The crate is built twice: with the feature `ssr` as the server's binary, with `hydrate` as the
//! browser's library. Outside this file only `ui/browser/mod.rs` asks which half it is in.

#[cfg(all(feature = "ssr", feature = "hydrate"))]
compile_error!("`ssr` is the server's half and `hydrate` the browser's: build one of them at a time");

#[cfg(feature = "ssr")]
pub mod server;
pub mod ui;
pub mod wire;

#[cfg(test)]
#[path = "../tests/support/fuzz.rs"]
mod fuzz;

/// Hydrates the demo's page: the WASM module's entry point that its document names.
#[cfg(feature = "hydrate")]
#[wasm_bindgen::prelude::wasm_bindgen]
pub fn hydrate_demo() {
    console_error_panic_hook::set_once();
    leptos::mount::hydrate_body(ui::demo::App);
}
