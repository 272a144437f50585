//! Parses and checks the updates that are published as a form or as JSON (Mercure, "Publication").

use std::collections::BTreeMap;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use url::Url;

use super::matchers::excerpt;
use crate::server::http::error::ApiError;
use crate::server::http::params::Params;
use crate::server::hub::{EVERYTHING, presence};
use crate::server::log::{Field, FieldError, Topic, Update};
use crate::wire::paths;

/// Maximum number of topics of one update.
const MAX_TOPICS: usize = 1000;
/// Maximum bytes of the topics of one update together: the names of all that are kept are held in memory, and each new one is
/// compared with all patterns.
const MAX_TOPICS_BYTES: usize = 64 * 1024;
/// Maximum length of a topic, an id and a type, in bytes.
const MAX_LENGTH: usize = 4096;
/// Maximum number of updates in one JSON array.
const MAX_UPDATES: usize = 1000;

/// Maximum `retry`, in milliseconds. Browsers' timers count in 32 bits: above it they fire at once, again and again.
const MAX_RETRY: u64 = i32::MAX as u64;

/// How updates were sent, which decides how their ids are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// As a form: its id is the answer, as text.
    Form,
    /// As a JSON object: its id is the answer, as text or as JSON.
    Object,
    /// As a JSON array: the array of the ids is the answer.
    Array,
}

/// The fields of an update as they were sent.
#[derive(Default)]
struct Fields {
    topics: Vec<String>,
    data: String,
    id: String,
    kind: String,
    retry: Option<String>,
    ttl: Option<String>,
    private: bool,
}

/// The fields of a JSON object, each as it is written.
type RawFields<'a> = BTreeMap<String, &'a RawValue>;

/// Reads a form. Unknown fields are ignored. With `legacy`, an empty `retry` counts as missing.
pub(super) fn from_form(params: &Params, hub: &Url, legacy: bool) -> Result<Update, ApiError> {
    let mut fields = Fields::default();
    for (name, value) in params.iter() {
        match name {
            "topic" => fields.topics.push(value?.to_owned()),
            // Its presence alone counts, whatever its value.
            "private" => fields.private = true,
            _ => {}
        }
    }
    let text = |name| params.get(name).map(|value| value.map(str::to_owned));
    fields.data = text("data")?.unwrap_or_default();
    fields.id = text("id")?.unwrap_or_default();
    fields.kind = text("type")?.unwrap_or_default();
    fields.retry = text("retry")?.filter(|retry| !(legacy && retry.is_empty()));
    fields.ttl = text("ttl")?;
    fields.checked(hub)
}

/// Reads one update or an array of them.
pub(super) fn from_json(body: &[u8], hub: &Url) -> Result<(Vec<Update>, Shape), ApiError> {
    let body: &RawValue = serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        malformed(format!("The body is not valid JSON, at line {line}, column {column}."))
    })?;
    if !body.get().starts_with('[') {
        return Ok((vec![from_json_object(body, hub)?], Shape::Object));
    }
    let items: Vec<&RawValue> = parsed("The array", body)?;
    if items.len() > MAX_UPDATES {
        return Err(ApiError::TooMuch(format!("The array has more than {MAX_UPDATES} updates. Send it in parts.")));
    }
    let mut updates = Vec::with_capacity(items.len());
    for (n, item) in items.into_iter().enumerate() {
        updates.push(from_json_object(item, hub).map_err(|error| of_item(n, error))?);
    }
    Ok((updates, Shape::Array))
}

fn from_json_object(object: &RawValue, hub: &Url) -> Result<Update, ApiError> {
    if !object.get().starts_with('{') {
        return Err(malformed("An update is a JSON object like {\"topic\": \"news\", \"data\": \"Hello\"}.".into()));
    }
    let mut fields: RawFields<'_> = parsed("The update", object)?;
    let topics = match field_value(&mut fields, "topic")? {
        Value::Null => Vec::new(),
        Value::Array(topics) => topics.into_iter().map(|topic| string("topic", topic)).collect::<Result<_, _>>()?,
        topic => vec![string("topic", topic)?],
    };
    let data = match fields.remove("data") {
        None => String::new(),
        Some(null) if null.get() == "null" => String::new(),
        Some(text) if text.get().starts_with('"') => parsed("`data`", text)?,
        // Other JSON is published as it is written: parsed and written again, a number could lose digits.
        Some(json) => json.get().to_owned(),
    };
    let private = match field_value(&mut fields, "private")? {
        Value::Null => false,
        Value::Bool(private) => private,
        _ => return Err(malformed("`private` must be true or false.".into())),
    };
    let id = text(&mut fields, "id")?.unwrap_or_default();
    let kind = text(&mut fields, "type")?.unwrap_or_default();
    let (retry, ttl) = (text(&mut fields, "retry")?, text(&mut fields, "ttl")?);
    Fields { topics, data, id, kind, retry, ttl, private }.checked(hub)
}

