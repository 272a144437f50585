//! The looks that are taken, one after the other.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_ENCODING, CONTENT_TYPE, DATE, HeaderMap, ORIGIN, VIA,
};
use reqwest::{Response, Version};
use tokio::time::{Instant, timeout};

use super::super::answer;
use super::super::endpoint::Endpoint;
use super::super::error::ClientError;
use super::finding;
use super::findings::{Finding, Verdict};
use super::listening::Listening;

/// A stream that sends nothing for this long after its head is being held back.
const FIRST_WORD: Duration = Duration::from_secs(3);
/// How long an update may take at most.
const PATIENCE: Duration = Duration::from_secs(10);
/// Later than this an update is late.
const LATE: Duration = Duration::from_secs(1);
/// Clocks that differ by more than this make tokens fail.
const SKEW: i64 = 5;
/// What a browser accepts: whoever compresses streams does it then.
const BROWSERS_CODINGS: &str = "gzip, br";
/// What can be read here.
const OUR_CODINGS: &str = "gzip";

/// Looks at the whole way.
pub(super) async fn examine(
    endpoint: &Endpoint,
    origin: Option<&str>,
    silence: Duration,
    updates: u32,
) -> Result<Vec<Finding>, ClientError> {
    let topic = format!("urn:uuid:{}", uuid::Uuid::new_v4());
    let mut findings = Vec::new();
    let begin = Instant::now();
    let response = open(endpoint, &topic, None, origin, BROWSERS_CODINGS).await?;
    findings.extend(head(&response, begin.elapsed()));
    findings.extend(origin.map(|origin| cross_origin(response.headers(), origin)));
    let mut stream = Listening::new(response, "");
    findings.push(first_word(&mut stream).await?);
    findings.push(listen(&mut stream, silence).await);
    if !endpoint.has_token() {
        findings.push(finding(Verdict::Note, "updates", "not looked at: there is no token to publish with"));
        return Ok(findings);
    }
    // The one before may have been cut in the silence.
    let mut stream = Listening::new(open(endpoint, &topic, None, None, OUR_CODINGS).await?, "");
    let mut late = Vec::new();
    let (mut first, mut last) = (String::new(), String::new());
    for number in 0..updates {
        let begin = Instant::now();
        let id = publish(endpoint, &topic, number).await?;
        let Some(event) = stream.event(PATIENCE).await? else {
            let detail = format!("update {} of {updates} did not come within {} s", number + 1, PATIENCE.as_secs());
            findings.push(finding(Verdict::Bad, "updates", detail));
            return Ok(findings);
        };
        late.push(begin.elapsed());
        if event.data != number.to_string() {
            let detail =
                format!("update {} came as {:?}: something on the way changes, loses or repeats", number, event.data);
            findings.push(finding(Verdict::Bad, "updates", detail));
        }
        if first.is_empty() {
            first.clone_from(&id);
        }
        last = id;
    }
    findings.push(delay(&mut late));
    findings.push(resume(endpoint, &topic, &first, &last, updates).await?);
    Ok(findings)
}

async fn open(
    endpoint: &Endpoint,
    topic: &str,
    last_event_id: Option<&str>,
    origin: Option<&str>,
    codings: &'static str,
) -> Result<Response, ClientError> {
    let mut url = endpoint.hub().clone();
    url.query_pairs_mut().append_pair("match", topic);
    let response = endpoint
        .send(|http| {
            let request = http.get(url).header(ACCEPT, "text/event-stream").header(ACCEPT_ENCODING, codings);
            let request = last_event_id.into_iter().fold(request, |request, id| request.header("last-event-id", id));
            origin.into_iter().fold(request, |request, origin| request.header(ORIGIN, origin))
        })
        .await?;
    if !response.status().is_success() {
        return Err(answer::refusal(response, endpoint.has_token()).await);
    }
    Ok(response)
}

async fn publish(endpoint: &Endpoint, topic: &str, number: u32) -> Result<String, ClientError> {
    let form = [("topic", topic), ("data", &number.to_string())];
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let response = endpoint
        .send(|http| {
            let request = http.post(endpoint.hub().clone());
            request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body)
        })
        .await?;
    if !response.status().is_success() {
        return Err(answer::refusal(response, endpoint.has_token()).await);
    }
    let id = answer::body(response).await.map_err(ClientError::Broken)?;
    Ok(String::from_utf8_lossy(&id).trim().to_owned())
}

