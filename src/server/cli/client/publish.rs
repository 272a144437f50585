//! `tidings publish`: publishes one update, or one for each line of standard input.

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::time::Duration;

use clap::Args;
use humantime::format_duration;
use reqwest::header::CONTENT_TYPE;
use serde::Serialize;
use tokio::runtime::Runtime;
use url::form_urlencoded::Serializer;

use super::endpoint::{Endpoint, EndpointArgs};
use super::error::ClientError;
use super::{EXIT_CODES, answer, duration, runtime};
use crate::server::cli::outcome::say;

/// Attempts to publish an update when the hub answers `Retry-After`.
const MAX_ATTEMPTS: u32 = 5;

/// The longest `Retry-After` that is waited for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Deadline for a whole publish, answer included. A large update over a slow connection takes a while.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// Maximum bytes of standard input in one update.
const MAX_DATA: usize = 64 << 20;

const FORM: &str = "application/x-www-form-urlencoded";

/// Publish an update to a Mercure hub, and print its id
#[derive(Args)]
#[command(after_help = EXIT_CODES)]
pub struct PublishArgs {
    /// What the update is about, often a URL
    topic: String,

    /// The update's data. Read from standard input if it is -, or if it is left out and input is not a terminal
    data: Option<String>,

    /// Another topic of the same update; may be repeated
    #[arg(long = "topic", value_name = "TOPIC")]
    alternates: Vec<String>,

    /// Deliver only to subscribers whose token grants one of the topics
    #[arg(long)]
    private: bool,

    /// The update's id [default: the hub makes one]
    #[arg(long, value_name = "ID", conflicts_with = "lines")]
    id: Option<String>,

    /// The event type that subscribers see
    #[arg(long = "type", value_name = "NAME")]
    name: Option<String>,

    /// How long subscribers wait before they reconnect
    #[arg(long, value_name = "MILLISECONDS")]
    retry: Option<u64>,

    /// Expire the update after this long, in whole seconds like 90s or 1h. Works with tidings; other hubs ignore it
    #[arg(long, value_name = "DURATION", value_parser = whole_seconds)]
    ttl: Option<Duration>,

    /// Publish each line of standard input as a separate update, in order, as it arrives
    #[arg(long)]
    lines: bool,

    /// Print each id as JSON: {"id":"…"}
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    endpoint: EndpointArgs,
}

/// Runs the command.
pub(super) fn run(args: PublishArgs) -> Result<(), ClientError> {
    let source = source(args.data.as_deref(), args.lines, io::stdin().is_terminal())?;
    let publisher = Publisher { fields: fields(&args), json: args.json, endpoint: args.endpoint.endpoint()? };
    let runtime = runtime()?;
    let published = match source {
        Source::Given(data) => publisher.publish(&runtime, data),
        Source::Input => whole(io::stdin().lock()).and_then(|data| publisher.publish(&runtime, &data)),
        Source::Lines => publisher.publish_lines(&runtime, io::stdin().lock()),
    };
    // Dropping it would wait for a DNS lookup in flight.
    runtime.shutdown_background();
    published
}

/// Where the data comes from.
#[derive(Debug, PartialEq, Eq)]
enum Source<'a> {
    Given(&'a str),
    Input,
    Lines,
}

fn source(data: Option<&str>, lines: bool, terminal: bool) -> Result<Source<'_>, ClientError> {
    match data {
        None | Some("-") if lines => Ok(Source::Lines),
        Some(_) if lines => {
            Err(ClientError::Usage("--lines reads standard input: leave DATA out, or write -".to_owned()))
        }
        Some("-") => Ok(Source::Input),
        Some(data) => Ok(Source::Given(data)),
        // Publish an empty update rather than seem to hang until somebody types Ctrl-D.
        None if terminal => Ok(Source::Given("")),
        None => Ok(Source::Input),
    }
}

