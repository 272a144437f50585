//! One stream's connection as a page sees it: its phase, where it resumes, and when to try again.
//!
//! It opens nothing and reads no clock. Its owner reports what happened and when.

use super::backoff::wait;
use super::{LogItem, Moment};
use crate::wire::paths;
use crate::wire::problem::Problem;

/// How long a connection may take to be answered before the page says so, in milliseconds.
pub const SLOW_AFTER: f64 = 10_000.0;

/// How long a connection that came back says where it resumed, in milliseconds.
pub const RESUMED_SHOWN: f64 = 5_000.0;

/// What a browser reports about an open stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectionEvent {
    /// The response has begun.
    Opened,
    /// One event.
    Event {
        /// Its id; empty if it has none.
        id: String,
        /// Its name.
        name: String,
        /// Its data.
        data: String,
    },
    /// The connection is gone.
    Lost {
        /// The server answered with something that is not a stream. A page can't see what, and has to ask.
        refused: bool,
    },
}

/// What the server says when it is asked why it refused a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It would stream now.
    Stream,
    /// The stream is over, nothing more will come (204).
    Ended,
    /// It refuses, and says why.
    Refused(Problem),
    /// It doesn't answer.
    Silent,
}

/// Where a connection stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Phase {
    /// Nobody asked for it.
    #[default]
    Idle,
    /// Waits for one of the few connections that a browser has.
    Queued,
    /// Requested, not answered yet.
    Connecting {
        /// When it was requested, in milliseconds since 1970.
        since: f64,
        /// Whether that was more than [`SLOW_AFTER`] ago.
        slow: bool,
    },
    /// Events arrive.
    Open {
        /// Set for the first [`RESUMED_SHOWN`] milliseconds after a reconnect.
        resumed: Option<Resumed>,
    },
    /// Gone, and tried again at `again_at`.
    Lost {
        /// When, in milliseconds since 1970.
        again_at: f64,
        /// How many seconds are left, rounded up: what the page shows.
        seconds: u32,
        /// The server was reached, and asked for patience (429 or 503).
        busy: bool,
    },
    /// Refused, and the server is being asked why.
    Asking,
    /// The server refuses. It is not asked again automatically.
    Refused(Problem),
    /// It came to its end.
    Closed,
    /// Closed while nobody looks at the page.
    Paused,
}

/// Where a connection resumed.
#[derive(Clone, Debug, PartialEq)]
pub struct Resumed {
    /// The id of the last event before the connection was lost.
    pub after: String,
    /// Until when the page says so, in milliseconds since 1970.
    until: f64,
}

/// What has to be done about a connection as time passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// Show it again: its phase has changed.
    Show,
    /// Connect: the wait is over.
    Connect,
}

/// A connection and its position in the stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Connection {
    /// Where it stands.
    pub phase: Phase,
    /// The id of the last event received: where it resumes.
    pub last_id: Option<String>,
    /// Tries that failed since it was last open.
    pub failures: u32,
    /// Whether it was open before, so that the next try resumes instead of beginning.
    pub returning: bool,
}

impl Connection {
    /// Whether it occupies, or is about to occupy, one of the browser's connections.
    pub fn holds_connection(&self) -> bool {
        matches!(self.phase, Phase::Connecting { .. } | Phase::Open { .. } | Phase::Lost { .. } | Phase::Asking)
    }

    /// Whether it is working, or will be without anybody's help.
    pub fn is_under_way(&self) -> bool {
        self.holds_connection() || matches!(self.phase, Phase::Queued | Phase::Paused)
    }

    /// Whether it waits for its next try.
    pub fn is_lost(&self) -> bool {
        matches!(self.phase, Phase::Lost { .. })
    }

    /// Whether it waits for a server that it can't reach, and longer than after a first failure.
    ///
    /// A first wait is not worth ending early. Two streams that break as soon as they open would end each other's
    /// waits without a pause.
    pub fn waits_for_server(&self) -> bool {
        matches!(self.phase, Phase::Lost { busy: false, .. }) && self.failures > 1
    }

