//! A proxy's own program, running on a recipe.

use std::env;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio, id};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::public_client::{HttpVersion, PublicClient};
use crate::recipe::{HOST, ProxyKind, Substitutions};

/// If this environment variable is set, a missing proxy fails the test.
const REQUIRED: &str = "CI_REQUIRE_PROXIES";

/// Maximum number of attempts to start a proxy: another program may take a port before the proxy does.
const STARTS: usize = 3;
/// Time for one attempt.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for a proxy to stop its worker processes.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);

/// A running proxy, which ends with the test.
pub(crate) struct ReverseProxy {
    kind: ProxyKind,
    child: Child,
    https: u16,
    http: u16,
    folder: TempDir,
}

impl ReverseProxy {
    /// Starts a proxy in front of the hub, and waits until the hub answers through it. `None` if it is not installed.
    pub(crate) async fn start(kind: ProxyKind, hub: SocketAddr) -> Option<Self> {
        let program = find_program(kind)?;
        for _ in 1..STARTS {
            let mut proxy = Self::spawn(kind, &program, hub);
            if proxy.wait_until_ready().await {
                return Some(proxy);
            }
        }
        let mut proxy = Self::spawn(kind, &program, hub);
        assert!(proxy.wait_until_ready().await, "{kind:?} doesn't start: {}", proxy.errors());
        Some(proxy)
    }

    fn spawn(kind: ProxyKind, program: &Path, hub: SocketAddr) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (https, http) = (free_port(), free_port());
        let certificate = folder.path().join("certificate.pem");
        fs::write(&certificate, make_certificate()).expect("a certificate");
        let substitutions = Substitutions { hub, https, http, certificate: &certificate, folder: folder.path() };
        let configuration = folder.path().join("configuration");
        fs::write(&configuration, kind.configuration(&substitutions)).expect("a configuration");
        let errors = File::create(folder.path().join("errors")).expect("a file");
        let [configuration, path] = [&configuration, folder.path()].map(|path| path.to_str().expect("UTF-8"));
        let child = Command::new(program)
            .args(kind.arguments(configuration, path))
            // Caddy stores its state there.
            .envs([("HOME", path), ("XDG_CONFIG_HOME", path), ("XDG_DATA_HOME", path)])
            .stdin(Stdio::null())
            .stdout(errors.try_clone().expect("a file"))
            .stderr(errors)
            .spawn()
            .expect("the proxy starts");
        Self { kind, child, https, http, folder }
    }

    /// Waits until the hub answers through the proxy. Returns `false` if the proxy exits or the attempt times out.
    async fn wait_until_ready(&mut self) -> bool {
        let (client, begun) = (self.client(HttpVersion::Http1, [127, 0, 0, 1]), Instant::now());
        while begun.elapsed() < START_TIMEOUT && matches!(self.child.try_wait(), Ok(None)) {
            if client.ping().await {
                return true;
            }
            sleep(PAUSE).await;
        }
        false
    }

    /// A client that connects from this address.
    pub(crate) fn client(&self, version: HttpVersion, address: [u8; 4]) -> PublicClient {
        PublicClient::new(self.https, self.http, version, address)
    }

    /// What the proxy has written to its output so far.
    fn errors(&self) -> String {
        fs::read_to_string(self.folder.path().join("errors")).unwrap_or_default()
    }
}

impl Drop for ReverseProxy {
    fn drop(&mut self) {
        // SIGKILL would leave the worker processes of nginx and Apache running.
        if matches!(self.kind, ProxyKind::Nginx | ProxyKind::Apache) {
            let _ = Command::new("kill").arg(self.child.id().to_string()).status();
            let begun = Instant::now();
            while begun.elapsed() < STOP_TIMEOUT && matches!(self.child.try_wait(), Ok(None)) {
                thread::sleep(PAUSE);
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Finds the proxy's program. Debian installs most of them in /usr/sbin, which isn't in every user's PATH.
#[expect(clippy::print_stdout, reason = "a skipped test must say so")]
fn find_program(kind: ProxyKind) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let found = folders.find_map(|folder| Some(folder.join(kind.program())).filter(|program| program.is_file()));
    if found.is_none() {
        assert!(env::var_os(REQUIRED).is_none(), "{} is not installed, and {REQUIRED} is set", kind.program());
        println!("skipped: {} is not installed", kind.program());
    }
    found
}

/// A port that is free now. It is below the range from which the system assigns ports, so nobody gets it by chance.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = 20_000 + (id() % 100) as u16 * 100;
    loop {
        let port = begin + NEXT.fetch_add(1, Ordering::Relaxed) % 2000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Makes a self-signed certificate for the public host. Returns it and its key as PEM.
fn make_certificate() -> String {
    let key = KeyPair::generate().expect("a key");
    let certificate = CertificateParams::new([HOST.to_owned()]).and_then(|params| params.self_signed(&key));
    certificate.expect("a certificate").pem() + &key.serialize_pem()
}
