//! The message that is being written: its length, whether it is being sent, and what is wrong with it.

use super::Refused;
use crate::ui::browser::RequestError;
use crate::wire::message::MessageText;
use crate::wire::problem::Problem;

/// The state of the composer, beside the text itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    bytes: usize,
    max_bytes: usize,
    sending: bool,
    trouble: Option<Trouble>,
}

/// Why the last submission failed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Trouble {
    /// The server refused the text, for this reason.
    Refused(String),
    /// The server could not be reached.
    Unreachable,
    /// The server did not answer in time.
    TimedOut,
}

impl Draft {
    /// The draft of a page that was rendered with this refused text, or with an empty field.
    pub fn new(refused: Option<&Refused>, max_bytes: usize) -> Self {
        Self {
            bytes: refused.map_or(0, |refused| refused.text.len()),
            max_bytes,
            sending: false,
            trouble: refused.map(|refused| Trouble::Refused(refused.problem.detail.clone())),
        }
    }

    /// The field has this text now. An error about the text is checked again, so that it goes when it is mended.
    pub fn edited(&mut self, text: &str) {
        self.bytes = text.len();
        if let Some(Trouble::Refused(_)) = self.trouble {
            let error = MessageText::parse(text.to_owned(), self.max_bytes).err();
            self.trouble = error.map(|error| Trouble::Refused(error.to_string()));
        }
    }

    /// The visitor sends it. Answers false if it is being sent already.
    pub fn send(&mut self) -> bool {
        !std::mem::replace(&mut self.sending, true)
    }

    /// The server accepted it.
    pub fn sent(&mut self) {
        self.sending = false;
        self.trouble = None;
    }

    /// It could not be sent.
    pub(in crate::ui) fn failed(&mut self, error: RequestError) {
        self.sending = false;
        self.trouble = Some(match error {
            RequestError::Refused(Problem { detail, .. }) => Trouble::Refused(detail),
            RequestError::Unreachable => Trouble::Unreachable,
            RequestError::TimedOut => Trouble::TimedOut,
        });
    }

    /// The server was reached: an error that says it can't be is out of date. Answers whether there was one.
    pub fn server_reached(&mut self) -> bool {
        let outdated = matches!(self.trouble, Some(Trouble::Unreachable | Trouble::TimedOut));
        if outdated {
            self.trouble = None;
        }
        outdated
    }

    /// Whether it is being sent.
    pub fn is_sending(&self) -> bool {
        self.sending
    }

    /// Whether it is longer than allowed.
    pub fn is_too_long(&self) -> bool {
        self.bytes > self.max_bytes
    }

    /// What is wrong, and what to do about it.
    pub fn error(&self) -> Option<&str> {
        self.trouble.as_ref().map(|trouble| match trouble {
            Trouble::Refused(detail) => detail,
            Trouble::Unreachable => {
                "The server can't be reached. Your text is kept: send it again when the connection is back."
            }
            Trouble::TimedOut => {
                "No answer within 10 seconds. Your text is kept. All tabs of this page share six connections: close \
                 some tabs if many are open, then send it again."
            }
        })
    }

    /// The length, as the page shows it.
    pub fn length(&self) -> String {
        let Self { bytes, max_bytes, .. } = self;
        match bytes.checked_sub(*max_bytes) {
            None | Some(0) => format!("{bytes} of {max_bytes} bytes"),
            Some(over) => format!("{bytes} of {max_bytes} bytes: {over} too many"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(detail: &str) -> RequestError {
        RequestError::Refused(Problem { status: 422, title: String::new(), detail: detail.into() })
    }

    #[test]
    fn an_error_about_the_text_goes_when_the_text_is_mended() {
        let mut draft = Draft::new(None, 4);
        draft.failed(refused("The message is empty."));
        draft.edited("  ");
        assert_eq!(draft.error(), Some("The message is empty. Write something to send."));
        draft.edited("12345");
        assert_eq!(draft.error(), Some("The message has 5 bytes, 1 more than the 4 it may have. Shorten it."));
        draft.edited("1234");
        assert_eq!(draft.error(), None);
        draft.edited("12345");
        assert_eq!(draft.error(), None, "nobody has sent it");
        assert!(draft.is_too_long());
    }

    #[test]
    fn a_text_that_came_back_with_the_page_has_its_error() {
        let problem = Problem { status: 422, title: String::new(), detail: "too long".into() };
        let mut draft = Draft::new(Some(&Refused { text: "12345".into(), problem }), 4);
        assert_eq!(draft.error(), Some("too long"));
        assert_eq!(draft.length(), "5 of 4 bytes: 1 too many");
        draft.edited("1234");
        assert_eq!(draft.error(), None);
        assert_eq!(draft.length(), "4 of 4 bytes");
    }

    #[test]
    fn an_unreachable_server_is_no_error_once_it_is_reached() {
        for error in [RequestError::Unreachable, RequestError::TimedOut] {
            let mut draft = Draft::new(None, 4);
            draft.failed(error);
            draft.edited("typing on");
            assert!(draft.error().is_some_and(|error| error.contains("Your text is kept")));
            assert!(draft.server_reached());
            assert_eq!(draft.error(), None);
            assert!(!draft.server_reached());
        }
    }

    #[test]
    fn reaching_the_server_does_not_mend_the_text() {
        let mut draft = Draft::new(None, 4);
        draft.failed(refused("too long"));
        assert!(!draft.server_reached());
        assert_eq!(draft.error(), Some("too long"));
    }

    #[test]
    fn a_draft_is_sent_once_at_a_time() {
        let mut draft = Draft::new(None, 4);
        assert!(draft.send());
        assert!(!draft.send());
        draft.failed(RequestError::TimedOut);
        assert!(draft.send());
        draft.sent();
        assert!(!draft.is_sending());
        assert_eq!(draft.error(), None);
    }
}
