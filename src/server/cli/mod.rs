//! The commands. Each parses its own arguments, does its work, prints, and returns an exit code.

pub mod client;
pub mod cluster;
pub mod config;
pub mod health;
pub mod help;
pub mod log;
pub mod outcome;
pub mod serve;
mod supervisor;
pub mod token;
