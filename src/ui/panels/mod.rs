//! The panels of the page: each owns the state of its own corner, and reaches the rest through the desk.

pub mod activity;
pub mod card;
pub mod composer;
pub mod masthead;
pub mod taps;
pub mod terminal;
