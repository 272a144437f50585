//! The program in a process of its own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::lines::lines;

/// Long enough for a busy machine. Only a failing test waits this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn command(data: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    command.args(arguments).current_dir(data.path());
    command
}

/// A running program, ended with the test.
pub(crate) struct Program {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) greeting: Vec<String>,
    pub(crate) lines: Receiver<String>,
    pub(crate) data: TempDir,
}

impl Program {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder"), arguments)
    }

    pub(crate) fn start_in(data: TempDir, arguments: &[&str]) -> Self {
        Self::spawn(data, arguments, Stdio::piped())
    }

    /// Starts it with a log that the test does not read.
    pub(crate) fn start_logging_to(log: Stdio, arguments: &[&str]) -> Self {
        Self::spawn(tempfile::tempdir().expect("a folder"), arguments, log)
    }

    pub(crate) fn spawn(data: TempDir, arguments: &[&str], log: Stdio) -> Self {
        let mut command = command(&data, &["--listen", "127.0.0.1:0"]);
        let mut child = command.args(arguments).stdout(Stdio::piped()).stderr(log).spawn().expect("the program starts");
        let stdout = lines(child.stdout.take().expect("an output"));
        let mut greeting: Vec<String> = Vec::new();
        while !greeting.last().is_some_and(|line| line.contains("stop")) {
            greeting.push(stdout.recv_timeout(PATIENCE).expect("a greeting"));
        }
        let address = greeting[0].rsplit("://").next().and_then(|text| text.parse().ok()).expect("an address");
        let lines = child.stderr.take().map_or_else(|| mpsc::channel().1, lines);
        Self { child, address, greeting, lines, data }
    }

    /// Opens a stream and waits for its first comment.
    pub(crate) fn open(&self, path: &str) -> TcpStream {
        let mut stream = self.request(&format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n2\r\n:\n\r\n") {
            stream.read_exact(&mut byte).expect("a stream");
            head.push(byte[0]);
        }
        stream
    }

    pub(crate) fn publish(&self, text: &str) -> String {
        let length = text.len();
        self.answer(&format!("POST /publish HTTP/1.1\r\nContent-Length: {length}"), text).trim_end().to_owned()
    }

    /// The body of the answer to a request.
    /// The status of an answer.
    pub(crate) fn status(&self, head: &str, body: &str) -> u16 {
        let length = body.len();
        let mut stream = self.request(&format!(
            "{head}\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
    }

    pub(crate) fn answer(&self, head: &str, body: &str) -> String {
        let mut answer = String::new();
        let request = format!("{head}\r\nHost: x\r\nConnection: close\r\n\r\n{body}");
        self.request(&request).read_to_string(&mut answer).expect("an answer");
        answer.rsplit("\r\n\r\n").next().expect("a body").to_owned()
    }

    pub(crate) fn request(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(request.as_bytes()).expect("a request");
        stream
    }

    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().expect("kill");
        assert!(sent.success());
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("an end")
    }

    /// The next line of the log with this message.
    pub(crate) fn log(&self, message: &str) -> Value {
        self.log_where(message, |_| true)
    }

    pub(crate) fn log_where(&self, message: &str, matches: impl Fn(&Value) -> bool) -> Value {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no log line says {message:?}"));
            let line: Value = serde_json::from_str(&line).expect("JSON where the log is no terminal");
            if line["message"].as_str().is_some_and(|text| text.contains(message)) && matches(&line) {
                return line;
            }
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
