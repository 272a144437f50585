//! The state of a stream in words. Colour and shape only repeat it.

use super::{Connection, Phase, Resumed};

/// How many characters of a long event id are shown.
const SHORT_ID: usize = 8;

/// The name of a phase, for the style sheet.
pub fn phase_name(phase: &Phase) -> &'static str {
    match phase {
        Phase::Idle => "idle",
        Phase::Queued => "queued",
        Phase::Connecting { .. } => "connecting",
        Phase::Open { .. } => "open",
        Phase::Lost { .. } => "lost",
        Phase::Asking => "asking",
        Phase::Refused(_) => "refused",
        Phase::Closed => "closed",
        Phase::Paused => "paused",
    }
}

/// The state of a stream that everybody calls by its state. `open` is the word for an open one.
pub fn status(connection: &Connection, open: &str) -> String {
    match &connection.phase {
        Phase::Idle => "Not watched".to_owned(),
        Phase::Queued => "Queued, waits for a free stream".to_owned(),
        Phase::Connecting { slow: true, .. } => "No answer yet. Too many tabs?".to_owned(),
        Phase::Connecting { .. } if connection.failures > 0 => "Trying again".to_owned(),
        Phase::Connecting { .. } => "Connecting".to_owned(),
        Phase::Open { resumed: Some(resumed) } if has_heard_nothing_since(connection, resumed) => back_again(resumed),
        Phase::Open { .. } => open.to_owned(),
        Phase::Lost { seconds, busy: true, .. } => format!("Server busy, again in {seconds} s"),
        Phase::Lost { seconds, .. } if connection.failures > 1 => format!("Server gone, again in {seconds} s"),
        Phase::Lost { seconds, .. } => format!("Lost, again in {seconds} s"),
        Phase::Asking => "Refused, asking why".to_owned(),
        Phase::Refused(problem) => format!("Refused: {}", problem.detail),
        Phase::Closed => "Closed".to_owned(),
        Phase::Paused => "Paused".to_owned(),
    }
}

/// Whether no event has arrived since the connection resumed.
pub fn has_heard_nothing_since(connection: &Connection, resumed: &Resumed) -> bool {
    connection.last_id.as_ref() == Some(&resumed.after)
}

/// Where a connection resumed.
pub fn back_again(resumed: &Resumed) -> String {
    format!("Back again, resumed after event {}", short_id(&resumed.after))
}

/// An event id as a person can tell it from its neighbours: the number of a burst's event, the beginning of
/// anything else.
pub fn short_id(id: &str) -> &str {
    match id.rsplit_once(':') {
        Some((message, nth)) if message.len() >= SHORT_ID && !nth.is_empty() => nth,
        _ => id.char_indices().nth(SHORT_ID).map_or(id, |(end, _)| &id[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::stream::{Answer, Moment, RESUMED_SHOWN, SLOW_AFTER};
    use crate::wire::problem::Problem;

    const AT: Moment = Moment { now: 0.0, jitter: 0.5 };

    #[test]
    fn a_burst_id_is_named_by_its_number_and_any_other_by_its_beginning() {
        assert_eq!(short_id("0198c1f2-7c11-7000-8000-000000000000:2"), "2");
        assert_eq!(short_id("0198c1f2-7c11-7000-8000-000000000000"), "0198c1f2");
        assert_eq!(short_id("a:b"), "a:b");
    }

    #[test]
    fn the_first_failure_is_a_loss_and_the_next_a_server_that_is_gone() {
        let mut connection = Connection::default();
        connection.lose(AT);
        assert_eq!(status(&connection, "Open"), "Lost, again in 1 s");
        connection.lose(AT);
        assert_eq!(status(&connection, "Open"), "Server gone, again in 2 s");
    }

    #[test]
    fn a_server_that_answers_is_not_gone() {
        let mut connection = Connection { failures: 2, ..Connection::default() };
        let busy = Problem { status: 503, title: String::new(), detail: String::new() };
        connection.answered(Answer::Refused(busy), AT);
        assert_eq!(status(&connection, "Open"), "Server busy, again in 4 s");
    }

    #[test]
    fn a_connection_that_came_back_says_after_what_until_the_next_event_or_a_moment_later() {
        let id = Some("0198c1f2-7c11:1".to_owned());
        let mut connection = Connection { returning: true, last_id: id.clone(), ..Connection::default() };
        connection.opened(0.0);
        assert_eq!(status(&connection, "Live"), "Back again, resumed after event 1");
        connection.last_id = Some("0198c1f2-7c11:2".into());
        assert_eq!(status(&connection, "Live"), "Live");
        connection.last_id = id;
        connection.tick(RESUMED_SHOWN);
        assert_eq!(status(&connection, "Live"), "Live");
    }

    #[test]
    fn a_connection_without_an_answer_says_so() {
        let mut connection = Connection::default();
        connection.connect(0.0);
        assert_eq!(status(&connection, "Open"), "Connecting");
        connection.tick(SLOW_AFTER);
        assert_eq!(status(&connection, "Open"), "No answer yet. Too many tabs?");
    }
}
