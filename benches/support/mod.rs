//! What the load runs share: a server of its own for each, raw listeners, and what a process has cost.

#![allow(dead_code, clippy::print_stdout, reason = "each bench uses what it needs, and prints")]

pub(crate) mod client;
pub(crate) mod seed;

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};
use std::{fs, thread};

/// How long a round may take before something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

/// The value of a flag on the command line, or its default.
pub(crate) fn arg<T: FromStr>(name: &str, default: T) -> T {
    let value = std::env::args().skip_while(|a| a != name).nth(1);
    value.and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// The server that is measured: this build's, or the one that `TIDINGS_BENCH_SERVER` names, to compare with.
pub(crate) fn binary() -> String {
    std::env::var("TIDINGS_BENCH_SERVER").unwrap_or_else(|_| env!("CARGO_BIN_EXE_tidings").into())
}

/// A tidings server in a process of its own, on a free port.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    /// The data folder that goes with it, if nobody else has one for it.
    data: Option<tempfile::TempDir>,
}

impl Server {
    /// Starts it with these flags and waits until it listens.
    pub(crate) fn start(flags: &[&str]) -> Self {
        Self::spawn_empty(Command::new(binary()), flags)
    }

    /// The same, on data that is there already, none of which is let go.
    pub(crate) fn start_with(data: &Path, flags: &[&str]) -> Self {
        let mut command = Command::new(binary());
        command.env("TIDINGS_KEEP_AGE", "0s").env("TIDINGS_KEEP_COUNT", "0").env("TIDINGS_KEEP_BYTES", "0");
        Self::spawn(command, "127.0.0.1:0", data, flags)
    }

    /// Starts it on the data and the port of one that has ended.
    pub(crate) fn start_at(address: SocketAddr, data: &Path, flags: &[&str]) -> Self {
        Self::spawn(Command::new(binary()), &address.to_string(), data, flags)
    }

    /// The same, on one core from its first moment: it has one worker then.
    pub(crate) fn start_on(core: usize, flags: &[&str]) -> Self {
        let mut command = Command::new("taskset");
        command.args(["-c", &core.to_string(), &binary()]);
        Self::spawn_empty(command, flags)
    }

    fn spawn_empty(command: Command, flags: &[&str]) -> Self {
        let data = tempfile::tempdir().expect("a temporary folder");
        let mut server = Self::spawn(command, "127.0.0.1:0", data.path(), flags);
        server.data = Some(data);
        server
    }

    fn spawn(mut command: Command, listen: &str, data: &Path, flags: &[&str]) -> Self {
        let mut child = command
            .args(["serve", "--listen", listen, "--data"])
            .arg(data)
            .args(flags)
            // An older server that is compared with does not know it.
            .env("TIDINGS_MAX_CONNECTIONS_PER_CLIENT", "0")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts, and taskset is there");
        let mut first = String::new();
        BufReader::new(child.stdout.take().expect("its output")).read_line(&mut first).expect("its first line");
        let address = first.trim().rsplit("://").next().unwrap_or_default().parse();
        Self { child, address: address.expect("an address in its first line"), data: None }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Keeps a process and its threads on one core, where `taskset` is there to do it.
pub(crate) fn pin_to(pid: u32, core: usize) {
    let pinned = Command::new("taskset").args(["-acp", &core.to_string(), &pid.to_string()]).output();
    if !pinned.is_ok_and(|output| output.status.success()) {
        println!("  (process {pid} could not be kept on core {core}: figures vary more)");
    }
}

/// The CPU time a process has used, all its threads together.
pub(crate) fn cpu_time(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("Linux's /proc");
    let nanoseconds = tasks.flatten().filter_map(|task| {
        let stat = fs::read_to_string(task.path().join("schedstat")).ok()?;
        stat.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

/// A process's resident memory, in bytes.
pub(crate) fn resident(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("Linux's /proc");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    let kib: usize = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number");
    kib * 1024
}

/// Waits until a process has nothing to do.
pub(crate) fn settle(pid: u32) {
    const LOOK: Duration = Duration::from_millis(200);
    let start = Instant::now();
    loop {
        let before = cpu_time(pid);
        thread::sleep(LOOK);
        if cpu_time(pid).saturating_sub(before) < LOOK / 50 {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "process {pid} is always busy");
    }
}

/// Where this share of the values lies below.
pub(crate) fn quantile(values: &mut [Duration], share: f64) -> Duration {
    values.sort_unstable();
    values[((values.len() - 1) as f64 * share) as usize]
}

/// Open connections that are only read from.
pub(crate) struct Listeners {
    streams: Vec<Listener>,
}

struct Listener {
    stream: TcpStream,
    bytes: usize,
    events: usize,
    comments: usize,
    /// The newest bytes, the last one lowest.
    newest: u32,
}

impl Listeners {
    /// Plain connections.
    pub(crate) fn connect(address: SocketAddr, count: usize) -> Self {
        let connect = || {
            let stream = TcpStream::connect(address).expect("the server listens");
            Listener { stream, bytes: 0, events: 0, comments: 0, newest: 0 }
        };
        let streams: Vec<_> = std::iter::repeat_with(connect).take(count).collect();
        for listener in &streams {
            listener.stream.set_nonblocking(true).expect("a non-blocking socket");
        }
        Self { streams }
    }

    /// Event streams of this path, each open and past its first comment.
    pub(crate) fn open(address: SocketAddr, path: &str, count: usize) -> Self {
        let mut listeners = Self::connect(address, count);
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n");
        for listener in &mut listeners.streams {
            listener.stream.write_all(request.as_bytes()).expect("a request");
        }
        listeners.wait(|listener| listener.comments > 0);
        listeners
    }

    /// Waits until each has that many more events, and answers how many bytes all got together.
    pub(crate) fn wait_for_events(&mut self, count: usize) -> usize {
        self.wait(|listener| listener.events >= count)
    }

    /// Waits until all together have that many more bytes.
    pub(crate) fn wait_for_bytes(&mut self, expected: usize) -> usize {
        let each = expected / self.streams.len();
        self.wait(|listener| listener.bytes >= each)
    }

    fn wait(&mut self, done: impl Fn(&Listener) -> bool) -> usize {
        let start = Instant::now();
        let mut waiting: Vec<&mut Listener> = self.streams.iter_mut().collect();
        for listener in &mut waiting {
            listener.bytes = 0;
            listener.events = 0;
            listener.comments = 0;
        }
        let mut bytes = 0;
        while !waiting.is_empty() {
            assert!(start.elapsed() < PATIENCE, "{} listeners still wait", waiting.len());
            waiting.retain_mut(|listener| {
                listener.read();
                let done = done(listener);
                bytes += if done { listener.bytes } else { 0 };
                !done
            });
            thread::yield_now();
        }
        bytes
    }
}

impl Listener {
    fn read(&mut self) {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => panic!("the server ended a stream"),
            Ok(n) => {
                self.bytes += n;
                for &byte in &buffer[..n] {
                    self.newest = self.newest << 8 | u32::from(byte);
                    // Each event has one id, and a comment is a line that begins with a colon.
                    self.events += usize::from(&self.newest.to_be_bytes() == b"\nid:");
                    self.comments += usize::from(&self.newest.to_be_bytes()[2..] == b"\n:");
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("a stream failed: {error}"),
        }
    }
}
