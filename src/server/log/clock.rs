//! What time it is, and whether that can be believed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use tracing::warn;

/// A clock that has moved by more than this against the machine's own timer has been set.
const JUMP: TimeDelta = TimeDelta::minutes(1);

/// Tells the time, to the millisecond or better.
pub type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// A clock, and how much time has passed whatever the clock is set to.
#[derive(Clone)]
pub struct TimeSource {
    wall: Clock,
    uptime: Arc<dyn Fn() -> Duration + Send + Sync>,
}

/// Watches a clock for being set, so that retention by age doesn't take what is seconds old for years old.
pub(super) struct ClockWatch {
    clock: TimeSource,
    last: Reading,
    jump: Option<Jump>,
}

/// One look at the clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    /// What it says.
    pub(super) now: DateTime<Utc>,
    uptime: Duration,
    jump: Option<Jump>,
}

/// The last time that the clock was set forward.
#[derive(Clone, Copy, Debug)]
struct Jump {
    by: TimeDelta,
    uptime: Duration,
}

impl TimeSource {
    /// The machine's clock.
    pub fn system() -> Self {
        let begin = Instant::now();
        Self::new(Utc::now, move || begin.elapsed())
    }

    /// A clock that says `wall`, to the millisecond or better, and by which `uptime` has passed since some moment.
    pub fn new(
        wall: impl Fn() -> DateTime<Utc> + Send + Sync + 'static,
        uptime: impl Fn() -> Duration + Send + Sync + 'static,
    ) -> Self {
        Self { wall: Arc::new(wall), uptime: Arc::new(uptime) }
    }

    /// The clock alone.
    pub fn wall(&self) -> Clock {
        self.wall.clone()
    }

    /// What time it is.
    pub fn now(&self) -> DateTime<Utc> {
        (self.wall)()
    }
}

impl ClockWatch {
    pub(super) fn new(clock: TimeSource) -> Self {
        let last = Reading { now: clock.now(), uptime: (clock.uptime)(), jump: None };
        Self { clock, last, jump: None }
    }

    /// Looks at the clock, and says if it has been set since the last look.
    pub(super) fn read(&mut self) -> Reading {
        let (now, uptime) = (self.clock.now(), (self.clock.uptime)());
        let passed = TimeDelta::from_std(uptime.saturating_sub(self.last.uptime)).unwrap_or(TimeDelta::MAX);
        let by = (now - self.last.now).checked_sub(&passed).unwrap_or_default();
        let (before, after) = (self.last.now, now);
        if by > JUMP {
            warn!(%before, %after, "the clock has jumped forward: retention by age pauses where that matters");
            let earlier = self.jump.map_or(TimeDelta::zero(), |jump| jump.by);
            self.jump = Some(Jump { by: by.max(earlier), uptime });
        } else if by < -JUMP {
            warn!(%before, %after, "the clock has jumped back: updates that were taken before are from the future now");
        }
        self.last = Reading { now, uptime, jump: self.jump };
        self.last
    }
}

impl Reading {
    /// What was taken before this is older than `age`; `None` without a limit, and while it pauses: after a jump by
    /// more than half of the age, what was there then is kept for as long as the age once more.
    pub(super) fn horizon(&self, age: Option<Duration>) -> Option<DateTime<Utc>> {
        let age = age?;
        let limit = TimeDelta::from_std(age).ok()?;
        let pauses = |jump: Jump| jump.by > limit / 2 && self.uptime.saturating_sub(jump.uptime) < age;
        if self.jump.is_some_and(pauses) { None } else { self.now.checked_sub_signed(limit) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    const AGE: Duration = Duration::from_secs(3600);

    #[test]
    fn a_clock_that_is_set_forward_makes_nothing_old_at_once() {
        let time = Arc::new(Mutex::new((DateTime::UNIX_EPOCH, Duration::ZERO)));
        let read = |get: fn((DateTime<Utc>, Duration)) -> Duration| {
            let time = time.clone();
            move || get(*time.lock().expect("the time"))
        };
        let wall = time.clone();
        let clock = TimeSource::new(move || wall.lock().expect("the time").0, read(|(_, uptime)| uptime));
        let mut watch = ClockWatch::new(clock);
        let mut pass = |uptime: u64, set: i64| {
            let mut time = time.lock().expect("the time");
            time.1 += Duration::from_secs(uptime);
            time.0 += TimeDelta::seconds(uptime.cast_signed() + set);
            drop(time);
            watch.read()
        };
        let long = Some(AGE * 24 * 365 * 200);
        assert!(pass(10, 30).horizon(Some(AGE)).is_some(), "a clock may be corrected");
        let set = pass(10, 56 * 365 * 24 * 3600);
        assert!(set.horizon(Some(AGE)).is_none());
        assert!(set.horizon(long).is_some(), "what is short against the age doesn't matter");
        assert!(pass(3599, 0).horizon(Some(AGE)).is_none());
        let again = pass(1, 0);
        assert_eq!(again.horizon(Some(AGE)), Some(again.now - TimeDelta::hours(1)));
        assert!(pass(1, -1_000_000).horizon(Some(AGE)).is_some(), "a step back makes nothing older");
    }
}
