//! Certificates from an authority: Pebble, which Let's Encrypt has made for tests.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use serde_json::{Value, json};
use tempfile::TempDir;

const DOMAIN: &str = "hub.example.com";
/// Long enough for a busy machine. Only a failing test waits this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// An authority, and a DNS in which every name leads to this machine.
struct Authority {
    pebble: Child,
    dns: Child,
    folder: TempDir,
    directory: u16,
    management: u16,
    tls: u16,
    http: u16,
}

impl Authority {
    /// `None` where Pebble is not installed: it is said, unless tests have to have it.
    fn start() -> Option<Self> {
        if Command::new("pebble").arg("-h").stderr(Stdio::null()).status().is_err() {
            assert!(std::env::var_os("TIDINGS_REQUIRE_PEBBLE").is_none(), "Pebble is not installed");
            writeln!(std::io::stderr(), "skipped: Pebble is not installed").expect("standard error");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let [directory, management, tls, http, dns_management] = free_ports();
        let dns = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
        let key = KeyPair::generate().expect("a key");
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let certificate =
            CertificateParams::new(names).and_then(|params| params.self_signed(&key)).expect("a certificate");
        let (certificate_file, key_file) = (folder.path().join("pebble.pem"), folder.path().join("pebble.key"));
        fs::write(&certificate_file, certificate.pem()).expect("room");
        fs::write(&key_file, key.serialize_pem()).expect("room");
        let config = json!({"pebble": {
            "listenAddress": format!("127.0.0.1:{directory}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": certificate_file,
            "privateKey": key_file,
            "httpPort": http,
            "tlsPort": tls,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
            "domainBlocklist": ["blocked-domain.example"],
        }});
        let config_file = folder.path().join("pebble.json");
        fs::write(&config_file, config.to_string()).expect("room");
        let quiet = |program: &str| {
            let mut command = Command::new(program);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command
        };
        let dns_child = quiet("pebble-challtestsrv")
            .args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv6", ""])
            .args(["-dns01", &format!("127.0.0.1:{dns}"), "-management", &format!("127.0.0.1:{dns_management}")])
            .spawn()
            .expect("pebble-challtestsrv");
        let pebble = quiet("pebble")
            .args(["-config", &config_file.display().to_string(), "-dnsserver", &format!("127.0.0.1:{dns}")])
            .env("PEBBLE_VA_NOSLEEP", "1")
            // By chance it would refuse good requests, more often in a row than any client tries again.
            .env("PEBBLE_WFE_NONCEREJECT", "0")
            .spawn()
            .expect("pebble");
        let authority = Self { pebble, dns: dns_child, folder, directory, management, tls, http };
        wait_for("the authority", || fetch(&format!("https://127.0.0.1:{directory}/dir")).is_some());
        Some(authority)
    }

    /// A server that orders from it.
    fn server(&self, data: &Path, more: &[&str]) -> Server {
        let [metrics] = free_ports();
        let listen = format!("https://127.0.0.1:{},http://127.0.0.1:{}", self.tls, self.http);
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidings"))
            .args(["--listen", &listen, "--acme-domains", DOMAIN, "--log-format", "json", "--log-level", "info"])
            .args(["--acme-directory", &format!("https://127.0.0.1:{}/dir", self.directory)])
            .args(["--acme-root-file", &self.folder.path().join("pebble.pem").display().to_string()])
            .args(["--metrics-listen", &format!("127.0.0.1:{metrics}")])
            .args(more)
            .current_dir(data)
            .stdout(Stdio::null())
            .stderr(fs::File::create(data.join("log")).expect("room"))
            .spawn()
            .expect("the server");
        wait_for("the server", || {
            assert!(
                child.try_wait().expect("a state").is_none(),
                "{}",
                fs::read_to_string(data.join("log")).expect("a log")
            );
            fetch(&format!("http://127.0.0.1:{metrics}/livez")).is_some()
        });
        Server { child, metrics, data: data.into() }
    }

    /// Whether a client that trusts this authority reaches the server under its name.
    fn is_trusted(&self) -> bool {
        let root = fetch(&format!("https://127.0.0.1:{}/roots/0", self.management)).expect("the authority's root");
        let file = self.folder.path().join("root.pem");
        fs::write(&file, root).expect("room");
        let answer = Command::new("curl")
            .args(["-sS", "--cacert"])
            .arg(&file)
            .args(["--resolve", &format!("{DOMAIN}:{}:127.0.0.1", self.tls)])
            .arg(format!("https://{DOMAIN}:{}/api/ping", self.tls))
            .output()
            .expect("curl");
        String::from_utf8_lossy(&answer.stdout).contains("\"ok\"")
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        for child in [&mut self.pebble, &mut self.dns] {
            _ = child.kill();
            _ = child.wait();
        }
    }
}

struct Server {
    child: Child,
    metrics: u16,
    data: PathBuf,
}

impl Server {
    fn readiness(&self) -> Value {
        let report = fetch(&format!("http://127.0.0.1:{}/readyz", self.metrics)).expect("an answer");
        serde_json::from_str(&report).expect("JSON")
    }

    fn wait_until_ready(&self) {
        wait_for("a certificate", || {
            let refused = "no certificate was issued";
            assert_eq!(self.says(refused), 0, "{}", fs::read_to_string(self.data.join("log")).expect("a log"));
            self.readiness()["status"] == "ready"
        });
    }

    fn says(&self, text: &str) -> usize {
        fs::read_to_string(self.data.join("log")).expect("a log").matches(text).count()
    }

    fn file(&self, name: &str) -> PathBuf {
        acme_file(&self.data, name)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn acme_file(data: &Path, name: &str) -> PathBuf {
    data.join("data/tls/acme").join(name)
}

/// Ports that differ: all are held until the last is found.
fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    let listeners = [(); COUNT].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    listeners.map(|listener| listener.local_addr().expect("an address").port())
}

fn fetch(url: &str) -> Option<String> {
    let answer = Command::new("curl").args(["-sSk", "-m", "10", url]).output().expect("curl");
    answer.status.success().then(|| String::from_utf8_lossy(&answer.stdout).into_owned())
}

#[track_caller]
fn wait_for(what: &str, mut is_there: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_there() {
        assert!(begin.elapsed() < PATIENCE, "{what} did not come");
    }
}

#[test]
fn a_certificate_is_ordered_once_and_used_after_a_restart() {
    for challenge in ["tls-alpn-01", "http-01"] {
        let Some(authority) = Authority::start() else { return };
        let data = tempfile::tempdir().expect("a folder");
        let server = authority.server(data.path(), &["--acme-challenge", challenge, "--acme-contact", "a@example.com"]);
        server.wait_until_ready();
        assert!(authority.is_trusted(), "{challenge}");
        let certificate = fs::read(server.file("certificate.pem")).expect("a certificate");
        drop(server);

        let server = authority.server(data.path(), &["--acme-challenge", challenge]);
        assert!(authority.is_trusted(), "{challenge}: at once");
        assert_eq!(fs::read(server.file("certificate.pem")).expect("a certificate"), certificate);
        assert_eq!(server.says("ordering a certificate"), 0);
    }
}

#[test]
fn a_certificate_that_ends_soon_is_renewed_while_it_is_used() {
    let Some(authority) = Authority::start() else { return };
    let data = tempfile::tempdir().expect("a folder");
    let mut params = CertificateParams::new(vec![DOMAIN.to_owned()]).expect("a name");
    let today = chrono::Utc::now().date_naive();
    let day = |days: i64| {
        use chrono::Datelike;
        let day = today + chrono::TimeDelta::days(days);
        date_time_ymd(day.year(), day.month() as u8, day.day() as u8)
    };
    (params.not_before, params.not_after) = (day(-80), day(10));
    let key = KeyPair::generate().expect("a key");
    let old = params.self_signed(&key).expect("a certificate").pem();
    fs::create_dir_all(acme_file(data.path(), "")).expect("a folder");
    fs::write(acme_file(data.path(), "certificate.pem"), &old).expect("room");
    fs::write(acme_file(data.path(), "certificate.key"), key.serialize_pem()).expect("room");

    let server = authority.server(data.path(), &[]);
    assert_eq!(server.readiness()["status"], "ready", "the one before is used meanwhile");
    wait_for("a new certificate", || authority.is_trusted());
    assert_ne!(fs::read_to_string(server.file("certificate.pem")).expect("a certificate"), old);
}

#[test]
fn a_refusal_is_said_with_its_reason_and_not_asked_for_again_at_once_not_even_after_a_restart() {
    let Some(authority) = Authority::start() else { return };
    let data = tempfile::tempdir().expect("a folder");
    // The authority refuses what its blocklist has.
    let refused = ["--acme-domains", "blocked-domain.example"];
    let server = authority.server(data.path(), &refused);
    wait_for("a refusal", || server.says("no certificate was issued") == 1);
    assert_eq!(server.readiness()["parts"]["certificates"]["status"], "failing");
    let attempts = fs::read_to_string(server.file("attempts.json")).expect("a note");
    drop(server);
    let server = authority.server(data.path(), &refused);
    assert_eq!(server.readiness()["status"], "not ready");
    assert_eq!(server.says("ordering a certificate"), 0);
    assert_eq!(fs::read_to_string(server.file("attempts.json")).expect("a note"), attempts);
}
