//! Keys that an issuer publishes as a JWKS document: fetched when they are needed, and again from time to time.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::net::lookup_host;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tracing::warn;
use url::{Host, Url};

use super::AuthError;
use super::jwk;
use super::key::Key;

/// How long fetched keys are used without a look at newer ones, and at most when none can be fetched.
const FRESH: Duration = Duration::from_secs(3600);
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// How often keys are fetched at most: a stranger's token with an unknown key must not make us ask all the time.
const PAUSE: Duration = Duration::from_secs(60);
/// How long a fetch may take, and bytes the document may have.
const TIMEOUT: Duration = Duration::from_secs(5);
const MAX_BYTES: usize = 256 * 1024;

/// The published keys of one issuer.
pub(super) struct Published {
    url: Url,
    client: reqwest::Client,
    kept: RwLock<Option<Kept>>,
    /// When it was last asked; held while it is asked, so that all who wait share one fetch.
    asked: Mutex<Option<Instant>>,
}

#[derive(Clone)]
struct Kept {
    keys: Arc<[Key]>,
    since: Instant,
}

impl Published {
    /// Keys at this address, which is an internal one only if that is said.
    pub(super) fn new(url: Url, internal: bool) -> Result<Arc<Self>, AuthError> {
        let refuse = |reason: &str| AuthError::Fetch { url: url.to_string(), reason: reason.into() };
        if url.scheme() != "https" && !internal {
            return Err(refuse(
                "they must be fetched with https, or be marked as internal with `jwks-internal = true`",
            ));
        }
        let address = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            _ => None,
        };
        if !internal && address.is_some_and(|address| !is_public(address)) {
            return Err(refuse("it is an internal address; `jwks-internal = true` allows it"));
        }
        // A redirect or a proxy of the environment would lead past the check of the address.
        let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).timeout(TIMEOUT);
        let client = client.dns_resolver(Arc::new(Resolver { internal })).build();
        let client = client.map_err(|error| refuse(&error.to_string()))?;
        Ok(Arc::new(Self { url, client, kept: RwLock::default(), asked: Mutex::default() }))
    }

    /// The keys, fetched if there are none, if they are old, or if none has the id that a token names. `None` if there
    /// are none and none can be had.
    pub(super) async fn keys(&self, named: Option<&str>) -> Option<Arc<[Key]>> {
        let kept = self.kept();
        let suits = |kept: &Kept| {
            kept.since.elapsed() < FRESH && named.is_none_or(|id| kept.keys.iter().any(|key| key.has_id(id)))
        };
        if let Some(kept) = kept.as_ref().filter(|kept| suits(kept)) {
            return Some(kept.keys.clone());
        }
        let mut asked = self.asked.lock().await;
        if asked.is_none_or(|at| at.elapsed() >= PAUSE) {
            *asked = Some(Instant::now());
            match self.fetch().await {
                Ok(keys) => {
                    *self.kept.write().unwrap_or_else(PoisonError::into_inner) =
                        Some(Kept { keys: keys.into(), since: Instant::now() })
                }
                Err(reason) => warn!(url = %self.url, reason, "an issuer's keys could not be fetched"),
            }
        }
        drop(asked);
        self.kept().filter(|kept| kept.since.elapsed() < LONGEST).map(|kept| kept.keys)
    }

    fn kept(&self) -> Option<Kept> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn fetch(&self) -> Result<Vec<Key>, String> {
        let fetched = timeout(TIMEOUT, async {
            let answer = self.client.get(self.url.clone()).header("accept", "application/json").send().await;
            let mut answer = answer.map_err(|error| error.to_string())?;
            if !answer.status().is_success() {
                return Err(format!("it answers {}", answer.status()));
            }
            let mut document = Vec::new();
            while let Some(chunk) = answer.chunk().await.map_err(|error| error.to_string())? {
                document.extend_from_slice(&chunk);
                if document.len() > MAX_BYTES {
                    return Err(format!("it has more than {MAX_BYTES} bytes"));
                }
            }
            Ok(document)
        });
        let document = fetched.await.map_err(|_| format!("it was not there after {TIMEOUT:?}"))??;
        let document = serde_json::from_slice(&document).map_err(|error| error.to_string())?;
        jwk::read_published(document).map_err(|error| error.to_string())
    }
}

/// Resolves names, and leaves out internal addresses: the connection goes to an address that was checked, whatever the
/// name leads to a moment later (server-side request forgery, DNS rebinding).
struct Resolver {
    internal: bool,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let internal = self.internal;
        Box::pin(async move {
            let found = lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found.filter(|address| internal || is_public(address.ip())).collect();
            if allowed.is_empty() {
                return Err("its name leads to internal addresses only; `jwks-internal = true` allows them".into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is one of the public Internet (IANA's special-purpose registries).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_shared = a == 100 && (64..128).contains(&b);
    let is_of_protocols = (a, b, c) == (192, 0, 0) || (a == 198 && (b == 18 || b == 19)) || (a, b, c) == (192, 88, 99);
    !(a == 0
        || a >= 224
        || address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_documentation()
        || is_shared
        || is_of_protocols)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, .., y, z] = address.segments();
    let embedded = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match (a, b) {
        // IPv4 in other forms: mapped, translated (NAT64), 6to4.
        _ if address.to_ipv4_mapped().is_some() => is_public_v4(embedded(y, z)),
        (0x64, 0xff9b) => address.segments()[2..6] == [0; 4] && is_public_v4(embedded(y, z)),
        (0x2002, _) => is_public_v4(embedded(b, address.segments()[2])),
        // Documentation, benchmarking, Teredo and other protocols' own.
        (0x2001, 0xdb8 | 0..0x200) | (0x3fff, 0..0x1000) => false,
        // Nothing else than 2000::/3 is given out.
        _ => a >> 13 == 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_not_of_the_public_internet_are_told_in_every_form() {
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "192.0.2.1",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2001:db8::1",
            "2001::1",
            "fec0::1",
            "3fff::1",
        ] {
            assert!(!is_public(address.parse().expect("an address")), "{address}");
        }
        for address in ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "64:ff9b::1.1.1.1", "2002:101:101::"] {
            assert!(is_public(address.parse().expect("an address")), "{address}");
        }
    }
}
