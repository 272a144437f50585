//! The producers of the demo's streams. The messages and their bursts are clients of the hub. The ticker and the counter
//! make their events themselves, since no client resumes from an old one.
//!
//! Each producer returns a stream of frames: encoded events, ready for any outlet.

mod burst;
mod counter;
mod messages;
mod ticker;

pub use burst::{BurstOptions, Bursts, Resume};
pub(super) use counter::Counter;
pub use messages::Messages;
pub(super) use messages::{Before, PublishError};
pub(super) use ticker::{Tick, Ticker, local_time};