/// Reads the input to its end. Fails if it is too long or not UTF-8.
fn whole(input: impl Read) -> Result<String, ClientError> {
    let mut bytes = Vec::new();
    input.take(MAX_DATA as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    text(bytes)
}

/// Reads the next line, without its line ending. Returns `None` at the end of the input.
fn line(input: &mut impl BufRead) -> Result<Option<String>, ClientError> {
    let mut bytes = Vec::new();
    // Two more bytes, for the line ending.
    if input.take(MAX_DATA as u64 + 2).read_until(b'\n', &mut bytes).map_err(unreadable)? == 0 {
        return Ok(None);
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        bytes.pop_if(|byte| *byte == b'\r');
    }
    text(bytes).map(Some)
}

fn text(bytes: Vec<u8>) -> Result<String, ClientError> {
    if bytes.len() > MAX_DATA {
        let most = MAX_DATA >> 20;
        return Err(ClientError::Input(format!("standard input has more than {most} MiB in one update")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        ClientError::Input(format!(
            "standard input is not UTF-8 (from byte {at} on), but updates are text: encode the data, for example with base64"
        ))
    })
}

fn unreadable(error: io::Error) -> ClientError {
    ClientError::Input(format!("standard input can't be read: {error}"))
}

/// All form fields except the data, with the names of the Mercure protocol.
fn fields(args: &PublishArgs) -> Vec<(&'static str, String)> {
    let topics = std::iter::once(&args.topic).chain(&args.alternates);
    let mut fields: Vec<_> = topics.map(|topic| ("topic", topic.clone())).collect();
    if args.private {
        fields.push(("private", "on".to_owned()));
    }
    fields.extend(args.id.clone().map(|id| ("id", id)));
    fields.extend(args.name.clone().map(|name| ("type", name)));
    fields.extend(args.retry.map(|retry| ("retry", retry.to_string())));
    fields.extend(args.ttl.map(|ttl| ("ttl", ttl.as_secs().to_string())));
    fields
}

fn whole_seconds(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        duration if duration.subsec_nanos() == 0 => Ok(duration),
        _ => Err("must be whole seconds, for example 90s or 1h".to_owned()),
    }
}

/// Publishes updates that differ only in their data.
struct Publisher {
    endpoint: Endpoint,
    fields: Vec<(&'static str, String)>,
    json: bool,
}

/// A line of `--json` output.
#[derive(Serialize)]
struct Published<'a> {
    id: &'a str,
}

impl Publisher {
    fn publish_lines(&self, runtime: &Runtime, mut input: impl BufRead) -> Result<(), ClientError> {
        for number in 1.. {
            let of_line = |error| ClientError::Line { number, error: Box::new(error) };
            let Some(data) = line(&mut input).map_err(of_line)? else { break };
            self.publish(runtime, &data).map_err(|error| match error {
                ClientError::Output(_) => error,
                error => of_line(error),
            })?;
        }
        Ok(())
    }

    fn publish(&self, runtime: &Runtime, data: &str) -> Result<(), ClientError> {
        let id = runtime.block_on(self.send(data))?;
        let mut line = match self.json {
            true => serde_json::to_string(&Published { id: &id }).map_err(|error| ClientError::Output(error.into()))?,
            false => id,
        };
        line.push('\n');
        let mut out = io::stdout().lock();
        out.write_all(line.as_bytes()).and_then(|()| out.flush()).map_err(ClientError::Output)
    }

    /// Publishes an update and returns its id. Retries when the hub is overloaded and says when to come back.
    async fn send(&self, data: &str) -> Result<String, ClientError> {
        let form = Serializer::new(String::new()).extend_pairs(&self.fields).append_pair("data", data).finish();
        let mut attempts = 1;
        loop {
            let error = match self.send_once(form.clone()).await {
                Ok(id) => return Ok(id),
                Err(error) => error,
            };
            // An overloaded hub has not published the update, so a retry can't duplicate it.
            let wait = error.retry_after().filter(|wait| error.is_overload() && *wait <= MAX_RETRY_AFTER);
            let Some(wait) = wait.filter(|_| attempts < MAX_ATTEMPTS) else { return Err(error) };
            say(format_args!("{error}; retrying in {}", format_duration(wait)));
            tokio::time::sleep(wait).await;
            attempts += 1;
        }
    }

    async fn send_once(&self, form: String) -> Result<String, ClientError> {
        let request = self.endpoint.send(|http| {
            http.post(self.endpoint.hub().clone()).timeout(ANSWER_TIMEOUT).header(CONTENT_TYPE, FORM).body(form)
        });
        let response = request.await.map_err(|error| match error {
            ClientError::Broken(cause) => ClientError::Unanswered(cause),
            error => error,
        })?;
        if !response.status().is_success() {
            return Err(answer::refusal(response, self.endpoint.has_token()).await);
        }
        let not_a_hub = format!(
            "{} answered {} without an id in plain text: is it a Mercure hub?",
            self.endpoint.hub(),
            response.status().as_u16()
        );
        let is_text = matches!(&*answer::media_type(&response), "text/plain" | "");
        let id = answer::body(response).await.map_err(ClientError::Unanswered)?;
        match String::from_utf8(id) {
            Ok(id) if is_text && !id.trim().is_empty() => Ok(id.trim().to_owned()),
            _ => Err(ClientError::Unexpected(not_a_hub)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_input_is_read_where_it_is_asked_for_or_no_terminal() {
        let from = |data, lines, terminal| source(data, lines, terminal).ok();
        assert_eq!(from(Some("a"), false, false), Some(Source::Given("a")));
        assert_eq!(from(Some("-"), false, true), Some(Source::Input));
        assert_eq!(from(None, false, false), Some(Source::Input));
        assert_eq!(from(None, false, true), Some(Source::Given("")));
        assert_eq!(from(None, true, true), Some(Source::Lines));
        assert_eq!(from(Some("-"), true, false), Some(Source::Lines));
        assert_eq!(from(Some("a"), true, false), None);
    }

    #[test]
    fn lines_are_taken_one_by_one_without_their_ends() {
        let mut input = &b"a\nb\r\n\n\xC3\xA9"[..];
        let mut next = || line(&mut input).ok().flatten();
        assert_eq!(
            [next(), next(), next(), next(), next()].map(|line| line.unwrap_or("end".into())),
            ["a", "b", "", "é", "end"]
        );
    }

    #[test]
    fn what_is_no_text_is_refused_with_its_place() {
        let said = whole(&b"ab\xFF"[..]).expect_err("no text").to_string();
        assert!(said.contains("UTF-8") && said.contains("byte 2"), "{said}");
    }

    #[test]
    fn a_time_to_live_has_whole_seconds() {
        assert_eq!(whole_seconds("2m"), Ok(Duration::from_secs(120)));
        assert!(["1500ms", "0s", "5"].iter().all(|text| whole_seconds(text).is_err()));
    }
}
