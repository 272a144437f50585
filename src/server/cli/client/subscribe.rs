//! `tidings subscribe`: prints updates as they arrive, and reconnects and resumes when a connection is lost.

use std::cell::Cell;
use std::time::Duration;

use clap::Args;
use humantime::format_duration;
use reqwest::header::{ACCEPT, CACHE_CONTROL, HeaderValue};
use reqwest::{Response, StatusCode};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use url::Url;

use super::endpoint::{Endpoint, EndpointArgs};
use super::error::{ClientError, cause};
use super::output::{Output, reader_gone};
use super::reconnect::{Backoff, STABLE_AFTER};
use super::{EXIT_CODES, answer, duration, runtime};
use crate::server::cli::outcome::say;
use crate::wire::decode::{Decoder, Event};
use crate::wire::event::{GAP, Gap};
use crate::wire::paths::LAST_EVENT_ID;

/// Longer than any hub's heartbeat interval.
const DEFAULT_SILENCE: &str = "60s";

/// Maximum bytes of an event.
const MAX_EVENT: usize = 64 << 20;

const EVENT_STREAM: &str = "text/event-stream";

/// Follow topics on a Mercure hub, and print each update as it arrives
#[derive(Args)]
#[command(after_help = EXIT_CODES)]
pub struct SubscribeArgs {
    /// A topic to follow, spelled as it is published, or * for all
    #[arg(value_name = "TOPIC", required_unless_present = "patterns")]
    topics: Vec<String>,

    /// A URL pattern of topics to follow, like https://example.com/books/:id; may be repeated
    #[arg(long = "pattern", value_name = "PATTERN")]
    patterns: Vec<String>,

    /// Begin after the update with this id, or at the `earliest` that the hub still has [default: the next update]
    #[arg(long, value_name = "ID")]
    last_event_id: Option<String>,

    /// Exit after this many updates
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// Print each update as one line of JSON: {"id":"…","type":"message","data":"…"}
    #[arg(long)]
    json: bool,

    /// Exit with code 6 when no update has arrived for this long
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    timeout: Option<Duration>,

    /// Exit when the connection ends, instead of reconnecting and resuming
    #[arg(long)]
    no_reconnect: bool,

    /// Treat a connection as lost when nothing arrives for this long, not even a heartbeat
    #[arg(long, value_name = "DURATION", default_value = DEFAULT_SILENCE, value_parser = duration)]
    silence: Duration,

    /// Don't report when the connection opens, is lost, or resumes
    #[arg(long, short)]
    quiet: bool,

    #[command(flatten)]
    endpoint: EndpointArgs,
}

/// Runs the command.
pub(super) fn run(args: SubscribeArgs) -> Result<(), ClientError> {
    let last_update = Cell::new(Instant::now());
    let lost = Cell::new(None);
    let endpoint = args.endpoint.endpoint()?;
    let mut follower = Follower {
        address: address(endpoint.hub(), &args.topics, &args.patterns),
        endpoint,
        silence: args.silence,
        reconnects: !args.no_reconnect,
        quiet: args.quiet,
        left: args.count,
        output: Output::new(args.json),
        last_event_id: args.last_event_id.unwrap_or_default(),
        backoff: Backoff::default(),
        was_connected: false,
        last_update: &last_update,
        lost: &lost,
    };
    let runtime = runtime()?;
    let followed = runtime.block_on(async {
        tokio::select! {
            biased;
            followed = follower.follow() => followed,
            timeout = idle_for(&last_update, args.timeout) => Err(ClientError::TimedOut { timeout, lost: lost.take() }),
            () = reader_gone() => Ok(()),
        }
    });
    // Dropping it would wait for a DNS lookup in flight.
    runtime.shutdown_background();
    followed
}

/// Returns when no update has arrived for `timeout`. Never returns without one.
async fn idle_for(last_update: &Cell<Instant>, timeout: Option<Duration>) -> Duration {
    let Some(timeout) = timeout else { return std::future::pending().await };
    while last_update.get().elapsed() < timeout {
        sleep_until(last_update.get() + timeout).await;
    }
    timeout
}

/// The hub's URL with the matchers in its query.
fn address(hub: &Url, topics: &[String], patterns: &[String]) -> Url {
    let mut address = hub.clone();
    let mut query = address.query_pairs_mut();
    for topic in topics {
        query.append_pair("match", topic);
    }
    for pattern in patterns {
        query.append_pair("match_urlpattern", pattern);
    }
    // Hubs of protocol version 0.x know only `topic`, which newer hubs ignore. They would read braces as a template, and
    // ignore the patterns.
    if patterns.is_empty() && !topics.iter().any(|topic| topic.contains(['{', '}'])) {
        for topic in topics {
            query.append_pair("topic", topic);
        }
    }
    // An extension of this program's hub: report lost updates.
    query.append_pair("gap", "1");
    drop(query);
    address
}

