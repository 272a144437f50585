//! Where to listen: addresses as operators write them, and the sockets that they become.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use listenfd::ListenFd;
use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket, UnixListener};
use url::Url;

use super::socket::Socket;

/// Connections that may wait to be accepted; the system may allow fewer. After a restart all clients reconnect at once, and
/// the kernel of one that finds no place tries again only after a second, then after three, then after seven.
const BACKLOG: u32 = 16_384;

/// Whom a connection over a Unix socket comes from: this machine.
const UNIX_PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// How clients speak at an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// In clear text.
    #[default]
    Http,
    /// Over TLS.
    Https,
}

/// Where to listen: `HOST:PORT`, `unix:PATH` or `systemd`, with `http://` or `https://` before it where it is to differ
/// from the other addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    place: Place,
    scheme: Option<Scheme>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// A host and its port.
    Tcp(String),
    Unix(PathBuf),
    /// The sockets that systemd has opened.
    Systemd,
}

/// A socket that listens.
pub struct Listener {
    socket: ListeningSocket,
    scheme: Scheme,
}

enum ListeningSocket {
    Tcp(TcpListener),
    Unix {
        listener: UnixListener,
        /// Goes with it, unless somebody else has made it.
        _file: Option<SocketFile>,
    },
}

/// A Unix socket's file, which is removed when it is no longer listened on.
struct SocketFile(PathBuf);

/// Why there is nothing to listen on: its `Display` says what to do.
#[derive(Debug, Error)]
pub enum BindError {
    /// Another program has the port.
    #[error(
        "port {port} is taken: another program, perhaps another tidings, listens on {address}. Stop it, or choose \
         another port with --listen, for example --listen 127.0.0.1:{next}, or --listen 127.0.0.1:0 for any free one.",
        port = .0.port(), address = .0, next = .0.port().wrapping_add(1)
    )]
    Taken(SocketAddr),
    /// The port is only for privileged programs.
    #[error("no permission to listen on {address}: {error}. Choose a port above 1023 with --listen.")]
    Denied {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        error: io::Error,
    },
    /// The address belongs to another machine.
    #[error("{0} is not an address of this machine. Choose one with --listen, or 0.0.0.0 for all.")]
    Foreign(SocketAddr),
    /// The name leads nowhere.
    #[error("{0} leads to no address. Choose one with --listen.")]
    Unresolved(String),
    /// A Unix socket can't be made.
    #[error("can't listen on {}: {error}. Choose another path with --listen unix:PATH.", path.display())]
    Unix {
        /// The socket's file.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// Systemd has opened no socket.
    #[error(
        "--listen systemd: systemd has given no socket. Start it through a socket unit, or choose an address with --listen."
    )]
    NoSystemd,
    /// Something else.
    #[error("can't listen on {address}: {error}. Choose another address with --listen.")]
    Other {
        /// The address.
        address: String,
        /// The system's error.
        error: io::Error,
    },
}

impl Scheme {
    /// The scheme of URLs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (scheme, place) = match text.split_once("://") {
            Some(("http", place)) => (Some(Scheme::Http), place),
            Some(("https", place)) => (Some(Scheme::Https), place),
            Some(_) => return Err(format!("`{text}`: only http:// and https:// may stand before an address")),
            None => (None, text),
        };
        let place = match place.strip_prefix("unix:") {
            Some("") => return Err("unix: must be followed by the path of a socket".into()),
            Some(path) => Place::Unix(path.into()),
            None if place == "systemd" => Place::Systemd,
            None => Place::Tcp(place.trim_end_matches('/').into()),
        };
        Ok(Self { place, scheme })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scheme) = self.scheme {
            write!(f, "{}://", scheme.name())?;
        }
        match &self.place {
            Place::Tcp(host) => f.write_str(host),
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
            Place::Systemd => f.write_str("systemd"),
        }
    }
}

impl ListenAddress {
    /// Whether it can be understood: a host with a port has to lead somewhere.
    pub fn is_usable(&self) -> bool {
        !matches!(&self.place, Place::Tcp(_)) || !self.addresses().is_empty()
    }

    /// Whether TLS is asked for here by name.
    pub fn wants_tls(&self) -> bool {
        self.scheme == Some(Scheme::Https)
    }

