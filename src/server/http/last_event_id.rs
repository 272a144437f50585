//! Where a client wants to resume: the id of the last event that it has received.

use axum::http::HeaderMap;

use super::error::ApiError;
use super::params::Params;
use crate::wire::paths;

/// The header, which an `EventSource` sends by itself when it reconnects.
const HEADER: &str = "last-event-id";
/// The spelling some polyfills use for the parameter. The protocol's own takes precedence.
const ALIAS: &str = "lastEventId";

/// What a request says of the last event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::server) enum LastEventId {
    /// Nothing.
    Missing,
    /// It has the header or the parameter, and there is no id in it: the client has received no event yet.
    Empty,
    /// The event's id.
    Given(String),
}

impl LastEventId {
    /// Reads the header and the parameters. The header takes precedence; an empty value hides none that has an id.
    ///
    /// Fails if the parameter is not UTF-8.
    pub(in crate::server) fn of(headers: &HeaderMap, params: &Params) -> Result<Self, ApiError> {
        let mut is_present = false;
        for value in headers.get_all(HEADER) {
            is_present = true;
            // HTTP/2 carries a value with the white space around it, which HTTP/1.1 removes.
            let id = value.as_bytes().trim_ascii();
            if !id.is_empty() {
                return Ok(Self::Given(utf_8_or_latin_1(id)));
            }
        }
        for name in [paths::LAST_EVENT_ID, ALIAS] {
            if let Some(id) = params.get_non_empty(name)? {
                return Ok(Self::Given(id.to_owned()));
            }
            is_present |= params.get(name)?.is_some();
        }
        Ok(if is_present { Self::Empty } else { Self::Missing })
    }

    /// The event's id, if there is one.
    pub(in crate::server) fn id(self) -> Option<String> {
        match self {
            Self::Given(id) => Some(id),
            Self::Missing | Self::Empty => None,
        }
    }
}

/// The text of a header: an `EventSource` sends an id as UTF-8, a script's `fetch` as Latin-1.
fn utf_8_or_latin_1(value: &[u8]) -> String {
    str::from_utf8(value).map_or_else(|_| value.iter().copied().map(char::from).collect(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(headers: &[&'static str], query: &str, expected: LastEventId) {
        let values = headers.iter().map(|value| (HEADER.parse().expect("a name"), HeaderValue::from_static(value)));
        let headers: HeaderMap = values.collect();
        let read = LastEventId::of(&headers, &Params::parse(query.as_bytes())).expect("UTF-8");
        assert_eq!(read, expected, "{headers:?} {query}");
    }

    #[test]
    fn an_empty_id_says_nothing_and_hides_no_other() {
        let given = |id: &str| LastEventId::Given(id.into());
        check(&[], "match=a", LastEventId::Missing);
        for (headers, query) in [(&[""][..], ""), (&[" "], ""), (&[], "last_event_id="), (&[], "lastEventId")] {
            check(headers, query, LastEventId::Empty);
        }
        check(&[""], "last_event_id=1", given("1"));
        check(&[""], "last_event_id=&lastEventId=2", given("2"));
        check(&[], "last_event_id=&last_event_id=3", given("3"));
        check(&["0"], "last_event_id=1", given("0"));
        check(&[], "lastEventId=2&last_event_id=1", given("1"));
    }

    #[test]
    fn an_id_is_understood_as_an_event_source_sends_it_and_as_fetch_does() {
        for (sent, id) in [(&b"7"[..], "7"), ("größe-Ω".as_bytes(), "größe-Ω"), (b"gr\xf6\xdfe", "größe")] {
            assert_eq!(utf_8_or_latin_1(sent), id);
        }
    }
}
