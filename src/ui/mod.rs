//! The views, rendered by the server and hydrated in the browser.
//!
//! `pages` put panels in order; a panel owns its state; a part has none. What hearing an event does
//! is in [`feed`], a plain struct that knows neither signals nor a browser; `watch` carries out what
//! the feed decides, with the browser's streams and timers from `browser`.

mod browser;
pub mod desk;
pub mod feed;
mod page_data;
pub mod pages;
pub mod panels;
pub mod parts;
pub mod shell;
mod words;

pub use page_data::{Assets, PageData, Refused};
pub use pages::docs::Docs;
pub use pages::home::App;
pub use pages::not_found::NotFound;
pub use pages::welcome::Welcome;