    /// Whether certainly only this machine can connect. Behind a Unix socket stands a proxy, as a rule.
    pub fn is_for_this_machine(&self) -> bool {
        matches!(self.place, Place::Tcp(_)) && self.addresses().iter().all(|address| address.ip().is_loopback())
    }

    /// The URL by which this machine reaches it, as far as it is known before it is listened on.
    pub fn url(&self, default: Scheme) -> Option<Url> {
        url_of(self.scheme.unwrap_or(default), *self.addresses().first()?)
    }

    /// Listens: on every address of the host's name that this machine has.
    ///
    /// # Errors
    /// If there is none, or one of them is taken.
    pub fn bind(&self, default: Scheme) -> Result<Vec<Listener>, BindError> {
        let scheme = self.scheme.unwrap_or(default);
        let sockets = match &self.place {
            Place::Tcp(host) => bind_all(host, self.addresses())?,
            Place::Unix(path) => vec![bind_unix(path).map_err(|error| BindError::Unix { path: path.clone(), error })?],
            Place::Systemd => inherit()?,
        };
        Ok(sockets.into_iter().map(|socket| Listener { socket, scheme }).collect())
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        match &self.place {
            Place::Tcp(host) => host.to_socket_addrs().map(Iterator::collect).unwrap_or_default(),
            _ => Vec::new(),
        }
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self { socket: ListeningSocket::Tcp(listener), scheme: Scheme::Http }
    }
}

impl Listener {
    /// How clients speak here.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The URL by which this machine reaches it; `None` for a Unix socket.
    pub fn url(&self) -> Option<Url> {
        match &self.socket {
            ListeningSocket::Tcp(listener) => url_of(self.scheme, listener.local_addr().ok()?),
            ListeningSocket::Unix { .. } => None,
        }
    }

    /// The TCP socket, if it is one.
    pub(super) fn tcp(&self) -> Option<&TcpListener> {
        match &self.socket {
            ListeningSocket::Tcp(listener) => Some(listener),
            ListeningSocket::Unix { .. } => None,
        }
    }

