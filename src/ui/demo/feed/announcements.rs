//! What is announced to users of screen readers.
//!
//! At most one announcement a second: thirty arrivals in three seconds are summed up, or a screen reader would still
//! read them out a minute later.

use std::fmt::Write;

/// The minimum time between two announcements, in milliseconds.
const INTERVAL: f64 = 1_000.0;

/// How many characters of a message are read out.
const EXCERPT: usize = 60;

/// Announcements that were not made yet.
#[derive(Debug, Default)]
pub(super) struct Announcements {
    notices: Vec<String>,
    messages: Vec<String>,
    arrivals: Vec<String>,
    complete: Vec<String>,
    last_at: Option<f64>,
}

impl Announcements {
    /// Adds a sentence about the connection. It is announced in full.
    pub(super) fn notice(&mut self, text: impl Into<String>) {
        let text = text.into();
        if self.notices.last() != Some(&text) {
            self.notices.push(text);
        }
    }

    /// Adds a message from elsewhere.
    pub(super) fn message(&mut self, text: &str) {
        self.messages.push(format!("New message: {}.", excerpt(text)));
    }

    /// Adds an arrival of a burst.
    pub(super) fn arrival(&mut self, text: &str, repeat: u32, of: u32) {
        self.arrivals.push(format!("Arrival {repeat} of {of}: {}.", excerpt(text)));
    }

    /// Adds the end of a burst.
    pub(super) fn complete(&mut self, text: &str) {
        self.complete.push(format!("Complete: {}.", excerpt(text)));
    }

    /// When the next announcement may be made; `None` if there is nothing to announce.
    pub(super) fn due_at(&self) -> Option<f64> {
        let quiet =
            self.notices.is_empty() && self.messages.is_empty() && self.arrivals.is_empty() && self.complete.is_empty();
        (!quiet).then(|| self.last_at.map_or(0.0, |last| last + INTERVAL))
    }

    /// The announcement to make now: everything since the last one.
    pub(super) fn next(&mut self, now: f64) -> Option<String> {
        if self.due_at()? > now {
            return None;
        }
        self.last_at = Some(now);
        let mut text = self.notices.drain(..).collect::<Vec<_>>().join(" ");
        sum_up(&mut text, &mut self.messages, "new messages");
        sum_up(&mut text, &mut self.arrivals, "arrivals");
        sum_up(&mut text, &mut self.complete, "bursts complete");
        Some(text)
    }
}

fn sum_up(text: &mut String, items: &mut Vec<String>, many: &str) {
    if !text.is_empty() && !items.is_empty() {
        text.push(' ');
    }
    match items.as_slice() {
        [] => {}
        [one] => text.push_str(one),
        more => _ = write!(text, "{} {many}.", more.len()),
    }
    items.clear();
}

fn excerpt(text: &str) -> String {
    let line = text.trim();
    match line.char_indices().nth(EXCERPT) {
        None => line.to_owned(),
        Some((end, _)) => format!("{}…", &line[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_said_in_full_and_many_are_counted() {
        let mut announcements = Announcements::default();
        announcements.arrival("hello", 1, 3);
        assert_eq!(announcements.next(0.0).as_deref(), Some("Arrival 1 of 3: hello."));
        announcements.arrival("hello", 2, 3);
        announcements.arrival("other", 1, 3);
        announcements.complete("hello");
        assert_eq!(announcements.next(999.0), None);
        assert_eq!(announcements.due_at(), Some(1_000.0));
        assert_eq!(announcements.next(1_000.0).as_deref(), Some("2 arrivals. Complete: hello."));
        assert_eq!(announcements.due_at(), None);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let mut announcements = Announcements::default();
        announcements.message(&"é".repeat(100));
        let text = announcements.next(0.0).unwrap_or_default();
        assert!(text.ends_with("é…."), "{text}");
    }
}