/// What the head of a stream says.
fn head(response: &Response, took: Duration) -> Vec<Finding> {
    let headers = response.headers();
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let mut findings = Vec::new();
    let (verdict, version) = match response.version() {
        Version::HTTP_2 => (Verdict::Good, "HTTP/2"),
        Version::HTTP_11 => (Verdict::Note, "HTTP/1.1: a browser opens six streams over it, all tabs together"),
        _ => (Verdict::Bad, "older than HTTP/1.1: streams need 1.1 or 2"),
    };
    findings.push(finding(verdict, "protocol", version));
    findings.push(finding(Verdict::Good, "answer", format!("the stream was open after {took:.1?}")));
    if let Some(via) = text(VIA) {
        findings.push(finding(Verdict::Note, "proxy", format!("the answer has come through {via}")));
    }
    if answer::media_type(response) != "text/event-stream" {
        let detail =
            format!("the stream is called {:?}, not text/event-stream", text(CONTENT_TYPE).unwrap_or_default());
        findings.push(finding(Verdict::Bad, "type", detail));
    }
    if let Some(encoding) = text(CONTENT_ENCODING) {
        let detail =
            format!("the stream is compressed ({encoding}): whoever does it may hold events back until it has more");
        findings.push(finding(Verdict::Note, "compression", detail));
    }
    let date = text(DATE).and_then(|date| DateTime::parse_from_rfc2822(date).ok());
    findings.push(match date.map(|date| (Utc::now() - date.with_timezone(&Utc)).num_seconds()) {
        None => finding(Verdict::Note, "clock", "the answer has no date"),
        Some(skew) if skew.abs() > SKEW => finding(
            Verdict::Bad,
            "clock",
            format!("this machine's clock is {skew} s ahead of the server's: tokens may be refused"),
        ),
        Some(_) => finding(Verdict::Good, "clock", "this machine's and the server's agree"),
    });
    findings
}

fn cross_origin(headers: &HeaderMap, origin: &str) -> Finding {
    match headers.get(ACCESS_CONTROL_ALLOW_ORIGIN).map(|value| String::from_utf8_lossy(value.as_bytes())) {
        Some(allowed) if allowed == origin => finding(
            Verdict::Good,
            "origin",
            format!("pages of {origin} may read, with cookies too if the server says so"),
        ),
        Some(allowed) if allowed == "*" => {
            finding(Verdict::Good, "origin", format!("pages of {origin} may read, as all may, without cookies"))
        }
        Some(allowed) => {
            finding(Verdict::Bad, "origin", format!("only pages of {allowed} may read, not those of {origin}"))
        }
        None => finding(Verdict::Bad, "origin", format!("pages of {origin} may not read: name it with --cors-origins")),
    }
}

/// Whether the first comment comes at once, or something waits for more.
async fn first_word(stream: &mut Listening) -> Result<Finding, ClientError> {
    let begin = Instant::now();
    Ok(match timeout(FIRST_WORD, stream.bytes()).await {
        Ok(Ok(true)) => {
            finding(Verdict::Good, "buffering", format!("the first bytes came after {:.1?}", begin.elapsed()))
        }
        Ok(Ok(false)) => finding(Verdict::Bad, "buffering", "the stream ended at once"),
        Ok(Err(error)) => return Err(error),
        Err(_) => finding(
            Verdict::Bad,
            "buffering",
            "nothing came within 3 s although the stream is open: something on the way holds it back; turn its buffering off",
        ),
    })
}

/// Whether a stream without events stays open, and whether heartbeats come through.
async fn listen(stream: &mut Listening, silence: Duration) -> Finding {
    let begin = Instant::now();
    let mut heard = 0;
    while let Some(left) = silence.checked_sub(begin.elapsed()).filter(|left| !left.is_zero()) {
        match timeout(left, stream.bytes()).await {
            Ok(Ok(true)) => heard += 1,
            Ok(_) => {
                let after = begin.elapsed();
                return finding(
                    Verdict::Bad,
                    "silence",
                    format!(
                        "the stream was cut after {after:.1?}: something on the way has a shorter patience than the heartbeat"
                    ),
                );
            }
            Err(_) => {}
        }
    }
    match heard {
        0 => finding(
            Verdict::Note,
            "silence",
            format!("the stream was still open after {silence:?}, without a heartbeat so far"),
        ),
        _ => finding(Verdict::Good, "silence", format!("heartbeats came through in {silence:?} of silence")),
    }
}

fn delay(late: &mut [Duration]) -> Finding {
    late.sort_unstable();
    let at = |part: f64| late.get(((late.len() - 1) as f64 * part) as usize).copied().unwrap_or_default();
    let (median, p99) = (at(0.5), at(0.99));
    let verdict = if p99 > LATE { Verdict::Bad } else { Verdict::Good };
    let detail = format!(
        "{} came complete and in order; from publish to arrival {median:.1?} (median), {p99:.1?} (99th percentile)",
        late.len()
    );
    finding(verdict, "updates", detail)
}

/// Whether a client that comes back with an id gets exactly what follows.
async fn resume(
    endpoint: &Endpoint,
    topic: &str,
    first: &str,
    last: &str,
    updates: u32,
) -> Result<Finding, ClientError> {
    let mut stream = Listening::new(open(endpoint, topic, Some(first), None, OUR_CODINGS).await?, first);
    for number in 1..updates {
        match stream.event(PATIENCE).await? {
            Some(event) if event.data == number.to_string() => {}
            Some(event) => {
                let detail = format!("after the first update {:?} came instead of {number}", event.data);
                return Ok(finding(Verdict::Bad, "resuming", detail));
            }
            None => {
                return Ok(finding(
                    Verdict::Bad,
                    "resuming",
                    format!("update {number} was not sent again: is Last-Event-ID passed on?"),
                ));
            }
        }
    }
    let verdict = if updates == 1 || stream.last_event_id() == last { Verdict::Good } else { Verdict::Bad };
    Ok(finding(verdict, "resuming", "a client that comes back gets exactly what it has missed"))
}
