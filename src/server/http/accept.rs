//! Content negotiation: which of our representations a client's `Accept` wants (RFC 9110, 12.5.1).

use axum::http::{HeaderMap, HeaderName, header};

pub(in crate::server) const HTML: &str = "text/html";
pub(in crate::server) const JSON: &str = "application/json";
pub(in crate::server) const EVENT_STREAM: &str = "text/event-stream";

/// The offer that the client prefers. Of equal weights, the more specific range wins, then the earlier offer.
///
/// The first offer if the client accepts none or has no preference: an answer is more useful than a 406.
pub(in crate::server) fn negotiate<'a>(headers: &HeaderMap, offers: &[&'a str]) -> &'a str {
    let ranges: Vec<Range<'_>> = items(headers, header::ACCEPT).filter_map(Range::parse).collect();
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

/// Whether a client accepts this content coding (RFC 9110, 12.5.3).
pub(super) fn accepts_coding(headers: &HeaderMap, coding: &str) -> bool {
    let mut by_any = false;
    for item in items(headers, header::ACCEPT_ENCODING) {
        let mut parts = item.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let is_accepted = weight(parts) > 0;
        if name.eq_ignore_ascii_case(coding) {
            return is_accepted;
        }
        by_any |= name == "*" && is_accepted;
    }
    by_any
}

/// The items of a list. One may have a parameter in any bytes: the others count all the same.
fn items(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter().map(|value| value.as_bytes());
    values.flat_map(|value| value.split(|&byte| byte == b',')).filter_map(|item| str::from_utf8(item).ok())
}

/// The weight among an item's parameters, in thousandths.
fn weight<'a>(parameters: impl Iterator<Item = &'a str>) -> u16 {
    let weights = parameters.filter_map(|parameter| parameter.split_once('='));
    let weight = weights.filter(|(name, _)| name.trim().eq_ignore_ascii_case("q")).map(|(_, q)| thousandths(q));
    weight.last().unwrap_or(1000)
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
        Some(Self { kind, subtype, weight: weight(parts) })
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
    fn a_client_that_accepts_anything_gets_the_first_offer() {
        check("*/*", HTML);
        check("", HTML);
        check("image/png", HTML);
        assert_eq!(negotiate(&HeaderMap::new(), &[HTML, JSON]), HTML);
    }

    #[test]
    fn a_range_that_names_an_offer_takes_precedence_over_one_that_only_allows_it() {
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

    #[test]
    fn a_coding_is_accepted_by_its_name_or_else_by_the_star() {
        let accepts = |accepted: &'static str| {
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(accepted))]);
            accepts_coding(&headers, "gzip")
        };
        for accepted in ["gzip", "br, GZIP;q=0.5", "*", "gzip, identity;q=0", "*;q=0, gzip"] {
            assert!(accepts(accepted), "{accepted}");
        }
        for refused in ["", "br", "gzip;q=0", "gzip;q=0, *", "*;q=0", "identity", "gzip;q=x"] {
            assert!(!accepts(refused), "{refused}");
        }
        assert!(!accepts_coding(&HeaderMap::new(), "gzip"));
    }
}
