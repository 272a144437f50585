//! Notices when what is published is not delivered any more.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{error, info};

use super::HubShared;
use crate::server::log::Cursor;

/// How long the fan-out may stand still while there is something for it to do.
const PATIENCE: Duration = Duration::from_secs(10);

/// How far the fan-out was when it was last seen to move, or to have nothing to do.
pub(super) struct Watchdog {
    position: Cursor,
    seen: Instant,
    has_said: bool,
}

impl Watchdog {
    pub(super) fn new() -> Self {
        Self { position: Cursor::START, seen: Instant::now(), has_said: false }
    }

    /// Looks whether the fan-out moves, and says so when it doesn't.
    pub(super) fn look(&mut self, hub: &HubShared) {
        let position = hub.fanned_out.iter().map(|position| *position.borrow()).min().unwrap_or_default();
        let acknowledged = Cursor(hub.acknowledged.load(Ordering::Relaxed));
        if position > self.position || position >= acknowledged {
            if std::mem::replace(&mut self.has_said, false) {
                info!("updates are delivered again");
            }
            (self.position, self.seen) = (position, Instant::now());
        } else if self.seen.elapsed() > PATIENCE && !self.has_said {
            self.has_said = true;
            error!(%position, %acknowledged, "updates are acknowledged, but none has been delivered for {PATIENCE:?}");
        }
    }
}
