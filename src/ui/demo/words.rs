//! The state of the demo's own streams in words.

use super::feed::Burst;
use crate::ui::stream::words::{back_again, has_heard_nothing_since, short_id, status};
use crate::ui::stream::{Connection, Phase};

/// The state of a burst.
pub(super) fn burst_status(burst: &Burst) -> String {
    let arrived = burst.arrived();
    match &burst.connection.phase {
        Phase::Open { resumed } => {
            let arrivals = match arrived {
                0 => "Open, nothing yet".to_owned(),
                nth => format!("{} arrival", ordinal(nth)),
            };
            match resumed {
                None => arrivals,
                Some(resumed) if has_heard_nothing_since(&burst.connection, resumed) => back_again(resumed),
                Some(resumed) => format!("{arrivals} (resumed after event {})", short_id(&resumed.after)),
            }
        }
        Phase::Closed if arrived == 1 => "Closed after 1 arrival".to_owned(),
        Phase::Closed => format!("Closed after {arrived} arrivals"),
        _ => status(&burst.connection, "Open"),
    }
}

/// The state of the page's own stream.
pub(super) fn live_status(connection: &Connection, online: bool) -> String {
    match &connection.phase {
        Phase::Idle => "Connecting".to_owned(),
        Phase::Lost { seconds, .. } if !online => format!("Offline, again in {seconds} s"),
        _ => status(connection, "Live"),
    }
}

/// How many messages the page shows. `has_older` says that the server has had more.
pub(super) fn message_count(shown: usize, has_older: bool) -> String {
    match (shown, has_older) {
        (0, _) => String::new(),
        (1, false) => "1 message".to_owned(),
        (_, false) => format!("{shown} messages"),
        (_, true) => format!("{shown} messages shown, older ones left out"),
    }
}

/// `First`, `Second`, ... as far as a sentence reads well with it.
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
    use crate::ui::stream::Moment;

    #[test]
    fn a_page_without_network_is_offline() {
        let mut connection = Connection { failures: 1, ..Connection::default() };
        connection.lose(Moment { now: 0.0, jitter: 0.5 });
        assert_eq!(live_status(&connection, true), "Server gone, again in 2 s");
        assert_eq!(live_status(&connection, false), "Offline, again in 2 s");
    }

    #[test]
    fn cards_are_not_counted_as_messages_where_there_are_more() {
        assert_eq!(message_count(1, false), "1 message");
        assert_eq!(message_count(200, false), "200 messages");
        assert_eq!(message_count(200, true), "200 messages shown, older ones left out");
    }
}
