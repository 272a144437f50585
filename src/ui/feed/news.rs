//! What is said aloud to somebody who listens instead of looking.
//!
//! One sentence at a time, at most one a second: thirty arrivals in three seconds are summed up,
//! or a screen reader would still be reading them out a minute later.

use std::fmt::Write;

/// The least time between two announcements, in milliseconds.
const PAUSE: f64 = 1_000.0;

/// How much of a message's text is read out, in characters.
const EXCERPT: usize = 60;

/// News that has not been said yet.
#[derive(Debug, Default)]
pub(super) struct News {
    notices: Vec<String>,
    messages: Vec<String>,
    arrivals: Vec<String>,
    complete: Vec<String>,
    said_at: Option<f64>,
}

impl News {
    /// Something about the connection, said in full.
    pub(super) fn notice(&mut self, text: impl Into<String>) {
        let text = text.into();
        if self.notices.last() != Some(&text) {
            self.notices.push(text);
        }
    }

    /// A message from elsewhere.
    pub(super) fn message(&mut self, text: &str) {
        self.messages.push(format!("New message: {}.", excerpt(text)));
    }

    /// An arrival of a burst.
    pub(super) fn arrival(&mut self, text: &str, repeat: u32, of: u32) {
        self.arrivals.push(format!("Arrival {repeat} of {of}: {}.", excerpt(text)));
    }

    /// The end of a burst.
    pub(super) fn complete(&mut self, text: &str) {
        self.complete.push(format!("Complete: {}.", excerpt(text)));
    }

    /// When the next announcement may be made, if there is something to say.
    pub(super) fn due_at(&self) -> Option<f64> {
        let quiet =
            self.notices.is_empty() && self.messages.is_empty() && self.arrivals.is_empty() && self.complete.is_empty();
        (!quiet).then(|| self.said_at.map_or(0.0, |said| said + PAUSE))
    }

    /// The announcement to make now: everything since the last one.
    pub(super) fn say(&mut self, now: f64) -> Option<String> {
        if self.due_at()? > now {
            return None;
        }
        self.said_at = Some(now);
        let mut text = self.notices.drain(..).collect::<Vec<_>>().join(" ");
        sum_up(&mut text, &mut self.messages, "new messages");
        sum_up(&mut text, &mut self.arrivals, "arrivals");
        sum_up(&mut text, &mut self.complete, "bursts complete");
        Some(text)
    }
}

fn sum_up(text: &mut String, news: &mut Vec<String>, many: &str) {
    if !text.is_empty() && !news.is_empty() {
        text.push(' ');
    }
    match news.as_slice() {
        [] => {}
        [one] => text.push_str(one),
        more => _ = write!(text, "{} {many}.", more.len()),
    }
    news.clear();
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
        let mut news = News::default();
        news.arrival("hello", 1, 3);
        assert_eq!(news.say(0.0).as_deref(), Some("Arrival 1 of 3: hello."));
        news.arrival("hello", 2, 3);
        news.arrival("other", 1, 3);
        news.complete("hello");
        assert_eq!(news.say(999.0), None);
        assert_eq!(news.due_at(), Some(1_000.0));
        assert_eq!(news.say(1_000.0).as_deref(), Some("2 arrivals. Complete: hello."));
        assert_eq!(news.due_at(), None);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let mut news = News::default();
        news.message(&"é".repeat(100));
        let said = news.say(0.0).unwrap_or_default();
        assert!(said.ends_with("é…."), "{said}");
    }
}
