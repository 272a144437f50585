//! NATS servers for the tests of clusters.

#![allow(dead_code, reason = "each test uses what it needs")]

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use tidings::server::log::{ClusterOptions, ClusterSecret, Credentials};

/// The secret of the tests' nodes.
pub(crate) const SECRET: &str = "the secret of these tests, long enough";

/// NATS servers that form one cluster, killed with the test.
pub(crate) struct Nats {
    servers: Vec<Server>,
    folder: TempDir,
}

struct Server {
    port: u16,
    process: Option<Child>,
}

impl Nats {
    /// So many servers. `None` where there is no NATS server: it is said, unless tests have to have it.
    pub(crate) fn start(count: usize) -> Option<Self> {
        if program().is_none() {
            assert!(std::env::var_os("TIDINGS_REQUIRE_NATS").is_none(), "no NATS server is installed");
            writeln!(std::io::stderr(), "skipped: no NATS server is installed").expect("standard error");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let ports = free_ports(2 * count);
        let (clients, routes) = ports.split_at(count);
        let urls: Vec<_> = routes.iter().map(|port| format!("\"nats://127.0.0.1:{port}\"")).collect();
        for (index, (client, route)) in clients.iter().zip(routes).enumerate() {
            let store = folder.path().join(format!("n{index}"));
            let mut config = format!(
                "server_name: n{index}\nlisten: \"127.0.0.1:{client}\"\n\
                 jetstream {{ store_dir: {store:?}, sync_interval: always, max_file_store: 1GB }}\n"
            );
            if count > 1 {
                let urls = urls.join(", ");
                writeln!(config, "cluster {{ name: test, listen: \"127.0.0.1:{route}\", routes: [{urls}] }}")
                    .expect("a text");
            }
            fs::write(folder.path().join(format!("n{index}.conf")), config).expect("room");
        }
        let servers = clients.iter().map(|&port| Server { port, process: None }).collect();
        let mut nats = Self { servers, folder };
        nats.start_all();
        Some(nats)
    }

    /// The URLs of all servers, with commas between them.
    pub(crate) fn urls(&self) -> String {
        let urls: Vec<_> = self.servers.iter().map(|server| format!("nats://127.0.0.1:{}", server.port)).collect();
        urls.join(",")
    }

    /// The options of a node whose stream all servers store.
    pub(crate) fn node(&self, secret: &str) -> ClusterOptions {
        ClusterOptions {
            servers: self.urls().split(',').map(str::to_owned).collect(),
            stream: "tidings".into(),
            node: "a node".into(),
            replicas: self.servers.len(),
            creates_stream: true,
            secret: ClusterSecret::parse(secret).expect("a secret"),
            credentials: Credentials::None,
            ca_file: None,
            certificate: None,
            patience: ClusterOptions::PATIENCE,
        }
    }

    /// Where a server keeps its streams.
    pub(crate) fn store(&self, index: usize) -> PathBuf {
        self.folder.path().join(format!("n{index}"))
    }

    pub(crate) fn start_all(&mut self) {
        (0..self.servers.len()).for_each(|index| self.start_one(index));
    }

    /// Starts a server that does not run.
    pub(crate) fn start_one(&mut self, index: usize) {
        let path = |suffix: &str| self.folder.path().join(format!("n{index}.{suffix}"));
        let log = File::options().create(true).append(true).open(path("log")).expect("room");
        let mut command = Command::new(program().expect("a NATS server"));
        command.arg("-c").arg(path("conf")).stdout(Stdio::null()).stderr(log);
        self.servers[index].process.get_or_insert_with(|| command.spawn().expect("the server starts"));
    }

    /// Ends all with SIGKILL.
    pub(crate) fn kill_all(&mut self) {
        (0..self.servers.len()).for_each(|index| self.kill(index));
    }

    /// Ends a server with SIGKILL.
    pub(crate) fn kill(&mut self, index: usize) {
        if let Some(mut process) = self.servers[index].process.take() {
            process.kill().expect("a process");
            process.wait().expect("an end");
        }
    }

    /// Stops a server, as a machine that hangs, or lets it go on.
    pub(crate) fn signal(&self, index: usize, signal: &str) {
        let process = self.servers[index].process.as_ref().expect("a process");
        let status = Command::new("kill").args([format!("-{signal}"), process.id().to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()));
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.kill_all();
    }
}

fn program() -> Option<PathBuf> {
    let set = std::env::var_os("TIDINGS_TEST_NATS").map(PathBuf::from);
    let found = || {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|folder| folder.join("nats-server")).find(|program| program.is_file())
    };
    set.filter(|program| Path::is_file(program)).or_else(found)
}

/// Ports that are free, below those that the system gives to whoever asks for any.
fn free_ports(count: usize) -> Vec<u16> {
    let mut listeners = Vec::new();
    while listeners.len() < count {
        listeners.extend(TcpListener::bind(("127.0.0.1", rand::random_range(20_000..32_000))));
    }
    listeners.iter().map(|listener| listener.local_addr().expect("an address").port()).collect()
}
