//! The program, started by a test with nothing in its environment but what the test puts there.

use std::io::Write;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};

use super::PATIENCE;
use super::hub::Hub;
use super::lines::lines;

/// A running program, killed with the test.
pub(crate) struct Program {
    child: Child,
    input: Option<ChildStdin>,
    output: Receiver<String>,
    errors: Receiver<String>,
}

/// A program that has ended, with what was not read of it before.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) output: String,
    pub(crate) errors: String,
}

impl Program {
    /// Starts `tidings <command> --hub <the hub>`.
    pub(crate) fn start(hub: &Hub, arguments: &[&str]) -> Self {
        Self::start_with(&[("TIDINGS_HUB", &hub.url())], arguments)
    }

    /// Starts it with this environment.
    pub(crate) fn start_with(environment: &[(&str, &str)], arguments: &[&str]) -> Self {
        Self::spawn(environment, arguments, Stdio::piped())
    }

    /// Starts it for the hub, with an output that the test reads itself.
    pub(crate) fn start_to(output: impl Into<Stdio>, hub: &Hub, arguments: &[&str]) -> Self {
        Self::spawn(&[("TIDINGS_HUB", &hub.url())], arguments, output.into())
    }

    fn spawn(environment: &[(&str, &str)], arguments: &[&str], output: Stdio) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidings"))
            .args(arguments)
            .env_clear()
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let input = child.stdin.take();
        let output = child.stdout.take().map_or_else(|| mpsc::channel().1, lines);
        let errors = lines(child.stderr.take().expect("errors"));
        Self { child, input, output, errors }
    }

    /// The next line of its output.
    #[track_caller]
    pub(crate) fn line(&self) -> String {
        self.output.recv_timeout(PATIENCE).expect("a line")
    }

    /// The next line of its errors that has these words.
    #[track_caller]
    pub(crate) fn told(&self, words: &str) -> String {
        let mut said = Vec::new();
        loop {
            match self.errors.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(words) => return line,
                Ok(line) => said.push(line),
                Err(error) => panic!("it did not say {words:?}, but {said:?}: {error}"),
            }
        }
    }

    pub(crate) fn write(&mut self, text: impl AsRef<[u8]>) {
        let input = self.input.as_mut().expect("an input that is open");
        input.write_all(text.as_ref()).and_then(|()| input.flush()).expect("a program that reads");
    }

    pub(crate) fn close_input(&mut self) {
        self.input = None;
    }

    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().expect("kill");
        assert!(sent.success());
    }

    /// Waits until it has ended.
    #[track_caller]
    pub(crate) fn end(mut self) -> Ended {
        self.close_input();
        let rest = |lines: &Receiver<String>| {
            let mut rest = String::new();
            loop {
                match lines.recv_timeout(PATIENCE) {
                    Ok(line) => rest += &(line + "\n"),
                    Err(mpsc::RecvTimeoutError::Disconnected) => return rest,
                    Err(mpsc::RecvTimeoutError::Timeout) => panic!("it does not end: {rest}"),
                }
            }
        };
        let (output, errors) = (rest(&self.output), rest(&self.errors));
        let ended = Ended { status: self.child.wait().expect("an end"), output, errors };
        assert!(!ended.errors.contains("panicked"), "{ended:?}");
        ended
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// That it ended with this code, and said something with these words on its standard error.
    #[track_caller]
    pub(crate) fn assert(&self, code: i32, words: &str) {
        assert_eq!(self.code(), Some(code), "{self:?}");
        assert!(self.errors.contains(words), "{words:?} is not in {self:?}");
    }
}
