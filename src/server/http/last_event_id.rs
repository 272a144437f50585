//! The event id that a client resumes from.

use axum::http::HeaderMap;

use super::params::Params;
use crate::wire::paths;

/// The spelling some polyfills use; the protocol's own takes precedence over it.
const LAST_EVENT_ID_ALIAS: &str = "lastEventId";

/// The event id a client comes back with: the header's, which `EventSource` sends by itself, or the query's.
pub(in crate::server) fn last_event_id(headers: &HeaderMap, params: &Params) -> Option<String> {
    let header = headers.get("last-event-id").map(|value| utf_8_or_latin_1(value.as_bytes()));
    let query = || params.get(paths::LAST_EVENT_ID).or_else(|| params.get(LAST_EVENT_ID_ALIAS)).map(str::to_owned);
    header.or_else(query).filter(|id| !id.is_empty())
}

/// What a header says: an `EventSource` sends an id as UTF-8, a script's `fetch` as Latin-1.
fn utf_8_or_latin_1(value: &[u8]) -> String {
    str::from_utf8(value).map_or_else(|_| value.iter().copied().map(char::from).collect(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_understood_as_an_event_source_sends_it_and_as_fetch_does() {
        for (sent, id) in [(&b"7"[..], "7"), ("größe-Ω".as_bytes(), "größe-Ω"), (b"gr\xf6\xdfe", "größe")] {
            assert_eq!(utf_8_or_latin_1(sent), id);
        }
    }
}
