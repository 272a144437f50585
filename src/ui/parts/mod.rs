//! The small views without state: each shows what it is given.

pub mod mark;
pub mod time;
pub mod wire_log;
