//! Conditional requests: whether a client has what it would be answered (RFC 9110, 13.1.2).

use axum::http::{HeaderMap, HeaderValue, header};

/// Whether `If-None-Match` names this entity tag. Weakly compared: what says the same is the same.
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
