//! This machine's name, and whether a URL leads to this machine.

use url::{Host, Url};

/// The machine's host name.
pub(crate) fn name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Whether nobody else can be behind this URL: what is sent there stays on this machine.
pub(crate) fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_this_machine() {
        let is = |text: &str| is_this_machine(&Url::parse(text).expect("a URL"));
        assert!(["http://127.1.2.3", "http://[::1]:80", "http://localhost", "http://a.localhost"].into_iter().all(is));
        assert!(!["http://10.0.0.1", "http://0.0.0.0", "http://localhost.example", "http://[::2]"].into_iter().any(is));
    }
}