/// Parses a part of the body whose syntax has been checked already. It can still fail: for half of a surrogate pair, for
/// a number that is out of range, or for what is nested too deeply.
fn parsed<'a, T: Deserialize<'a>>(what: &str, raw: &'a RawValue) -> Result<T, ApiError> {
    serde_json::from_str(raw.get()).map_err(|error| {
        let reason = error.to_string();
        let reason = reason.split(" at line ").next().unwrap_or_default();
        malformed(format!("{what} can't be read: {reason}."))
    })
}

/// Takes a field out. A missing one is null.
fn field_value(fields: &mut RawFields<'_>, name: &str) -> Result<Value, ApiError> {
    fields.remove(name).map_or(Ok(Value::Null), |raw| parsed(&format!("`{name}`"), raw))
}

fn text(fields: &mut RawFields<'_>, name: &str) -> Result<Option<String>, ApiError> {
    match field_value(fields, name)? {
        Value::Null => Ok(None),
        Value::Number(number) => Ok(Some(number.to_string())),
        value => string(name, value).map(Some),
    }
}

fn string(name: &str, value: Value) -> Result<String, ApiError> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err(malformed(format!("`{name}` must be a string."))),
    }
}

impl Fields {
    fn checked(self, hub: &Url) -> Result<Update, ApiError> {
        if self.topics.is_empty() {
            return Err(malformed("There is no `topic`. Say what the update is about.".into()));
        }
        if self.topics.len() > MAX_TOPICS {
            return Err(ApiError::TooMuch(format!("The update has more than {MAX_TOPICS} topics. Send fewer.")));
        }
        if self.topics.iter().map(String::len).sum::<usize>() > MAX_TOPICS_BYTES {
            let detail = format!("The topics have more than {MAX_TOPICS_BYTES} bytes together. Send fewer.");
            return Err(ApiError::TooMuch(detail));
        }
        let topics = self.topics.iter().map(|topic| checked_topic(topic, hub)).collect::<Result<_, _>>()?;
        if self.kind == presence::EVENT {
            return Err(malformed("The type `mercure` is the hub's own. Use another one.".into()));
        }
        Ok(Update {
            topics,
            data: self.data,
            id: checked_id(&self.id)?,
            event: field("type", &self.kind)?,
            retry: self.retry.as_deref().map(checked_retry).transpose()?,
            private: self.private,
            ttl: self.ttl.as_deref().map(checked_ttl).transpose()?,
        })
    }
}

fn checked_id(id: &str) -> Result<Option<Field>, ApiError> {
    if id.starts_with('#') || id == paths::EARLIEST {
        return Err(malformed("`id` must not begin with # and must not be `earliest`.".into()));
    }
    // White space around a header's value is no part of it, so a client would resume after another id.
    if id.starts_with(' ') || id.ends_with(' ') {
        let detail = "`id` must not begin or end with a space: the header Last-Event-ID can't carry it. Remove it.";
        return Err(malformed(detail.into()));
    }
    field("id", id)
}

fn checked_retry(text: &str) -> Result<u64, ApiError> {
    let retry = digits("retry", "milliseconds", text)?;
    if retry > MAX_RETRY {
        let detail = format!("`retry` must be at most {MAX_RETRY} milliseconds: clients' timers hold no more.");
        return Err(malformed(detail));
    }
    Ok(retry)
}

fn checked_ttl(text: &str) -> Result<Duration, ApiError> {
    let seconds = digits("ttl", "seconds", text)?;
    if seconds == 0 {
        let detail = "`ttl` must be 1 second or more: an update without any time would reach nobody.";
        return Err(malformed(detail.into()));
    }
    Ok(Duration::from_secs(seconds))
}

