//! The WASM module that the pages load: the browser's half of `tidings`, and nothing besides. One entry point per page.

pub use tidings::hydrate_demo;
