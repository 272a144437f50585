//! A program that listens and knows nothing of coming back: it is run again with the last id it has told, as those do
//! who use it in a loop.

use std::io::Read;
use std::pin::Pin;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;

use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::support::in_time;
use crate::{Heard, Listener};

/// What a program writes, as it comes.
pub(crate) type Output = UnboundedReceiverStream<Vec<u8>>;

/// The events in what a program writes.
pub(crate) type Events = Pin<Box<dyn Stream<Item = Heard>>>;

/// The program's next run, after the event with this id.
type NextRun = dyn Fn(Option<&str>) -> Command;

/// A program, run again whenever it ends.
pub(crate) struct Rerun {
    command: Box<NextRun>,
    parse: fn(Output) -> Events,
    run: Run,
    last_event_id: Option<String>,
}

/// A running program, killed with the test.
struct Run {
    child: Child,
    events: Events,
    /// Whether it has told any event.
    told: bool,
}

impl Rerun {
    pub(crate) fn start(command: impl Fn(Option<&str>) -> Command + 'static, parse: fn(Output) -> Events) -> Self {
        let run = Run::start(command(None), parse);
        Self { command: Box::new(command), parse, run, last_event_id: None }
    }
}

impl Listener for Rerun {
    async fn hear(&mut self) -> Heard {
        loop {
            if let Some(heard) = in_time("an event", self.run.events.next()).await {
                self.run.told = true;
                self.last_event_id = Some(heard.id.clone());
                return heard;
            }
            self.run.assert_was_cut();
            self.run = Run::start((self.command)(self.last_event_id.as_deref()), self.parse);
        }
    }
}

impl Run {
    fn start(mut command: Command, parse: fn(Output) -> Events) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| {
            let program = command.get_program().display();
            panic!("{program}: {error}. This test needs it: `cargo make test` sees to that, or names what to do")
        });
        let events = parse(output(child.stdout.take().expect("an output")));
        Self { child, events, told: false }
    }

    /// It must have ended with an error, and not at once: with any other end it would be run again for ever.
    fn assert_was_cut(&mut self) {
        let mut said = String::new();
        self.child.stderr.take().expect("errors").read_to_string(&mut said).expect("text");
        let status = self.child.wait().expect("an end");
        assert!(
            self.told && !status.success(),
            "it ended with {status}, after an event: {}, and said: {said}",
            self.told
        );
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn output(mut stdout: ChildStdout) -> Output {
    let (sender, output) = mpsc::unbounded_channel();
    thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(length @ 1..) = stdout.read(&mut piece) {
            if sender.send(piece[..length].to_vec()).is_err() {
                return;
            }
        }
    });
    UnboundedReceiverStream::new(output)
}
