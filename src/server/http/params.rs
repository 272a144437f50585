//! Queries and form bodies: pairs of names and values, read as the WHATWG URL standard says
//! ("application/x-www-form-urlencoded parsing"). A value that is not UTF-8 is refused when it is asked for, instead of
//! being replaced: one that nobody asks for, such as another program's tracking parameter, may hold anything.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use percent_encoding::percent_decode;

use super::error::ApiError;

/// The pairs of a query or a form, in their order.
#[derive(Debug, Default)]
pub(in crate::server) struct Params(Vec<Pair>);

#[derive(Debug, PartialEq, Eq)]
struct Pair {
    /// With U+FFFD for what is not UTF-8, so that it equals no name that is asked for.
    name: String,
    /// `None` if it is not UTF-8.
    value: Option<String>,
}

impl Params {
    pub(in crate::server) fn parse(encoded: &[u8]) -> Self {
        let pairs = encoded.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty());
        Self(pairs.map(Pair::parse).collect())
    }

    /// These pairs, and after them those of `more`.
    pub(in crate::server) fn and(mut self, more: Self) -> Self {
        self.0.extend(more.0);
        self
    }

    /// All pairs, in their order. A value is an error if it is not UTF-8.
    pub(in crate::server) fn iter(&self) -> impl Iterator<Item = (&str, Result<&str, ApiError>)> {
        self.0.iter().map(|pair| (pair.name.as_str(), pair.value()))
    }

    /// The first value of this name. Fails if it is not UTF-8.
    pub(in crate::server) fn get(&self, name: &str) -> Result<Option<&str>, ApiError> {
        self.0.iter().find(|pair| pair.name == name).map(Pair::value).transpose()
    }

    /// The first value of this name that is not empty. Fails if one up to there is not UTF-8.
    pub(in crate::server) fn get_non_empty(&self, name: &str) -> Result<Option<&str>, ApiError> {
        for pair in self.0.iter().filter(|pair| pair.name == name) {
            let value = pair.value()?;
            if !value.is_empty() {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }
}

impl Pair {
    fn parse(encoded: &[u8]) -> Self {
        let mut parts = encoded.splitn(2, |&byte| byte == b'=');
        let name = decode(parts.next().unwrap_or_default());
        let value = decode(parts.next().unwrap_or_default());
        Self { name: String::from_utf8_lossy(&name).into_owned(), value: String::from_utf8(value).ok() }
    }

    fn value(&self) -> Result<&str, ApiError> {
        let value = self.value.as_deref();
        value.ok_or_else(|| ApiError::Malformed(format!("`{}` is not UTF-8. Percent-encode it as UTF-8.", self.name)))
    }
}

fn decode(encoded: &[u8]) -> Vec<u8> {
    let spaced: Vec<u8> = encoded.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
    percent_decode(&spaced).collect()
}

impl<S: Sync> FromRequestParts<S> for Params {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default().as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stray_signs_survive_and_a_semicolon_does_not_separate() {
        let params = Params::parse(b"a=1%&b=x;c=2&&d&e=a+b%2B&a=3");
        for (name, value) in
            [("a", Some("1%")), ("b", Some("x;c=2")), ("d", Some("")), ("e", Some("a b+")), ("c", None)]
        {
            assert_eq!(params.get(name).expect("UTF-8"), value, "{name}");
        }
    }

    #[test]
    fn what_is_not_utf_8_is_refused_where_it_is_asked_for_and_hides_nothing_else() {
        let params = Params::parse(b"x=%ff&a=1&\xff=2&a%FF=3&b=&b=\xff");
        assert_eq!(params.get("a").expect("UTF-8"), Some("1"));
        assert_eq!(params.get("b").expect("UTF-8"), Some(""));
        assert!(params.get("x").is_err() && params.get_non_empty("b").is_err());
        assert_eq!(params.iter().filter(|(name, _)| *name == "a").count(), 1);
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
                let params = Params::parse(encoded);
                let expected: Vec<_> = form_urlencoded::parse(encoded).into_owned().collect();
                prop_assert_eq!(params.0.len(), expected.len());
                for (pair, (name, value)) in params.0.iter().zip(&expected) {
                    prop_assert_eq!(&pair.name, name);
                    match &pair.value {
                        Some(read) => prop_assert_eq!(read, value),
                        // The standard replaces what is no UTF-8.
                        None => prop_assert!(value.contains('\u{fffd}'), "it is UTF-8"),
                    }
                }
                let again = Params::parse(serialized(&expected).as_bytes());
                let again: Vec<_> = again.0.into_iter().map(|pair| (pair.name, pair.value)).collect();
                let expected: Vec<_> = expected.into_iter().map(|(name, value)| (name, Some(value))).collect();
                prop_assert_eq!(again, expected);
                Ok(())
            });
        }
    }
}