fn checked_topic(text: &str, hub: &Url) -> Result<Topic, ApiError> {
    too_long("topic", text)?;
    if text == EVERYTHING {
        return Err(malformed("The topic `*` stands for every topic, so nothing is published on it alone.".into()));
    }
    if is_reserved(text, hub) {
        let detail =
            "lies at or below the hub's own URL, which is reserved for the hub's own updates. Use another topic.";
        return Err(malformed(format!("The topic `{}` {detail}", excerpt(text))));
    }
    Topic::parse(text).map_err(|error| unusable("topic", text, error))
}

/// Whether a topic resolves to the hub's path or below it, on any host (Mercure, "Publication").
pub(super) fn is_reserved(topic: &str, hub: &Url) -> bool {
    let Ok(url) = hub.join(topic) else { return false };
    let (path, own) = (unreserved_decoded(url.path()), hub.path());
    path == own || path.strip_prefix(own).is_some_and(|rest| rest.starts_with('/'))
}

/// Decodes the percent-encoded unreserved characters of a path (RFC 3986, 6.2.2.2). This can't produce dot-segments: the
/// URL parser has removed percent-encoded ones too.
fn unreserved_decoded(path: &str) -> String {
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        decoded.push_str(&rest[..at]);
        let escape = rest.get(at..at + 3).unwrap_or(&rest[at..at + 1]);
        let mut byte = percent_decode_str(escape);
        match (byte.next(), byte.next()) {
            (Some(byte), None) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => decoded.push(byte.into()),
            _ => decoded.push_str(escape),
        }
        rest = &rest[at + escape.len()..];
    }
    decoded.push_str(rest);
    decoded
}

fn field(name: &'static str, value: &str) -> Result<Option<Field>, ApiError> {
    if value.is_empty() {
        return Ok(None);
    }
    too_long(name, value)?;
    Field::parse(value).map(Some).map_err(|error| unusable(name, value, error))
}

fn too_long(name: &str, value: &str) -> Result<(), ApiError> {
    match value.len() > MAX_LENGTH {
        true => Err(ApiError::TooMuch(format!("`{name}` has more than {MAX_LENGTH} bytes. Use a shorter one."))),
        false => Ok(()),
    }
}

fn unusable(name: &str, value: &str, error: FieldError) -> ApiError {
    malformed(format!("`{name}={}` can't be used: {error}.", excerpt(value)))
}

fn digits(name: &str, unit: &str, text: &str) -> Result<u64, ApiError> {
    let number = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    number.ok_or_else(|| malformed(format!("`{name}` must be a whole number of {unit}, in digits alone.")))
}

fn of_item(n: usize, error: ApiError) -> ApiError {
    match error {
        ApiError::Malformed(detail) => malformed(format!("Update {} of the array: {detail}", n + 1)),
        ApiError::TooMuch(detail) => ApiError::TooMuch(format!("Update {} of the array: {detail}", n + 1)),
        error => error,
    }
}

fn malformed(detail: String) -> ApiError {
    ApiError::Malformed(detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_to_the_hub_or_below_it_is_reserved_however_it_is_written() {
        let hub = Url::parse("https://hub.example/.well-known/mercure").expect("a URL");
        for topic in [
            "/.well-known/mercure",
            "/.well-known/mercure/subscriptions/exact/a/b",
            "https://other.example/.well-known/mercure/x",
            "ftp://other.example/.well-known/mercure",
            "mercure",
            "mercure/x",
            "./mercure",
            "/a/../.well-known/mercure",
            "/.well-known/%6dercure/x",
            "/%2ewell-known/mercure",
            "/a/%2e%2e/.well-known/mercure",
            "/.well-known\\mercure",
            "?x",
            "//other.example/.well-known/mercure#x",
            "custom://x/.well-known/mercure/",
        ] {
            assert!(is_reserved(topic, &hub), "{topic}");
        }
        for topic in [
            "/.well-known/mercurex",
            "messages",
            "https://example.com/mercure",
            "http://[",
            "/x/.well-known/mercure",
            "/.well-known/mercure%2Fx",
        ] {
            assert!(!is_reserved(topic, &hub), "{topic}");
        }
    }
}