    /// The address to open: `path`, resuming after the last event.
    pub fn address(&self, path: &str) -> String {
        match &self.last_id {
            None => path.to_owned(),
            Some(id) => {
                let separator = if path.contains('?') { '&' } else { '?' };
                format!("{path}{separator}{}={id}", paths::LAST_EVENT_ID)
            }
        }
    }

    /// It is being opened.
    pub fn connect(&mut self, now: f64) {
        self.phase = Phase::Connecting { since: now, slow: false };
    }

    /// The response has begun.
    pub fn opened(&mut self, now: f64) -> LogItem {
        let after = self.last_id.clone().filter(|_| self.returning);
        let resumed = after.clone().map(|after| Resumed { after, until: now + RESUMED_SHOWN });
        self.phase = Phase::Open { resumed };
        self.failures = 0;
        self.returning = true;
        LogItem::Opened { after }
    }

    /// The connection broke, or a try failed. Answers what to log: nothing unless it was open.
    pub fn lose(&mut self, at: Moment) -> Option<LogItem> {
        let was_open = matches!(self.phase, Phase::Open { .. });
        self.back_off(at, false);
        was_open.then_some(LogItem::Lost)
    }

    /// The server answered why it refused the stream. Answers what to log.
    pub fn answered(&mut self, answer: Answer, at: Moment) -> Option<LogItem> {
        match answer {
            Answer::Ended => {
                self.phase = Phase::Closed;
                return Some(LogItem::Ended);
            }
            Answer::Refused(problem) if is_lasting(&problem) => {
                let reason = problem.detail.clone();
                self.phase = Phase::Refused(problem);
                return Some(LogItem::Refused(reason));
            }
            Answer::Refused(problem) => self.back_off(at, matches!(problem.status, 429 | 503)),
            Answer::Stream | Answer::Silent => self.back_off(at, false),
        }
        None
    }

    /// Time has passed.
    pub fn tick(&mut self, now: f64) -> Due {
        match &mut self.phase {
            Phase::Lost { again_at, .. } if now >= *again_at => return Due::Connect,
            Phase::Lost { again_at, seconds, .. } => {
                let left = whole_seconds(*again_at - now);
                if left == *seconds {
                    return Due::Nothing;
                }
                *seconds = left;
            }
            Phase::Connecting { since, slow } if !*slow && now >= *since + SLOW_AFTER => *slow = true,
            Phase::Open { resumed } if resumed.as_ref().is_some_and(|resumed| now >= resumed.until) => *resumed = None,
            _ => return Due::Nothing,
        }
        Due::Show
    }

    /// When [`Connection::tick`] has something to do next, in milliseconds since 1970.
    pub fn next_tick(&self) -> Option<f64> {
        match &self.phase {
            Phase::Lost { again_at, seconds, .. } => Some(again_at - f64::from(seconds.saturating_sub(1)) * 1_000.0),
            Phase::Connecting { since, slow: false } => Some(since + SLOW_AFTER),
            Phase::Open { resumed } => resumed.as_ref().map(|resumed| resumed.until),
            _ => None,
        }
    }

    fn back_off(&mut self, at: Moment, busy: bool) {
        self.failures += 1;
        let wait = wait(self.failures, at.jitter);
        self.phase = Phase::Lost { again_at: at.now + wait, seconds: whole_seconds(wait), busy };
    }
}

/// Whether another try would meet the same refusal. A server that is busy or starting is worth another try.
fn is_lasting(problem: &Problem) -> bool {
    (400..500).contains(&problem.status) && !matches!(problem.status, 408 | 429)
}

