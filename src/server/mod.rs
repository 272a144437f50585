//! The server.

pub mod log;
