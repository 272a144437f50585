//! What systemd is told, where it has started the server (`sd_notify`, `Type=notify` or `notify-reload`).

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};
use tracing::debug;

/// The server takes requests.
pub(super) fn ready() {
    notify(&[NotifyState::Ready]);
}

/// The server reads again what can change: [`ready`] follows.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => debug!(%error, "systemd could not be told of the reload"),
    }
}

/// The server stops, which takes up to this long.
pub(super) fn stopping(within: Duration) {
    let extend = u32::try_from(within.as_micros()).unwrap_or(u32::MAX);
    notify(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(extend)]);
}

/// Says that the server lives as often as systemd wants to hear it, for ever: it stops being said when tasks no longer
/// run.
pub(super) async fn keep_alive() {
    let Some(timeout) = sd_notify::watchdog_enabled() else { return };
    // Half of it, as sd_watchdog_enabled(3) recommends.
    let mut beats = interval((timeout / 2).max(Duration::from_millis(1)));
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beats.tick().await;
        notify(&[NotifyState::Watchdog]);
    }
}

/// Without systemd there is nobody to tell.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        debug!(%error, "systemd could not be told");
    }
}
