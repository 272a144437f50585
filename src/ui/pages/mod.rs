//! The pages: each puts its panels in order.

pub mod docs;
pub mod home;
pub mod not_found;
pub mod welcome;