/// How a connection ended without an error.
enum End {
    /// The command is done.
    Done,
    /// The hub has closed the stream and may have more after a reconnect.
    Closed,
}

/// Follows a stream over several connections.
struct Follower<'a> {
    endpoint: Endpoint,
    address: Url,
    silence: Duration,
    reconnects: bool,
    quiet: bool,
    /// Updates left to print, with `--count`.
    left: Option<u64>,
    output: Output,
    /// The id to resume after, or empty.
    last_event_id: String,
    backoff: Backoff,
    was_connected: bool,
    /// When the latest update arrived, or the start.
    last_update: &'a Cell<Instant>,
    /// Why the connection is lost, while it is.
    lost: &'a Cell<Option<String>>,
}

impl Follower<'_> {
    async fn follow(&mut self) -> Result<(), ClientError> {
        loop {
            let (reason, least) = match self.connect_and_read().await {
                Ok(End::Done) => return Ok(()),
                Ok(End::Closed) if !self.reconnects => return Ok(()),
                Ok(End::Closed) => ("the hub has closed the stream".to_owned(), None),
                Err(error) if self.may_reconnect(&error) => (error.to_string(), error.retry_after()),
                Err(error) => return Err(error),
            };
            let wait = self.backoff.next_wait(least);
            let known = self.lost.replace(Some(reason.clone())).is_some_and(|before| before == reason);
            let reason = if known { "not yet" } else { &reason };
            self.report(format_args!("{reason}; reconnecting in {}", format_duration(rounded(wait))));
            sleep(wait).await;
        }
    }

    fn may_reconnect(&self, error: &ClientError) -> bool {
        // Whoever renews the token's file may not have finished writing it.
        let is_being_renewed = self.was_connected && matches!(error, ClientError::TokenFile { .. });
        self.reconnects && (error.is_temporary() || is_being_renewed)
    }

    async fn connect_and_read(&mut self) -> Result<End, ClientError> {
        let sent = timeout(self.silence, self.request()).await;
        let response = sent.map_err(|_| ClientError::Silent(self.silence))??;
        match response.status() {
            StatusCode::NO_CONTENT => {
                self.report(format_args!("the hub has nothing more to send"));
                return Ok(End::Done);
            }
            StatusCode::OK => {}
            _ => return Err(answer::refusal(response, self.endpoint.has_token()).await),
        }
        let media_type = answer::media_type(&response);
        if media_type != EVENT_STREAM {
            return Err(ClientError::Unexpected(format!(
                "{} answered with {}, not with an event stream: is it a Mercure hub?",
                self.endpoint.hub(),
                if media_type.is_empty() { "no media type" } else { &media_type }
            )));
        }
        self.lost.take();
        self.report_connected();
        self.was_connected = true;
        let begin = Instant::now();
        let end = self.read(response).await;
        if begin.elapsed() >= STABLE_AFTER {
            self.backoff.reset();
        }
        end
    }

    fn report_connected(&self) {
        let connected = match self.was_connected {
            true => "reconnected".to_owned(),
            false => format!("connected to {}", self.endpoint.hub()),
        };
        match &*self.last_event_id {
            "" if self.was_connected => self.report(format_args!("{connected}; updates published meanwhile are lost")),
            "" => self.report(format_args!("{connected}")),
            id => self.report(format_args!("{connected}, resuming after {}", answer::printable(id))),
        }
    }

    async fn request(&self) -> Result<Response, ClientError> {
        let mut address = self.address.clone();
        let header = header(&self.last_event_id);
        if header.is_none() && !self.last_event_id.is_empty() {
            address.query_pairs_mut().append_pair(LAST_EVENT_ID, &self.last_event_id);
        }
        let request = self.endpoint.send(|http| {
            let request = http.get(address).header(ACCEPT, EVENT_STREAM).header(CACHE_CONTROL, "no-store");
            header.into_iter().fold(request, |request, id| request.header("last-event-id", id))
        });
        request.await
    }

    /// Prints updates until the stream ends or `--count` is reached.
    async fn read(&mut self, mut response: Response) -> Result<End, ClientError> {
        let mut decoder = Decoder::new(&self.last_event_id, MAX_EVENT);
        loop {
            let piece = match timeout(self.silence, response.chunk()).await {
                Ok(Ok(Some(piece))) => piece,
                Ok(Ok(None)) => return Ok(End::Closed),
                Ok(Err(error)) => return Err(ClientError::Broken(cause(&error))),
                Err(_) => return Err(ClientError::Silent(self.silence)),
            };
            let mut rest = &piece[..];
            loop {
                let event = decoder.next(&mut rest).map_err(|_| self.too_long())?;
                let Some(event) = event else { break };
                self.handle(event)?;
                decoder.last_event_id().clone_into(&mut self.last_event_id);
                if self.left == Some(0) {
                    return Ok(End::Done);
                }
            }
            // An id or a `retry` may arrive without an event.
            decoder.last_event_id().clone_into(&mut self.last_event_id);
            self.backoff.set_retry(decoder.retry());
        }
    }

    fn handle(&mut self, event: Event) -> Result<(), ClientError> {
        self.last_update.set(Instant::now());
        self.backoff.reset();
        match gap(&event) {
            Some(gap) => {
                if self.output.is_json() {
                    return self.output.write(event);
                }
                say(format_args!("{}", describe_gap(&gap)));
                Ok(())
            }
            None => {
                self.output.write(event)?;
                self.left = self.left.map(|left| left - 1);
                Ok(())
            }
        }
    }

    fn too_long(&self) -> ClientError {
        let after = match &*self.last_event_id {
            "" => "the beginning".to_owned(),
            id => answer::printable(id),
        };
        ClientError::TooLong { after, limit: MAX_EVENT }
    }

    fn report(&self, words: std::fmt::Arguments<'_>) {
        if !self.quiet {
            say(words);
        }
    }
}

