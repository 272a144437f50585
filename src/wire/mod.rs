//! The words both sides speak: plain data, its parsing and its rules.
//!
//! Nothing here touches a socket, a clock or the DOM, so the server and the browser can't come to
//! disagree about a name, a limit or a frame.

pub mod decode;
pub mod event;
pub mod frame;
pub mod message;
pub mod paths;
pub mod problem;
mod utc;
