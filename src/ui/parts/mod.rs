//! The small pieces: each shows what it is given and owns nothing.

pub mod mark;
pub mod time;
pub mod track;
pub mod wire_log;
