//! How tokens are told to people.

use std::time::Duration;

use chrono::{DateTime, Datelike, Utc};

use crate::server::hub::Rights;
use crate::server::settings::Span;

/// Years that are written with four digits.
const LAST_YEAR: i32 = 9999;

/// A time, and how far it is from now.
pub(super) fn moment(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    if at.year() > LAST_YEAR {
        return "after the year 9999: are these milliseconds?".into();
    }
    let span = Span(Duration::from_secs((at.timestamp() - now.timestamp()).unsigned_abs()));
    let date = at.format("%Y-%m-%d %H:%M:%S UTC");
    if at > now { format!("{date}, in {span}") } else { format!("{date}, {span} ago") }
}

/// What is granted, each in one line.
pub(super) fn grants(rights: &Rights) -> Vec<String> {
    let mut lines = Vec::new();
    for grant in rights.grants() {
        let actions = [("publish", grant.publish), ("subscribe", grant.subscribe), ("revoke", grant.revoke)];
        let actions: Vec<_> = actions.into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect();
        let actions = if actions.is_empty() { "nothing that is known here".into() } else { actions.join(" and ") };
        let topics: Vec<_> = grant.topics.iter().map(|topic| visible(&topic.to_string())).collect();
        let payload = grant.payload.clone().map(|payload| visible(&serde_json::Value::from(payload).to_string()));
        let payload = payload.map_or(String::new(), |payload| format!(", with the payload {payload}"));
        lines.push(format!("{actions}: {}{payload}", topics.join(", ")));
    }
    lines
}

/// A text of somebody else's, without what would move a terminal's cursor or turn its writing round.
pub(super) fn visible(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars().map(|c| if hidden(c) { c.escape_unicode().to_string() } else { c.to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_with_its_distance() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).expect("a time");
        let at = |seconds| moment(DateTime::from_timestamp(seconds, 0).expect("a time"), now);
        assert_eq!(at(1_800_003_661), "2027-01-15 09:01:01 UTC, in 1h 1m 1s");
        assert_eq!(at(1_799_999_998), "2027-01-15 07:59:58 UTC, 2s ago");
        assert!(at(1_800_000_000_000).contains("milliseconds"));
    }

    #[test]
    fn what_would_play_with_a_terminal_is_made_visible() {
        assert_eq!(visible("a\u{1b}[2Jb\u{202e}c\u{9b}é"), "a\\u{1b}[2Jb\\u{202e}c\\u{9b}é");
    }
}
