//! `curl` commands for an operation, built from the document's examples.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::Value;

use super::ORIGIN;
use super::document::{Document, Operation, entries, items, text};
use crate::server::http::accept::{EVENT_STREAM, HTML, JSON};
use crate::server::http::path::SEGMENT;

/// What must be percent-encoded in a value of a query.
const QUERY: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'&').add(b'\'').add(b'+').add(b'<').add(b'>');

const FORM: &str = "application/x-www-form-urlencoded";

/// A command and what it does.
pub(super) struct Command {
    pub(super) about: String,
    pub(super) line: String,
}

/// One command for each example of a body; where there is none, for each representation that a script may want.
pub(super) fn commands(document: &Document, operation: &Operation<'_>) -> Vec<Command> {
    let object = operation.object;
    let bodies: Vec<_> = entries(&object["requestBody"]["content"])
        .flat_map(|(media_type, content)| entries(&content["examples"]).map(move |(_, example)| (media_type, example)))
        .collect();
    let answers = answered(document, operation);
    let streams = answers.first() == Some(&EVENT_STREAM);
    if !bodies.is_empty() {
        let command = |(media_type, example): &(&str, &Value)| {
            let about = text(example, "summary").to_owned();
            Command { about, line: line(document, operation, streams, None, &body(media_type, &example["value"])) }
        };
        return bodies.iter().map(command).collect();
    }
    let summary = text(object, "summary");
    if answers.len() < 2 {
        return vec![Command { about: summary.to_owned(), line: line(document, operation, streams, None, &[]) }];
    }
    let accepted = answers.iter().filter(|answer| **answer != HTML);
    let command = |accept: &&str| {
        // The first is answered to whoever asks for nothing.
        let wanted = (answers.first() != Some(accept)).then_some(*accept);
        let about = if *accept == EVENT_STREAM { "As a stream" } else { "As JSON" };
        Command { about: about.into(), line: line(document, operation, *accept == EVENT_STREAM, wanted, &[]) }
    };
    accepted.map(command).collect()
}

/// The media types of what is answered when all goes well.
fn answered<'a>(document: &'a Document, operation: &Operation<'a>) -> Vec<&'a str> {
    let success = entries(&operation.object["responses"]).find(|(status, _)| status.starts_with('2'));
    let content = success.map(|(_, response)| &document.resolve(response)["content"]);
    content.map(|content| entries(content).map(|(media_type, _)| media_type).collect()).unwrap_or_default()
}

fn line(
    document: &Document,
    operation: &Operation<'_>,
    streams: bool,
    accept: Option<&str>,
    body: &[String],
) -> String {
    let mut words = vec!["curl".to_owned()];
    if streams {
        words.push("-N".into());
    }
    let usual = if body.is_empty() { "GET" } else { "POST" };
    if operation.method != usual {
        words.push(format!("-X {}", operation.method));
    }
    // The first way is the usual one; an empty object means without a token.
    let first = items(&operation.object["security"]).next();
    if first.is_some_and(|way| way["token"].is_array()) {
        words.push("-H \"Authorization: Bearer $TOKEN\"".into());
    }
    words.extend(accept.map(|accept| format!("-H 'Accept: {accept}'")));
    words.extend_from_slice(body);
    words.push(address(document, operation));
    words.join(" ")
}

fn address(document: &Document, operation: &Operation<'_>) -> String {
    let (mut path, mut query) = (operation.path.to_owned(), Vec::new());
    for parameter in items(&operation.object["parameters"]).map(|parameter| document.resolve(parameter)) {
        let name = text(parameter, "name");
        for example in values(&parameter["example"]) {
            match text(parameter, "in") {
                "path" => {
                    path = path.replace(&format!("{{{name}}}"), &utf8_percent_encode(&example, SEGMENT).to_string());
                }
                _ => query.push(format!("{name}={}", utf8_percent_encode(&example, QUERY))),
            }
        }
    }
    let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
    let plain = |c: char| c.is_ascii_alphanumeric() || "/.-_~%".contains(c);
    match format!("{path}{query}") {
        address if address.chars().all(plain) => format!("{ORIGIN}{address}"),
        address => quoted(&format!("{ORIGIN}{address}")),
    }
}

