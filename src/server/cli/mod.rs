//! The commands. Each parses its own arguments, does its work, prints, and returns an exit code.

pub mod client;
pub mod log;
pub mod outcome;
pub mod serve;
pub mod token;
