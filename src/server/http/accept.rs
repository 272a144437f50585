//! Content negotiation: which of our representations a client's `Accept` wants (RFC 9110, 12.5.1).

use axum::http::{HeaderMap, header};

pub(in crate::server) const HTML: &str = "text/html";
pub(in crate::server) const JSON: &str = "application/json";
pub(in crate::server) const EVENT_STREAM: &str = "text/event-stream";

/// The offer the client wants most. Of equal weight, the one it names more exactly, then the earlier.
/// Where it wants none of them, or says nothing, the first: an answer is of more use than a 406.
pub(in crate::server) fn negotiate<'a>(headers: &HeaderMap, offers: &[&'a str]) -> &'a str {
    let values = headers.get_all(header::ACCEPT).iter().map(|value| value.as_bytes());
    // A range may have a parameter in any bytes: the others count all the same.
    let ranges =
        values.flat_map(|value| value.split(|&byte| byte == b',')).filter_map(|range| str::from_utf8(range).ok());
    let ranges: Vec<Range<'_>> = ranges.filter_map(Range::parse).collect();
    let mut best = (offers[0], (0, 0));
    for &offer in offers {
        let range = ranges.iter().filter(|range| range.covers(offer)).max_by_key(|range| range.precision());
        let wanted = range.map_or((0, 0), |range| (range.weight, range.precision()));
        if wanted.0 > 0 && wanted > best.1 {
            best = (offer, wanted);
        }
    }
    best.0
}

/// One media range and its weight in thousandths.
struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    weight: u16,
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let weights = parts.filter_map(|parameter| parameter.split_once('='));
        let weight =
            weights.filter(|(name, _)| name.trim().eq_ignore_ascii_case("q")).map(|(_, q)| thousandths(q)).next_back();
        Some(Self { kind, subtype, weight: weight.unwrap_or(1000) })
    }

    fn covers(&self, offer: &str) -> bool {
        let Some((kind, subtype)) = offer.split_once('/') else { return false };
        (self.kind == "*" || self.kind.eq_ignore_ascii_case(kind))
            && (self.subtype == "*" || self.subtype.eq_ignore_ascii_case(subtype))
    }

    fn precision(&self) -> u8 {
        u8::from(self.kind != "*") + u8::from(self.subtype != "*")
    }
}

fn thousandths(q: &str) -> u16 {
    let q: f32 = q.trim().parse().unwrap_or(0.0);
    (q.clamp(0.0, 1.0) * 1000.0).round() as u16
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(accept: &str, wanted: &str) {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().expect("a header"));
        assert_eq!(negotiate(&headers, &[HTML, EVENT_STREAM, JSON]), wanted, "{accept}");
    }

    #[test]
    fn a_range_counts_beside_others_whatever_bytes_they_hold() {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_bytes(b"text/x;name=gr\xf6\xdfe, application/json;name=\xc3\xa9, */*;q=0.1");
        headers.insert(header::ACCEPT, value.expect("a header"));
        assert_eq!(negotiate(&headers, &[HTML, JSON]), JSON);
    }

    #[test]
    fn who_takes_anything_gets_the_first_offer() {
        check("*/*", HTML);
        check("", HTML);
        check("image/png", HTML);
        assert_eq!(negotiate(&HeaderMap::new(), &[HTML, JSON]), HTML);
    }

    #[test]
    fn the_range_that_names_an_offer_outweighs_the_one_that_only_allows_it() {
        check("application/json, text/plain, */*", JSON);
        check("text/event-stream", EVENT_STREAM);
        check("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", HTML);
    }

    #[test]
    fn weights_are_read() {
        check("text/html;q=0.5, application/json;q=0.9", JSON);
        check("text/*, application/json;q=0.9", HTML);
        check("text/html;q=0, */*;q=0.1", EVENT_STREAM);
        check("Application/JSON;Q=0.001, text/html;q=0", JSON);
        check("application/json;charset=utf-8;q=1, text/html;q=nonsense", JSON);
    }
}
