//! Who is calling: whoever has connected, or whom a proxy says that it forwards for. Only proxies that the operator trusts
//! are believed, or everybody could choose whose limits to use up.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use hyper::header::{FORWARDED, HeaderMap, HeaderName};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The addresses of proxies that are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Box<[IpNet]>);

/// Where proxies say for whom they forward. Only one is believed: a proxy that writes the one passes on the other as its
/// client has sent it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyHeader {
    /// `X-Forwarded-For`, `X-Forwarded-Host` and `X-Forwarded-Proto`.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// Who sends a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) address: IpAddr,
    /// The host that the client has asked for, where a proxy says so.
    pub(crate) host: Option<String>,
    /// The scheme that the client has used, where a proxy says so.
    pub(crate) scheme: Option<String>,
}

/// One step on a request's way: for whom, which host and by which scheme, as far as the proxy says so.
#[derive(Default)]
struct Hop<'a> {
    address: Option<IpAddr>,
    host: Option<Cow<'a, str>>,
    scheme: Option<Cow<'a, str>>,
}

impl FromStr for TrustedProxies {
    type Err = String;

    /// Reads addresses and networks, with commas between them: `10.0.0.0/8,::1`.
    fn from_str(text: &str) -> Result<Self, String> {
        let network = |text: &str| {
            let address = text.parse::<IpAddr>().map(IpNet::from);
            let hint = "write addresses and networks with commas between them, for example 127.0.0.1,10.0.0.0/8";
            address
                .or_else(|_| text.parse())
                .map_err(|_| format!("`{text}` is neither an address nor a network: {hint}"))
        };
        let texts = text.split(',').map(str::trim).filter(|text| !text.is_empty());
        Ok(Self(texts.map(network).collect::<Result<_, _>>()?))
    }
}

impl fmt::Display for TrustedProxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, network) in self.0.iter().enumerate() {
            let comma = if n > 0 { "," } else { "" };
            write!(f, "{comma}{network}")?;
        }
        Ok(())
    }
}

impl TrustedProxies {
    /// Whether this address is a trusted proxy's.
    pub(crate) fn trust(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Who sends a request that has come from `peer`: the last address on its way that is no trusted proxy's.
    pub(crate) fn client(&self, peer: IpAddr, header: ProxyHeader, headers: &HeaderMap) -> Client {
        let mut client = Client { address: peer.to_canonical(), host: None, scheme: None };
        if !self.trust(peer) {
            return client;
        }
        let hops = match header {
            ProxyHeader::Forwarded => forwarded(headers),
            ProxyHeader::XForwardedFor => x_forwarded(headers),
        };
        for hop in hops.into_iter().rev() {
            client.host = hop.host.map(Cow::into_owned).or(client.host);
            client.scheme = hop.scheme.map(Cow::into_owned).or(client.scheme);
            // A proxy that hides whom it forwards for is the last one who is known.
            let Some(address) = hop.address else { break };
            client.address = address;
            if !self.trust(address) {
                break;
            }
        }
        client
    }

    /// Whether somebody who is not trusted says that a request was forwarded.
    pub(crate) fn ignore(&self, peer: IpAddr, headers: &HeaderMap) -> bool {
        (headers.contains_key(FORWARDED) || headers.contains_key(X_FORWARDED_FOR)) && !self.trust(peer)
    }
}

/// The key under which an address is limited. One customer usually has a whole /64 of IPv6 addresses, so it counts as
/// one client.
pub(crate) fn client_key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
        v4 => v4,
    }
}

/// The hops of `Forwarded` (RFC 7239, 4), the first proxy's first.
fn forwarded(headers: &HeaderMap) -> Vec<Hop<'_>> {
    let values = headers.get_all(FORWARDED).iter().filter_map(|value| value.to_str().ok());
    let elements = values.flat_map(|value| split(value, ','));
    let hop = |element| {
        let mut hop = Hop::default();
        for pair in split(element, ';') {
            let Some((name, value)) = pair.split_once('=') else { continue };
            let value = unquote(value.trim());
            match name.trim().to_ascii_lowercase().as_str() {
                "for" => hop.address = address(&value),
                "host" => hop.host = Some(value),
                "proto" => hop.scheme = Some(value),
                _ => {}
            }
        }
        hop
    };
    elements.map(hop).collect()
}

/// The same of `X-Forwarded-For`. The host and the scheme are those of the last proxy: each replaces the other headers.
fn x_forwarded(headers: &HeaderMap) -> Vec<Hop<'_>> {
    let list = |name| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).map(str::trim)
    };
    let mut hops: Vec<_> = list(X_FORWARDED_FOR).map(|text| Hop { address: address(text), ..Hop::default() }).collect();
    let is_named = headers.contains_key(X_FORWARDED_HOST) || headers.contains_key(X_FORWARDED_PROTO);
    if hops.is_empty() && is_named {
        hops.push(Hop::default());
    }
    if let Some(last) = hops.last_mut() {
        last.host = list(X_FORWARDED_HOST).next_back().map(Cow::Borrowed);
        last.scheme = list(X_FORWARDED_PROTO).next_back().map(Cow::Borrowed);
    }
    hops
}

/// Splits at a separator that stands outside of quotes.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(move |c| {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = is_quoted,
            '"' => is_quoted = !is_quoted,
            _ => return c == separator && !is_quoted,
        }
        false
    })
    .map(str::trim)
}

