//! What the page says about a stream, in words. Colour and shape only repeat it.

use super::feed::{Burst, Line, Phase};

/// How much of a long event id is shown.
const SHORT_ID: usize = 8;

/// The name of a phase, for the style sheet.
pub(super) fn phase_name(phase: &Phase) -> &'static str {
    match phase {
        Phase::Rest => "rest",
        Phase::Queued => "queued",
        Phase::Connecting => "connecting",
        Phase::Open => "open",
        Phase::Lost { .. } => "lost",
        Phase::Asking => "asking",
        Phase::Refused(_) => "refused",
        Phase::Closed => "closed",
        Phase::Paused => "paused",
    }
}

/// How a burst stands.
pub(super) fn burst_status(burst: &Burst) -> String {
    let arrived = burst.arrived();
    match &burst.line.phase {
        Phase::Open => {
            let heard = match arrived {
                0 => "Open, nothing yet".to_owned(),
                nth => format!("{} arrival", ordinal(nth)),
            };
            match &burst.line.resumed_after {
                None => heard,
                Some(id) if burst.line.last_id.as_ref() == Some(id) => back_again(id),
                Some(id) => format!("{heard} (resumed after event {})", short_id(id)),
            }
        }
        Phase::Closed if arrived == 1 => "Closed after 1 arrival".to_owned(),
        Phase::Closed => format!("Closed after {arrived} arrivals"),
        _ => line_status(&burst.line),
    }
}

/// How the page's own stream stands.
pub(super) fn live_status(line: &Line, online: bool) -> String {
    match &line.phase {
        Phase::Rest => "Connecting".to_owned(),
        Phase::Lost { seconds, .. } if !online => format!("Offline, again in {seconds} s"),
        Phase::Open => open("Live", line),
        _ => line_status(line),
    }
}

/// How a stream stands, whatever it carries.
pub(super) fn line_status(line: &Line) -> String {
    match &line.phase {
        Phase::Rest => "Not watched".to_owned(),
        Phase::Queued => "Queued, waits for a free stream".to_owned(),
        Phase::Connecting if line.failures > 0 => "Trying again".to_owned(),
        Phase::Connecting => "Connecting".to_owned(),
        Phase::Open => open("Open", line),
        Phase::Lost { seconds, .. } if line.failures > 1 => format!("Server gone, again in {seconds} s"),
        Phase::Lost { seconds, .. } => format!("Lost, again in {seconds} s"),
        Phase::Asking => "Refused, asking why".to_owned(),
        Phase::Refused(problem) => format!("Refused: {}", problem.detail),
        Phase::Closed => "Closed".to_owned(),
        Phase::Paused => "Paused".to_owned(),
    }
}

/// An open stream; until the next event also after which one it came back.
fn open(name: &str, line: &Line) -> String {
    match &line.resumed_after {
        Some(id) if line.last_id.as_ref() == Some(id) => back_again(id),
        _ => name.to_owned(),
    }
}

fn back_again(id: &str) -> String {
    format!("Back again, resumed after event {}", short_id(id))
}

/// An event id as a person can tell it from its neighbours: the number of a burst's event, the
/// beginning of anything else.
pub(super) fn short_id(id: &str) -> &str {
    match id.rsplit_once(':') {
        Some((message, nth)) if message.len() >= SHORT_ID && !nth.is_empty() => nth,
        _ => id.char_indices().nth(SHORT_ID).map_or(id, |(end, _)| &id[..end]),
    }
}

/// `First`, `Second`, ... as far as a sentence goes on well with it.
pub(super) fn ordinal(nth: usize) -> String {
    const WORDS: [&str; 5] = ["First", "Second", "Third", "Fourth", "Fifth"];
    match nth.checked_sub(1).and_then(|place| WORDS.get(place)) {
        Some(word) => (*word).to_owned(),
        None => format!("{nth}th"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(phase: Phase) -> Line {
        Line { phase, ..Line::default() }
    }

    #[test]
    fn a_burst_id_is_named_by_its_number_and_any_other_by_its_beginning() {
        assert_eq!(short_id("0198c1f2-7c11-7000-8000-000000000000:2"), "2");
        assert_eq!(short_id("0198c1f2-7c11-7000-8000-000000000000"), "0198c1f2");
        assert_eq!(short_id("a:b"), "a:b");
    }

    #[test]
    fn the_first_failure_is_a_loss_and_the_next_a_server_that_is_gone() {
        let lost = Phase::Lost { again_at: 0.0, seconds: 3 };
        let mut line = Line { failures: 1, ..line(lost) };
        assert_eq!(line_status(&line), "Lost, again in 3 s");
        line.failures = 2;
        assert_eq!(line_status(&line), "Server gone, again in 3 s");
        assert_eq!(live_status(&line, false), "Offline, again in 3 s");
    }

    #[test]
    fn a_line_that_came_back_says_after_what() {
        let id = Some("0198c1f2-7c11:1".to_owned());
        let mut back = Line { resumed_after: id.clone(), last_id: id, ..line(Phase::Open) };
        assert_eq!(line_status(&back), "Back again, resumed after event 1");
        back.last_id = Some("0198c1f2-7c11:2".into());
        assert_eq!(line_status(&back), "Open");
    }
}