fn whole_seconds(milliseconds: f64) -> u32 {
    // A negative number becomes 0: `as` saturates.
    (milliseconds / 1_000.0).ceil() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(now: f64) -> Moment {
        Moment { now, jitter: 0.5 }
    }

    fn problem(status: u16) -> Answer {
        Answer::Refused(Problem { status, title: String::new(), detail: "why".into() })
    }

    #[test]
    fn the_countdown_shows_each_second_once() {
        let mut connection = Connection { failures: 2, ..Connection::default() };
        connection.lose(at(0.0));
        assert_eq!(connection.phase, Phase::Lost { again_at: 4_000.0, seconds: 4, busy: false });
        assert_eq!(connection.next_tick(), Some(1_000.0));
        assert_eq!(connection.tick(999.0), Due::Nothing);
        assert_eq!(connection.tick(1_000.0), Due::Show);
        assert_eq!(connection.next_tick(), Some(2_000.0));
        assert_eq!(connection.tick(3_999.0), Due::Show);
        assert_eq!(connection.tick(4_000.0), Due::Connect);
    }

    #[test]
    fn only_a_connection_that_comes_back_has_resumed() {
        let mut connection = Connection { last_id: Some("7".into()), ..Connection::default() };
        assert_eq!(connection.opened(0.0), LogItem::Opened { after: None });
        assert_eq!(connection.lose(at(0.0)), Some(LogItem::Lost));
        assert_eq!(connection.opened(0.0), LogItem::Opened { after: Some("7".into()) });
        assert_eq!(connection.failures, 0);
    }

    #[test]
    fn a_connection_that_came_back_is_soon_an_open_one_like_any_other() {
        let mut connection = Connection { last_id: Some("7".into()), returning: true, ..Connection::default() };
        connection.opened(1_000.0);
        assert_eq!(connection.next_tick(), Some(1_000.0 + RESUMED_SHOWN));
        assert_eq!(connection.tick(999.0 + RESUMED_SHOWN), Due::Nothing);
        assert_eq!(connection.tick(1_000.0 + RESUMED_SHOWN), Due::Show);
        assert_eq!(connection.phase, Phase::Open { resumed: None });
        assert_eq!(connection.next_tick(), None);
    }

    #[test]
    fn a_connection_that_is_not_answered_is_slow_and_not_given_up() {
        let mut connection = Connection::default();
        connection.connect(500.0);
        assert_eq!(connection.next_tick(), Some(500.0 + SLOW_AFTER));
        assert_eq!(connection.tick(500.0 + SLOW_AFTER), Due::Show);
        assert_eq!(connection.phase, Phase::Connecting { since: 500.0, slow: true });
        assert_eq!(connection.tick(900.0 + SLOW_AFTER), Due::Nothing);
        assert_eq!(connection.next_tick(), None);
        assert!(connection.holds_connection());
    }

    #[test]
    fn an_address_resumes_after_the_last_event() {
        let mut connection = Connection::default();
        assert_eq!(connection.address("/clock"), "/clock");
        connection.last_id = Some("7".into());
        assert_eq!(connection.address("/clock"), "/clock?last_event_id=7");
        assert_eq!(connection.address("/stream?message=a"), "/stream?message=a&last_event_id=7");
    }

    #[test]
    fn a_lasting_refusal_is_not_tried_again_and_a_passing_one_is() {
        for status in [400, 401, 403, 404, 410, 422] {
            let mut connection = Connection::default();
            assert_eq!(connection.answered(problem(status), at(0.0)), Some(LogItem::Refused("why".into())), "{status}");
            assert_eq!(connection.next_tick(), None, "{status}");
        }
        for status in [408, 429, 500, 502, 503, 504] {
            let mut connection = Connection::default();
            assert_eq!(connection.answered(problem(status), at(0.0)), None, "{status}");
            assert!(connection.is_lost(), "{status}");
        }
    }

    #[test]
    fn only_a_server_that_cannot_be_reached_is_waited_for() {
        let mut connection = Connection::default();
        connection.lose(at(0.0));
        assert!(!connection.waits_for_server(), "the first wait is short");
        connection.answered(Answer::Silent, at(0.0));
        assert!(connection.waits_for_server());
        connection.answered(problem(502), at(0.0));
        assert!(connection.waits_for_server(), "a gateway's word");
        connection.answered(problem(503), at(0.0));
        assert!(!connection.waits_for_server(), "the server's own word");
        connection.answered(Answer::Ended, at(0.0));
        assert!(!connection.waits_for_server());
    }
}
