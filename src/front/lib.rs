//! The WASM module that the page loads: the browser's half of `tidings`, and nothing besides.

pub use tidings::hydrate;
