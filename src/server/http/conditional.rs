//! Conditional requests: entity tags, and whether a client already has the answer (RFC 9110, 8.8.3 and 13.1.2).

use axum::http::{HeaderMap, HeaderValue, header};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// What an entity tag can't hold, and the comma, at which a list of them is split.
const NOT_IN_A_TAG: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%').add(b',');

/// The strong entity tag of a representation that changes with this text, for example an event's id.
pub(super) fn etag(text: &str) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("\"{}\"", utf8_percent_encode(text, NOT_IN_A_TAG))).ok()
}

/// Whether `If-None-Match` names this entity tag, by weak comparison.
pub(super) fn is_known(request: &HeaderMap, etag: &HeaderValue) -> bool {
    let values = request.get_all(header::IF_NONE_MATCH).iter().flat_map(|value| value.as_bytes().split(|&b| b == b','));
    values.map(<[u8]>::trim_ascii).any(|value| value == b"*" || opaque(value) == opaque(etag.as_bytes()))
}

fn opaque(etag: &[u8]) -> &[u8] {
    etag.strip_prefix(b"W/").unwrap_or(etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_tag_is_made_of_it_is_found_again() {
        let texts = ["urn:uuid:1", "a, b", "\"a\"", "é", "100%", "*", "a\\b"];
        let tags: Vec<_> = texts.iter().filter_map(|text| etag(text)).collect();
        assert_eq!(tags.len(), texts.len());
        for (n, tag) in tags.iter().enumerate() {
            let request = HeaderMap::from_iter([(header::IF_NONE_MATCH, tag.clone())]);
            for (m, other) in tags.iter().enumerate() {
                assert_eq!(is_known(&request, other), n == m, "{tag:?} for {other:?}");
            }
        }
    }

    #[test]
    fn a_tag_is_found_in_a_list_whether_weak_or_strong() {
        for (sent, known) in [
            (r#""a""#, true),
            (r#"W/"a""#, true),
            (r#""b", W/"a" "#, true),
            ("*", true),
            (r#""b""#, false),
            ("a", false),
            ("", false),
        ] {
            let request = HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_static(sent))]);
            for etag in [r#""a""#, r#"W/"a""#] {
                assert_eq!(is_known(&request, &HeaderValue::from_static(etag)), known, "{sent} for {etag}");
            }
        }
        assert!(!is_known(&HeaderMap::new(), &HeaderValue::from_static("\"a\"")));
    }
}