/// A token as it is, or what stands in quotes (RFC 9110, 5.6.4).
fn unquote(text: &str) -> Cow<'_, str> {
    let Some(quoted) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else { return text.into() };
    if !quoted.contains('\\') {
        return quoted.into();
    }
    let (mut text, mut chars) = (String::new(), quoted.chars());
    while let Some(c) = chars.next() {
        text.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
    }
    text.into()
}

/// An address, with or without a port (RFC 7239, 6); `None` where it is unknown or hidden.
fn address(text: &str) -> Option<IpAddr> {
    let of_ipv6 = text.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(address, _)| address);
    let of_ipv4 = || text.split_once(':').map(|(address, _)| address).filter(|address| address.contains('.'));
    let address = of_ipv6.or_else(of_ipv4).unwrap_or(text);
    address.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().expect("a value"));
        }
        headers
    }

    #[track_caller]
    fn check(lines: &[(&'static str, &str)], expected: &str) {
        let proxies: TrustedProxies = "127.0.0.1, 10.0.0.0/8, fd00::/8".parse().expect("networks");
        let header = match lines {
            [("forwarded", _), ..] => ProxyHeader::Forwarded,
            _ => ProxyHeader::XForwardedFor,
        };
        let client = proxies.client(IpAddr::from([127, 0, 0, 1]), header, &headers(lines));
        let told =
            format!("{} {} {}", client.address, client.host.unwrap_or_default(), client.scheme.unwrap_or_default());
        assert_eq!(told.trim_end(), expected, "{lines:?}");
    }

    #[test]
    fn the_client_is_the_last_one_on_the_way_who_is_no_trusted_proxy() {
        check(&[], "127.0.0.1");
        check(&[("x-forwarded-for", "192.0.2.1")], "192.0.2.1");
        check(&[("x-forwarded-for", "198.51.100.7, 192.0.2.1, 10.1.2.3")], "192.0.2.1");
        check(&[("x-forwarded-for", "198.51.100.7"), ("x-forwarded-for", "192.0.2.1:4711")], "192.0.2.1");
        check(&[("x-forwarded-for", "10.1.1.1, 10.1.2.3")], "10.1.1.1");
        check(&[("x-forwarded-for", "2001:db8::1")], "2001:db8::1");
        check(&[("x-forwarded-for", "::ffff:192.0.2.1")], "192.0.2.1");
        check(&[("x-forwarded-for", "192.0.2.9, unknown, 10.1.2.3")], "10.1.2.3");
        // What the proxy has not written itself is its client's.
        check(&[("forwarded", "for=192.0.2.1"), ("x-forwarded-for", "192.0.2.9")], "192.0.2.1");
        check(&[("x-forwarded-for", "192.0.2.1"), ("forwarded", "for=192.0.2.9")], "192.0.2.1");
        check(&[("forwarded", "For=\"[2001:db8::1]:4711\";by=x, for=\"[fd00::1]\"")], "2001:db8::1");
        check(&[("forwarded", "for=192.0.2.9, for=_hidden, for=10.0.0.2")], "10.0.0.2");
    }

    #[test]
    fn the_host_and_the_scheme_are_what_the_first_trusted_proxy_says() {
        let x = [("x-forwarded-for", "192.0.2.1"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "hub.example")];
        check(&x, "192.0.2.1 hub.example https");
        check(&x[1..], "127.0.0.1 hub.example https");
        check(
            &[("forwarded", "for=192.0.2.9;proto=http, for=192.0.2.1;proto=https;host=\"a,b;c\\\"d\"")],
            "192.0.2.1 a,b;c\"d https",
        );
        check(
            &[("forwarded", "for=192.0.2.1;proto=https, for=10.0.0.1;proto=http;host=inner")],
            "192.0.2.1 inner https",
        );
    }

    #[test]
    fn nobody_else_is_believed() {
        let proxies: TrustedProxies = "10.0.0.0/8".parse().expect("a network");
        let headers = headers(&[("x-forwarded-for", "192.0.2.1"), ("x-forwarded-host", "evil.example")]);
        let stranger = IpAddr::from([203, 0, 113, 1]);
        let client = proxies.client(stranger, ProxyHeader::XForwardedFor, &headers);
        assert_eq!(client, Client { address: stranger, host: None, scheme: None });
        assert!(proxies.ignore(stranger, &headers) && !proxies.ignore(IpAddr::from([10, 0, 0, 1]), &headers));
        assert!("10.0.0.0/8, somewhere".parse::<TrustedProxies>().is_err_and(|error| error.contains("`somewhere`")));
    }

    proptest! {
        #[test]
        fn whatever_the_headers_say_somebody_is_calling(forwarded in ".*", x_forwarded in ".*") {
            let proxies: TrustedProxies = "0.0.0.0/0, ::/0".parse().expect("networks");
            for (header, name, value) in [
                (ProxyHeader::Forwarded, "forwarded", forwarded),
                (ProxyHeader::XForwardedFor, "x-forwarded-for", x_forwarded),
            ] {
                if let Ok(value) = value.parse() {
                    let headers = HeaderMap::from_iter([(HeaderName::from_static(name), value)]);
                    proxies.client(IpAddr::from([10, 0, 0, 1]), header, &headers);
                }
            }
        }
    }
}
