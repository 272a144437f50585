//! Who may do what: tokens, the keys that verify them, and what they grant.

mod options;

pub use options::{AuthOptions, IssuerOptions, KeySource};
