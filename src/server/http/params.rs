//! Queries and form bodies: pairs of names and values, read as the WHATWG URL standard says
//! ("application/x-www-form-urlencoded parsing"), but refusing what is not UTF-8 instead of replacing it.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use percent_encoding::percent_decode;

use super::error::ApiError;

/// The pairs of a query or a form, in their order.
#[derive(Debug, Default)]
pub(in crate::server) struct Params(Vec<(String, String)>);

/// A name or value whose bytes are not UTF-8.
#[derive(Debug)]
pub(in crate::server) struct NotUtf8;

impl Params {
    pub(in crate::server) fn parse(encoded: &[u8]) -> Result<Self, NotUtf8> {
        let pairs = encoded.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty());
        let decode = |pair: &[u8]| {
            let mut parts = pair.splitn(2, |&byte| byte == b'=');
            let name = decode(parts.next().unwrap_or_default())?;
            Ok((name, decode(parts.next().unwrap_or_default())?))
        };
        pairs.map(decode).collect::<Result<_, _>>().map(Self)
    }

    /// These pairs, and after them those of `more`.
    pub(in crate::server) fn and(mut self, more: Self) -> Self {
        self.0.extend(more.0);
        self
    }

    /// All pairs, in their order.
    pub(in crate::server) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The first value of this name.
    pub(in crate::server) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

fn decode(encoded: &[u8]) -> Result<String, NotUtf8> {
    let spaced: Vec<u8> = encoded.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
    String::from_utf8(percent_decode(&spaced).collect()).map_err(|_| NotUtf8)
}

impl<S: Sync> FromRequestParts<S> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Self::parse(parts.uri.query().unwrap_or_default().as_bytes())
            .map_err(|NotUtf8| ApiError::Malformed("The query is not UTF-8. Percent-encode it as UTF-8.".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stray_signs_survive_and_a_semicolon_does_not_separate() {
        let params = Params::parse(b"a=1%&b=x;c=2&&d&e=a+b%2B&a=3").expect("UTF-8");
        for (name, value) in
            [("a", Some("1%")), ("b", Some("x;c=2")), ("d", Some("")), ("e", Some("a b+")), ("c", None)]
        {
            assert_eq!(params.get(name), value, "{name}");
        }
    }

    #[test]
    fn what_is_not_utf_8_is_refused() {
        assert!(Params::parse(b"a=%ff").is_err());
        assert!(Params::parse(b"\xff=1").is_err());
    }

    mod hostile {
        use bytes::Bytes;
        use proptest::collection::vec;
        use proptest::prelude::*;
        use proptest::sample::select;

        use super::*;
        use crate::fuzz::fuzz;

        /// What a query is made of, and what breaks one.
        const TOKENS: &[&str] =
            &["&", "=", "+", "%", "%%", ";", "%2", "%zz", "a", "topic", "%C3%A9", "é", "\0", "\r\n", "%00"];

        fn encoded() -> impl Strategy<Value = Bytes> {
            let token = prop_oneof![
                4 => select(TOKENS).prop_map(|token| token.as_bytes().to_vec()),
                2 => any::<u8>().prop_map(|byte| format!("%{byte:02X}").into_bytes()),
                1 => any::<char>().prop_map(|c| c.to_string().into_bytes()),
                1 => any::<u8>().prop_map(|byte| vec![byte]),
            ];
            let pairs = vec((any::<String>(), any::<String>()), 0..4);
            let encoded = prop_oneof![
                3 => vec(token, 0..24).prop_map(|tokens| tokens.concat()),
                1 => pairs.prop_map(|pairs| serialized(&pairs).into_bytes()),
                1 => vec(any::<u8>(), 0..64),
            ];
            encoded.prop_map(Bytes::from)
        }

        fn serialized(pairs: &[(String, String)]) -> String {
            form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
        }

        #[test]
        fn any_bytes_are_read_as_the_standard_reads_them_or_are_no_utf_8() {
            fuzz("queries and forms", encoded(), |encoded| {
                let expected: Vec<_> = form_urlencoded::parse(encoded).into_owned().collect();
                match Params::parse(encoded) {
                    Ok(params) => {
                        prop_assert_eq!(&params.0, &expected);
                        let again = Params::parse(serialized(&params.0).as_bytes()).expect("UTF-8");
                        prop_assert_eq!(again.0, params.0);
                    }
                    // The standard replaces what is no UTF-8.
                    Err(NotUtf8) => {
                        let replaced = expected.iter().any(|(name, value)| (name.clone() + value).contains('\u{fffd}'));
                        prop_assert!(replaced, "it is UTF-8");
                    }
                }
                Ok(())
            });
        }
    }
}
