//! What a hub answers, as far as it is not a stream: problem documents, texts, and when to come back.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::Response;
use reqwest::header::{CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER};
use serde::Deserialize;

use super::error::{ClientError, cause};
use crate::wire::problem;

/// More than any id or problem document has. A hub that sends more is not one.
const LONGEST_ANSWER: usize = 64 * 1024;

/// How much of what a hub says is repeated.
const MOST_SAID: usize = 500;

/// An error that a hub answered.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    /// In the hub's words; empty if it has none.
    pub(super) said: String,
    /// How long to wait before another try, if the hub says so.
    pub(super) retry_after: Option<Duration>,
    pub(super) token_sent: bool,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the hub answered {}", self.status)?;
        if let Some(reason) = reqwest::StatusCode::from_u16(self.status).ok().and_then(|code| code.canonical_reason()) {
            write!(f, " {reason}")?;
        }
        if !self.said.is_empty() {
            write!(f, ": {}", self.said)?;
        }
        if self.status == 401 && !self.token_sent {
            write!(f, " (no token was sent: give one with --token-file, or in the environment as TIDINGS_TOKEN)")?;
        }
        Ok(())
    }
}

/// The members of a problem document (RFC 9457) that are for people. Every member may be missing.
#[derive(Deserialize)]
struct Problem {
    title: Option<String>,
    detail: Option<String>,
}

/// Makes an error of a response that is not a success.
pub(super) async fn refusal(response: Response, token_sent: bool) -> ClientError {
    let status = response.status();
    if status.is_redirection() {
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or("elsewhere");
        return ClientError::Unexpected(format!(
            "the hub answered {} and points to {}: redirects are not followed, name the right address with --hub",
            status.as_u16(),
            printable(location)
        ));
    }
    let retry_after = retry_after(response.headers(), Utc::now());
    let media_type = media_type(&response);
    // Half of an explanation is better than none, and the status says enough alone.
    let body = body(response).await.unwrap_or_default();
    let said = said(&media_type, &String::from_utf8_lossy(&body));
    ClientError::Refused(Box::new(Refusal { status: status.as_u16(), said, retry_after, token_sent }))
}

/// The media type without its parameters, in lower case; empty if there is none.
pub(super) fn media_type(response: &Response) -> String {
    let value = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The whole of a short body.
pub(super) async fn body(mut response: Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| cause(&error))? {
        body.extend_from_slice(&piece);
        if body.len() > LONGEST_ANSWER {
            return Err(format!("its answer is longer than {} KiB", LONGEST_ANSWER >> 10));
        }
    }
    Ok(body)
}

/// Text of another's that can stand in one line of a terminal.
pub(super) fn printable(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut line: String = text.chars().take(MOST_SAID).map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect();
    if line.len() < text.len() {
        line.push('…');
    }
    line
}

fn said(media_type: &str, body: &str) -> String {
    let problem = media_type == problem::MEDIA_TYPE || media_type == "application/json";
    let problem = problem.then(|| serde_json::from_str::<Problem>(body).ok()).flatten();
    let words = match problem {
        Some(Problem { title: Some(title), detail: Some(detail) }) => format!("{title}: {detail}"),
        Some(problem) => problem.detail.or(problem.title).unwrap_or_default(),
        None if media_type == "text/plain" => body.to_owned(),
        // A page of some proxy's is not for a terminal.
        None => String::new(),
    };
    printable(&words)
}

/// `Retry-After` (RFC 9110, 10.2.3) is in seconds, or a date.
fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if value.bytes().all(|byte| byte.is_ascii_digit()) {
        return value.parse().ok().map(Duration::from_secs);
    }
    let until = DateTime::parse_from_rfc2822(value).ok()?.to_utc() - now;
    Some(until.to_std().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_problem_document_says_is_told_whichever_members_it_has() {
        for (media_type, body, words) in [
            ("application/problem+json", r#"{"status":400,"title":"Bad","detail":"no topic"}"#, "Bad: no topic"),
            ("application/problem+json", r#"{"detail":"no topic"}"#, "no topic"),
            ("application/problem+json", r#"{"title":"Bad","extra":[1]}"#, "Bad"),
            ("application/problem+json", "broken", ""),
            ("text/plain", "  Missing \"topic\"\nparameter\n", "Missing \"topic\" parameter"),
            ("text/plain", "\u{1b}[2Jgone", "\u{FFFD}[2Jgone"),
            ("text/html", "<html>", ""),
        ] {
            assert_eq!(said(media_type, body), words, "{body}");
        }
        assert_eq!(printable(&"é".repeat(600)).chars().count(), 501);
    }

    #[test]
    fn a_time_to_come_back_is_told_in_seconds_or_as_a_date() {
        let now = DateTime::parse_from_rfc3339("2015-10-21T07:27:30Z").expect("a time").to_utc();
        let after = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().expect("a value"));
            retry_after(&headers, now)
        };
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(after("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(after("Wed, 21 Oct 2015 07:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(after("soon"), None);
        assert_eq!(after("-3"), None);
    }
}
