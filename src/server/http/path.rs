//! The path of a request, in the one spelling in which it is compared.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What a path's segment can't hold as it is: all but RFC 3986's unreserved characters.
pub(super) const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The spelling that all equivalent spellings of a path share (RFC 3986, 6.2.2): in each segment exactly the unreserved
/// characters stand as they are, and the others are percent-encoded with capital digits. Segments that are not UTF-8
/// stay as they are.
pub(super) fn canonical(path: &str) -> String {
    let segments = path.split('/').map(|segment| match percent_decode_str(segment).decode_utf8() {
        Ok(decoded) => utf8_percent_encode(&decoded, SEGMENT).to_string(),
        Err(_) => segment.to_owned(),
    });
    segments.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equivalent_spellings_become_one() {
        for (path, spelling) in [
            ("/a/b%20c", "/a/b%20c"),
            ("/%61/-._~", "/a/-._~"),
            ("/a%2fb/%c3%bC", "/a%2Fb/%C3%BC"),
            ("/f(x)!*';:@,", "/f%28x%29%21%2A%27%3B%3A%40%2C"),
            ("/a%252fb//", "/a%252fb//"),
            ("/100%/%ff", "/100%25/%ff"),
        ] {
            assert_eq!(canonical(path), spelling);
            assert_eq!(canonical(spelling), spelling);
        }
    }
}
