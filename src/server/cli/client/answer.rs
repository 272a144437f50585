//! Answers of a hub that are not streams: problem documents, texts, `Retry-After`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::Response;
use reqwest::header::{CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER};
use serde::Deserialize;

use super::error::{ClientError, Refusal, cause};
use crate::wire::problem;

/// Maximum bytes of an answer. No id or problem document is longer.
const MAX_ANSWER: usize = 64 * 1024;

/// Maximum characters of a hub's text that are printed.
const MAX_PRINTED: usize = 500;

/// The members of a problem document (RFC 9457) that are for people. All of them are optional.
#[derive(Deserialize)]
struct Problem {
    title: Option<String>,
    detail: Option<String>,
}

/// Makes an error of a response that is not a success. Reads its body.
pub(super) async fn refusal(response: Response, token_sent: bool) -> ClientError {
    let status = response.status();
    if status.is_redirection() {
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or("elsewhere");
        return ClientError::Unexpected(format!(
            "the hub answered {} and redirects to {}: redirects are not followed, name the right address with --hub",
            status.as_u16(),
            printable(location)
        ));
    }
    let retry_after = retry_after(response.headers(), Utc::now());
    let media_type = media_type(&response);
    // The status says enough if the explanation can't be read.
    let body = body(response).await.unwrap_or_default();
    let detail = detail(&media_type, &String::from_utf8_lossy(&body));
    ClientError::Refused(Box::new(Refusal { status: status.as_u16(), detail, retry_after, token_sent }))
}

/// The media type in lower case, without parameters; empty if there is none.
pub(super) fn media_type(response: &Response) -> String {
    let value = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Reads a short body to its end. Fails if it is too long or the connection breaks.
pub(super) async fn body(mut response: Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| cause(&error))? {
        body.extend_from_slice(&piece);
        if body.len() > MAX_ANSWER {
            return Err(format!("the answer is longer than {} KiB", MAX_ANSWER >> 10));
        }
    }
    Ok(body)
}

/// Makes foreign text safe to print: one line, without control characters, not too long.
pub(super) fn printable(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut line: String =
        text.chars().take(MAX_PRINTED).map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect();
    if line.len() < text.len() {
        line.push('…');
    }
    line
}

fn detail(media_type: &str, body: &str) -> String {
    let problem = media_type == problem::MEDIA_TYPE || media_type == "application/json";
    let problem = problem.then(|| serde_json::from_str::<Problem>(body).ok()).flatten();
    let words = match problem {
        Some(Problem { title: Some(title), detail: Some(detail) }) => format!("{title}: {detail}"),
        Some(problem) => problem.detail.or(problem.title).unwrap_or_default(),
        None if media_type == "text/plain" => body.to_owned(),
        // An HTML page of some proxy is not for a terminal.
        None => String::new(),
    };
    printable(&words)
}

/// Parses `Retry-After` (RFC 9110, 10.2.3): seconds, or a date.
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
            assert_eq!(detail(media_type, body), words, "{body}");
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
