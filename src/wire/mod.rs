//! The words both sides speak: plain data, its parsing and its rules.
//!
//! Nothing here touches a socket, a clock or the DOM. The server and the browser share it, so they agree on every name,
//! limit and frame.

pub mod decode;
pub mod event;
pub mod frame;
pub mod message;
pub mod paths;
pub mod problem;
mod utc;
