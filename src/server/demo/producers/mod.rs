//! The producers of the demo's streams. The messages and their bursts are the hub's first clients; the
//! ticker and the counter make their events themselves, since nobody wants to read an old one again.
//!
//! Each producer gives a stream of frames: encoded events, ready for any outlet.

mod burst;
mod counter;
mod messages;
mod ticker;

pub use burst::{BurstOptions, Bursts, Resume};
pub(super) use counter::Counter;
pub use messages::Messages;
pub(super) use messages::{Before, PublishError};
pub(super) use ticker::{Tick, Ticker, local_time};