fn body(media_type: &str, example: &Value) -> Vec<String> {
    if media_type == FORM {
        let field = |name: &str, value: &str| format!("--data-urlencode {}", quoted(&format!("{name}={value}")));
        let fields = entries(example).flat_map(|(name, value)| values(value).map(move |value| field(name, &value)));
        return fields.collect();
    }
    let text = if media_type == JSON { example.to_string() } else { values(example).collect() };
    vec![format!("-H 'Content-Type: {media_type}'"), format!("-d {}", quoted(&text))]
}

/// The texts of a value that is one or an array of them.
fn values(value: &Value) -> impl Iterator<Item = String> {
    let one = Some(value).filter(|value| !value.is_array() && !value.is_null());
    one.into_iter().chain(items(value)).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

/// A word for the shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Addresses of each kind, beside the hub's.
    const MORE: &str = r#"{
        "tags": [{ "name": "notes" }],
        "paths": {
            "/notes": {
                "get": {
                    "tags": ["notes"],
                    "operationId": "listNotes",
                    "responses": { "200": { "content": { "application/json": {}, "text/event-stream": {} } } }
                },
                "post": {
                    "tags": ["notes"],
                    "operationId": "addNote",
                    "requestBody": {
                        "content": {
                            "text/plain": { "examples": { "text": { "value": "The import is done" } } },
                            "application/x-www-form-urlencoded": {
                                "examples": { "form": { "value": { "note": "The import is done" } } }
                            },
                            "application/json": { "examples": { "json": { "value": { "note": "The import is done" } } } }
                        }
                    }
                }
            },
            "/ticks": {
                "get": {
                    "tags": ["notes"],
                    "operationId": "watchTicks",
                    "responses": { "200": { "content": { "text/event-stream": {} } } }
                }
            }
        }
    }"#;

    fn lines(id: &str) -> Vec<String> {
        let document = Document::new(&[MORE]);
        let tags = items(document.at("/tags")).map(|tag| text(tag, "name"));
        let operations: Vec<_> = tags.flat_map(|tag| document.operations(tag)).collect();
        let operation = operations.iter().find(|operation| operation.id() == id).expect("an operation");
        commands(&document, operation).into_iter().map(|command| command.line).collect()
    }

    #[test]
    fn each_representation_has_a_command() {
        assert_eq!(
            lines("listNotes"),
            ["curl {origin}/notes", "curl -N -H 'Accept: text/event-stream' {origin}/notes"]
        );
        assert_eq!(lines("watchTicks"), ["curl -N {origin}/ticks"]);
        assert_eq!(lines("getDocs"), ["curl {origin}/docs"]);
    }

    #[test]
    fn each_body_has_a_command() {
        let text = "curl -H 'Content-Type: text/plain' -d 'The import is done' {origin}/notes";
        let form = "curl --data-urlencode 'note=The import is done' {origin}/notes";
        let json = r#"curl -H 'Content-Type: application/json' -d '{"note":"The import is done"}' {origin}/notes"#;
        assert_eq!(lines("addNote"), [text, form, json]);
    }

    #[test]
    fn a_token_is_sent_where_it_is_needed_and_a_method_where_it_is_not_the_usual_one() {
        assert_eq!(lines("subscribe"), ["curl -N '{origin}/.well-known/mercure?match=https://example.com/books/1'"]);
        assert!(lines("subscribeWithBody")[0].starts_with("curl -N -X QUERY --data-urlencode 'match=https://"));
        let bearer = r#"-H "Authorization: Bearer $TOKEN""#;
        assert_eq!(lines("issueTicket"), [format!("curl -X POST {bearer} {{origin}}/.well-known/mercure/tickets")]);
        assert_eq!(
            lines("listSubscriptionsOfMatcher"),
            [format!(
                "curl {bearer} {{origin}}/.well-known/mercure/subscriptions/exact/https%3A%2F%2Fexample.com%2Fbooks%2F1"
            )]
        );
    }

    #[test]
    fn a_quote_does_not_end_a_word() {
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
