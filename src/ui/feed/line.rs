//! One stream's connection as the page sees it: its phase, its place, and when to try again.
//!
//! It opens nothing and reads no clock: the feed tells it what happened and when.

use crate::wire::problem::Problem;

/// The wait before the first retry, in milliseconds. It doubles with each failure.
const FIRST_WAIT: f64 = 1_000.0;

/// The longest wait between two tries, in milliseconds.
const LONGEST_WAIT: f64 = 15_000.0;

/// When something happens, and the luck it meets. The feed has neither clock nor dice of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    /// Milliseconds since 1970, never running backwards within one page.
    pub now: f64,
    /// Evenly spread over 0 to 1: keeps the clients of a server that comes back from returning all at once.
    pub roll: f64,
}

/// What a connection says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The response has begun.
    Open,
    /// One event.
    Event {
        /// Its id; empty if it has none.
        id: String,
        /// Its name.
        name: String,
        /// Its data.
        data: String,
    },
    /// The connection is gone. `refused` if the server answered with something that is not a stream:
    /// a page can't see what, and has to ask.
    Lost {
        /// Whether there was an answer.
        refused: bool,
    },
}

/// What the server says when it is asked why it refused a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It would stream now.
    Stream,
    /// The stream is over, there is nothing more to get (204).
    Ended,
    /// It won't, and says why.
    Refused(Problem),
    /// It doesn't answer.
    Silent,
}

/// Where a connection stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Phase {
    /// Nobody asked for it.
    #[default]
    Rest,
    /// It waits for one of the few connections that a browser has.
    Queued,
    /// Asked for, not answered yet.
    Connecting,
    /// Events come.
    Open,
    /// Gone, and tried again at `again_at`.
    Lost {
        /// When, in milliseconds since 1970.
        again_at: f64,
        /// How many seconds are left, rounded up: what the page shows.
        seconds: u32,
    },
    /// Refused, and the server is being asked why.
    Asking,
    /// The server won't. It is not asked again by itself.
    Refused(Problem),
    /// It came to its end.
    Closed,
    /// Let go while nobody is looking.
    Paused,
}

/// A connection and its place in the stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    /// Where it stands.
    pub phase: Phase,
    /// The id of the last event heard: where it goes on from.
    pub last_id: Option<String>,
    /// Tries that failed since it was last open.
    pub failures: u32,
    /// It was open before, and is to go on rather than to begin.
    pub returning: bool,
    /// The event that the open connection went on from, if it came back.
    pub resumed_after: Option<String>,
}

impl Line {
    /// Whether it uses, or is about to use, one of the browser's connections.
    pub fn holds_connection(&self) -> bool {
        matches!(self.phase, Phase::Connecting | Phase::Open | Phase::Lost { .. } | Phase::Asking)
    }

    /// Whether it has work before it: it's on its way, or will be by itself.
    pub fn is_under_way(&self) -> bool {
        self.holds_connection() || matches!(self.phase, Phase::Queued | Phase::Paused)
    }

    /// The response has begun.
    pub(super) fn opened(&mut self) {
        self.resumed_after = self.last_id.clone().filter(|_| self.returning);
        self.phase = Phase::Open;
        self.failures = 0;
        self.returning = true;
    }

    /// The connection is gone, or a try failed.
    pub(super) fn lose(&mut self, at: Moment) {
        self.failures += 1;
        self.resumed_after = None;
        let wait = wait(self.failures, at.roll);
        self.phase = Phase::Lost { again_at: at.now + wait, seconds: seconds(wait) };
    }

    /// Whether it is lost and its time has come.
    pub(super) fn is_due(&self, now: f64) -> bool {
        matches!(self.phase, Phase::Lost { again_at, .. } if now >= again_at)
    }

    /// Counts down. Whether the page has to show another number.
    pub(super) fn count_down(&mut self, now: f64) -> bool {
        let Phase::Lost { again_at, seconds: shown } = &mut self.phase else { return false };
        let left = seconds(*again_at - now);
        let changed = left != *shown;
        *shown = left;
        changed
    }

    /// When the countdown shows another number, or the next try is due.
    pub(super) fn next_tick(&self) -> Option<f64> {
        let Phase::Lost { again_at, seconds } = self.phase else { return None };
        Some(again_at - f64::from(seconds.saturating_sub(1)) * 1_000.0)
    }
}

/// 1, 2, 4, 8, 15, 15 ... seconds, a fifth more or less.
fn wait(failures: u32, roll: f64) -> f64 {
    let doublings = failures.saturating_sub(1).min(4);
    let even = FIRST_WAIT * f64::from(1_u32 << doublings);
    (even * (0.8 + 0.4 * roll)).min(LONGEST_WAIT)
}

fn seconds(milliseconds: f64) -> u32 {
    // A negative number becomes 0: `as` saturates.
    (milliseconds / 1_000.0).ceil() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_and_are_spread_by_a_fifth() {
        let even: Vec<f64> = (1..=7).map(|failures| wait(failures, 0.5)).collect();
        assert_eq!(even, [1_000.0, 2_000.0, 4_000.0, 8_000.0, 15_000.0, 15_000.0, 15_000.0]);
        assert!(wait(2, 0.0) < wait(2, 1.0));
        assert!(wait(99, 1.0) <= LONGEST_WAIT);
    }

    #[test]
    fn the_countdown_shows_each_second_once() {
        let mut line = Line { failures: 2, ..Line::default() };
        line.lose(Moment { now: 0.0, roll: 0.5 });
        assert_eq!(line.phase, Phase::Lost { again_at: 4_000.0, seconds: 4 });
        assert_eq!(line.next_tick(), Some(1_000.0));
        assert!(!line.count_down(999.0));
        assert!(line.count_down(1_000.0));
        assert_eq!(line.next_tick(), Some(2_000.0));
        assert!(!line.is_due(3_999.0));
        assert!(line.is_due(4_000.0));
    }

    #[test]
    fn only_a_line_that_comes_back_has_resumed() {
        let mut line = Line { last_id: Some("7".into()), ..Line::default() };
        line.opened();
        assert_eq!(line.resumed_after, None);
        line.lose(Moment { now: 0.0, roll: 0.0 });
        line.opened();
        assert_eq!(line.resumed_after.as_deref(), Some("7"));
        assert_eq!(line.failures, 0);
    }
}
