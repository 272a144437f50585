//! The PROXY protocol (HAProxy's, versions 1 and 2): what a proxy that passes on bytes says of its client before them.

use std::io;
use std::net::SocketAddr;

use ppp::{v1, v2};
use tokio::io::AsyncReadExt;
use tokio::time::sleep;

use super::socket::{PEEK_PAUSE, Socket, peek};

/// Room for a header of version 2, with what proxies add to it.
const MAX_HEADER: usize = 2048;
/// The longest header of version 1.
const MAX_LINE: usize = 107;
/// What begins version 2; version 1 is text.
const VERSION_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Reads the header that a connection begins with, and answers whom it is about: nobody if the proxy speaks for itself.
pub(super) async fn client(socket: &mut Socket) -> io::Result<Option<SocketAddr>> {
    let Socket::Tcp(stream) = socket else { return Ok(None) };
    let mut first = [0; MAX_HEADER];
    let mut pause = PEEK_PAUSE;
    let (length, client) = loop {
        let read = peek(stream, &mut first).await?;
        if let Some(header) = parse(&first[..read])? {
            break header;
        }
        if read == first.len() {
            return Err(invalid("its PROXY header is too long"));
        }
        sleep(pause).await;
        pause *= 2;
    };
    stream.read_exact(&mut first[..length]).await?;
    Ok(client)
}

/// The header's length and whom it is about; `None` if more of it has to come.
fn parse(bytes: &[u8]) -> io::Result<Option<(usize, Option<SocketAddr>)>> {
    if begins_as(bytes, VERSION_2) {
        return parse_2(bytes);
    }
    // It ends with its line: what follows may be no text.
    let Some(end) = bytes.windows(2).take(MAX_LINE).position(|pair| pair == b"\r\n") else {
        return if begins_as(bytes, b"PROXY ") && bytes.len() < MAX_LINE { Ok(None) } else { Err(no_header()) };
    };
    let header = v1::Header::try_from(&bytes[..end + 2]).map_err(|_| no_header())?;
    Ok(Some((end + 2, address_1(header.addresses))))
}

fn parse_2(bytes: &[u8]) -> io::Result<Option<(usize, Option<SocketAddr>)>> {
    let Some(length) = bytes.get(14..16) else { return Ok(None) };
    let length = 16 + usize::from(u16::from_be_bytes([length[0], length[1]]));
    let Some(header) = bytes.get(..length) else { return Ok(None) };
    let header = v2::Header::try_from(header).map_err(|_| no_header())?;
    let speaks_for_itself = header.command == v2::Command::Local;
    Ok(Some((length, address_2(header.addresses).filter(|_| !speaks_for_itself))))
}

/// Whether the one begins with the other, as far as both go.
fn begins_as(bytes: &[u8], beginning: &[u8]) -> bool {
    bytes.iter().zip(beginning).all(|(one, other)| one == other)
}

fn address_1(addresses: v1::Addresses) -> Option<SocketAddr> {
    match addresses {
        v1::Addresses::Tcp4(ipv4) => Some((ipv4.source_address, ipv4.source_port).into()),
        v1::Addresses::Tcp6(ipv6) => Some((ipv6.source_address, ipv6.source_port).into()),
        v1::Addresses::Unknown => None,
    }
}

fn address_2(addresses: v2::Addresses) -> Option<SocketAddr> {
    match addresses {
        v2::Addresses::IPv4(ipv4) => Some((ipv4.source_address, ipv4.source_port).into()),
        v2::Addresses::IPv6(ipv6) => Some((ipv6.source_address, ipv6.source_port).into()),
        v2::Addresses::Unix(_) | v2::Addresses::Unspecified => None,
    }
}

fn no_header() -> io::Error {
    invalid("it does not begin with a PROXY header, as a trusted proxy's connections have to with --proxy-protocol")
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const V1: &[u8] = b"PROXY TCP4 192.0.2.1 203.0.113.1 4711 443\r\nGET / HTTP/1.1\r\n";

    fn v2() -> Vec<u8> {
        let mut header = [VERSION_2, &[0x21, 0x11, 0, 12]].concat();
        header.extend([192, 0, 2, 1, 203, 0, 113, 1, 0x12, 0x67, 1, 187]);
        header.extend(b"GET");
        header
    }

    fn whom(bytes: &[u8]) -> Option<(usize, String)> {
        let (length, client) = parse(bytes).expect("a header")?;
        Some((length, client.map_or("nobody".into(), |client| client.to_string())))
    }

    #[test]
    fn the_client_is_whom_the_header_names_in_either_version() {
        assert_eq!(whom(V1), Some((43, "192.0.2.1:4711".into())));
        assert_eq!(whom(&v2()), Some((28, "192.0.2.1:4711".into())));
        let v1_6 = b"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n\x16\x03\xff";
        assert_eq!(whom(v1_6), Some((v1_6.len() - 3, "[2001:db8::1]:1".into())));
        assert_eq!(whom(b"PROXY UNKNOWN\r\n"), Some((15, "nobody".into())));
        // A proxy's own health check.
        let mut local = v2();
        local[12] = 0x20;
        assert_eq!(whom(&local), Some((28, "nobody".into())));
    }

    #[test]
    fn a_header_may_come_in_pieces() {
        for header in [&V1[..43], &v2()[..28]] {
            for end in 1..header.len() {
                assert!(parse(&header[..end]).expect("a part").is_none(), "{end}");
            }
            assert!(parse(header).expect("all of it").is_some());
        }
    }

    #[test]
    fn a_connection_without_a_header_is_refused() {
        for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"\x16\x03\x01\x02", b"PROXY TCP4 nonsense\r\n"] {
            assert!(parse(bytes).is_err(), "{}", String::from_utf8_lossy(bytes));
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 1..400)) {
            _ = parse(&bytes);
            _ = parse(&[VERSION_2, &bytes].concat());
        }
    }
}
