//! The panels of the page. Each owns the state of its own corner, and reaches the rest through the controller.

pub mod activity;
pub mod card;
pub mod composer;
pub mod demo_streams;
pub mod masthead;
pub mod terminal;
pub mod track;
