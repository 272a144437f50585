//! The views, rendered by the server and hydrated in the browser.
//!
//! * [`shell`]: the document around every page.
//! * [`stream`]: a browser's stream and its troubles, as plain structs that every living page can use.
//! * [`demo`]: the demo's page. A second living page becomes a folder beside it, with an entry point of its own in
//!   `lib.rs` that its document names ([`shell::Script::Hydrate`]).
//! * [`docs`], [`not_found`], [`welcome`]: pages that are never hydrated.
//! * [`parts`]: views without state.
//! * `browser`: the door to the browser.

mod browser;
pub mod demo;
pub mod docs;
pub mod not_found;
pub mod parts;
pub mod shell;
pub mod stream;
pub mod welcome;

pub use docs::Docs;
pub use not_found::NotFound;
pub use shell::Assets;
pub use welcome::Welcome;