    pub(super) async fn accept(&self) -> io::Result<(Socket, SocketAddr)> {
        match &self.socket {
            ListeningSocket::Tcp(listener) => listener.accept().await.map(|(stream, peer)| (Socket::Tcp(stream), peer)),
            ListeningSocket::Unix { listener, .. } => {
                listener.accept().await.map(|(stream, _)| (Socket::Unix(stream), UNIX_PEER))
            }
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.socket {
            ListeningSocket::Tcp(listener) => {
                let address = listener.local_addr().map(|address| address.to_string()).unwrap_or_default();
                write!(f, "{}://{address}", self.scheme.name())
            }
            ListeningSocket::Unix { listener, .. } => {
                let address = listener.local_addr().ok();
                let path = address.as_ref().and_then(|address| address.as_pathname()).unwrap_or(Path::new("(unnamed)"));
                write!(f, "unix:{}", path.display())
            }
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        _ = std::fs::remove_file(&self.0);
    }
}

/// Where this machine finds a server that listens on `address`.
fn url_of(scheme: Scheme, address: SocketAddr) -> Option<Url> {
    let host = if address.ip().is_unspecified() { "localhost".into() } else { address.ip().to_string() };
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    Url::parse(&format!("{}://{host}:{}/", scheme.name(), address.port())).ok()
}

fn bind_all(host: &str, addresses: Vec<SocketAddr>) -> Result<Vec<ListeningSocket>, BindError> {
    let (mut sockets, mut foreign, mut port) = (Vec::new(), None, None);
    for mut address in addresses {
        // A free port that was taken for the first address is the port of the others too.
        if address.port() == 0 {
            address.set_port(port.unwrap_or(0));
        }
        match bind_tcp(address) {
            Ok(socket) => {
                port = socket.local_addr().ok().map(|address| address.port());
                sockets.push(ListeningSocket::Tcp(socket));
            }
            Err(error) => match error.kind() {
                // `localhost` has an address of IPv6, which this machine may not.
                io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported => foreign = Some(address),
                io::ErrorKind::AddrInUse => return Err(BindError::Taken(address)),
                io::ErrorKind::PermissionDenied => return Err(BindError::Denied { address, error }),
                _ => return Err(BindError::Other { address: address.to_string(), error }),
            },
        }
    }
    match foreign {
        _ if !sockets.is_empty() => Ok(sockets),
        Some(address) => Err(BindError::Foreign(address)),
        None => Err(BindError::Unresolved(host.into())),
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Connections of the server before this one, which has just ended, hold the port otherwise.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn bind_unix(path: &Path) -> io::Result<ListeningSocket> {
    let listener = match UnixListener::bind(path) {
        // A server that was killed leaves its file, on which nobody listens.
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_abandoned(path) => {
            std::fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        other => other,
    }?;
    Ok(ListeningSocket::Unix { listener, _file: Some(SocketFile(path.into())) })
}

fn is_abandoned(path: &Path) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    is_socket && std::os::unix::net::UnixStream::connect(path).is_err_and(refused)
}

/// Takes over the sockets that systemd has opened (`LISTEN_FDS`).
fn inherit() -> Result<Vec<ListeningSocket>, BindError> {
    let mut inherited = ListenFd::from_env();
    let other = |error| BindError::Other { address: "systemd's sockets".into(), error };
    let mut sockets = Vec::new();
    for index in 0..inherited.len() {
        if let Ok(Some(listener)) = inherited.take_tcp_listener(index) {
            listener.set_nonblocking(true).map_err(other)?;
            sockets.push(ListeningSocket::Tcp(TcpListener::from_std(listener).map_err(other)?));
        } else if let Some(listener) = inherited.take_unix_listener(index).map_err(other)? {
            listener.set_nonblocking(true).map_err(other)?;
            let listener = UnixListener::from_std(listener).map_err(other)?;
            sockets.push(ListeningSocket::Unix { listener, _file: None });
        }
    }
    if sockets.is_empty() { Err(BindError::NoSystemd) } else { Ok(sockets) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> ListenAddress {
        text.parse().expect(text)
    }

    #[test]
    fn an_address_is_written_as_it_was_read() {
        for text in ["127.0.0.1:3000", "https://0.0.0.0:443", "http://[::]:80", "unix:/run/tidings.sock", "systemd"] {
            assert_eq!(address(text).to_string(), text);
        }
        assert!("ftp://a:1".parse::<ListenAddress>().is_err() && "unix:".parse::<ListenAddress>().is_err());
        assert!(!address("nonsense").is_usable());
    }

    #[test]
    fn only_loopback_addresses_are_certainly_for_this_machine_alone() {
        assert!(address("127.0.0.1:0").is_for_this_machine() && address("https://[::1]:0").is_for_this_machine());
        for text in ["0.0.0.0:0", "unix:/run/tidings.sock", "systemd"] {
            assert!(!address(text).is_for_this_machine(), "{text}");
        }
    }

    #[tokio::test]
    async fn all_addresses_of_a_name_are_listened_on_at_the_same_port() {
        let listeners = address("localhost:0").bind(Scheme::Https).expect("sockets");
        let ports: Vec<_> = listeners.iter().filter_map(|listener| listener.url()?.port()).collect();
        assert!(!ports.is_empty() && ports.iter().all(|port| *port == ports[0]), "{ports:?}");
        assert!(listeners[0].to_string().starts_with("https://"));
    }

    #[tokio::test]
    async fn a_taken_port_is_named_with_what_to_do() {
        let taken = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = taken.local_addr().expect("an address");
        let error = address(&at.to_string()).bind(Scheme::Http).err().expect("a refusal");
        assert!(error.to_string().contains(&format!("port {} is taken", at.port())), "{error}");
    }

    #[tokio::test]
    async fn a_unix_sockets_file_goes_with_it_and_one_that_was_left_behind_is_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("socket");
        drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
        assert!(path.exists(), "as a server that was killed leaves it");
        let address = address(&format!("unix:{}", path.display()));
        let listening = address.bind(Scheme::Http).expect("a socket");
        assert_eq!(listening[0].to_string(), address.to_string());
        assert!(matches!(address.bind(Scheme::Http), Err(BindError::Unix { .. })), "somebody listens there");
        drop(listening);
        assert!(!path.exists());
        std::fs::write(&path, "not a socket").expect("room");
        assert!(address.bind(Scheme::Http).is_err() && path.exists(), "a file of somebody else's stays");
    }
}