/// The id as a `Last-Event-ID` header, or `None` if it is empty or no header can carry it.
fn header(id: &str) -> Option<HeaderValue> {
    let is_preserved = !id.is_empty() && !id.starts_with([' ', '\t']) && !id.ends_with([' ', '\t']);
    // Browsers send UTF-8.
    is_preserved.then(|| HeaderValue::from_bytes(id.as_bytes()).ok()).flatten()
}

/// Parses a gap event of this program's hub. Anyone can publish an update of this type with other data.
fn gap(event: &Event) -> Option<Gap> {
    let gap: Option<Gap> = (event.name == GAP).then(|| serde_json::from_str(&event.data).ok()).flatten();
    gap.filter(|gap| gap.lost)
}

fn describe_gap(gap: &Gap) -> String {
    let lost = match &gap.asked {
        Some(asked) => format!("updates after {} were lost", answer::printable(asked)),
        None => "updates were lost".to_owned(),
    };
    match &gap.oldest {
        Some(oldest) => format!("{lost}: the oldest that is kept is {}", answer::printable(oldest)),
        None => format!("{lost}: none is kept"),
    }
}

/// Rounds to milliseconds.
fn rounded(wait: Duration) -> Duration {
    Duration::from_millis(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(topics: &[&str], patterns: &[&str]) -> String {
        let [topics, patterns] = [topics, patterns].map(|values| values.iter().map(|&v| v.into()).collect::<Vec<_>>());
        let hub = Url::parse("http://hub.example/?a=b").expect("a URL");
        address(&hub, &topics, &patterns).query().unwrap_or_default().to_owned()
    }

    #[test]
    fn what_is_asked_for_is_understood_by_hubs_of_either_version() {
        assert_eq!(query(&["x&y", "*"], &[]), "a=b&match=x%26y&match=*&topic=x%26y&topic=*&gap=1");
        assert_eq!(query(&["x"], &["/b/:id"]), "a=b&match=x&match_urlpattern=%2Fb%2F%3Aid&gap=1");
        assert_eq!(query(&["/b/{id}"], &[]), "a=b&match=%2Fb%2F%7Bid%7D&gap=1");
    }

    #[test]
    fn an_id_goes_into_the_header_if_a_header_can_carry_it() {
        for id in ["7", "urn:uuid:1", "#a b", "é😀"] {
            assert_eq!(header(id).as_ref().map(HeaderValue::as_bytes), Some(id.as_bytes()), "{id}");
        }
        for id in ["", " 7", "7\t", "a\u{1}", "a\u{7f}"] {
            assert_eq!(header(id), None, "{id:?}");
        }
    }

    #[test]
    fn only_what_a_hub_says_of_lost_updates_is_a_gap() {
        let event =
            |name: &str, data: &str| Event { id: String::new(), name: name.into(), data: data.into(), retry: None };
        let lost = gap(&event("gap", r#"{"asked":"7","oldest":"9","lost":true}"#)).expect("a gap");
        assert_eq!(describe_gap(&lost), "updates after 7 were lost: the oldest that is kept is 9");
        let lost = gap(&event("gap", r#"{"asked":null,"oldest":null,"lost":true}"#)).expect("a gap");
        assert_eq!(describe_gap(&lost), "updates were lost: none is kept");
        assert_eq!(gap(&event("gap", "mind the gap")), None);
        assert_eq!(gap(&event("message", r#"{"asked":"7","oldest":"9","lost":true}"#)), None);
    }
}
