//! The commands beside `serve`. Each parses its own arguments, prints, and answers how it ended.

pub mod client;
pub mod log;
pub mod token;
