//! Clients that are not ours, at the hub over a bad line: each loses its connection in the middle of an event, comes
//! back and has had every update once, in order. The browser's and Node's are in `end2end/tests/clients.spec.ts`.

#[path = "clients/proxy.rs"]
mod proxy;
#[path = "clients/rerun.rs"]
mod rerun;
mod support;

use std::io::Write;
use std::process::Command;

use eventsource_client::{Client as _, ClientBuilder, Error, SSE};
use eventsource_stream::Eventsource;
use futures_util::{Stream, StreamExt};
use proxy::Proxy;
use rerun::{Output, Rerun};
use serde::Deserialize;
use support::{Client, EARLIEST, Program, in_time};
use tempfile::TempDir;
use tidings::wire::paths::HUB;

/// The interpreter of an environment that has sseclient-py; `.ci/tools python` makes one.
const PYTHON: &str = "TIDINGS_TEST_PYTHON";

const TOPIC: &str = "https://example.org/imports/7";

/// An update, as its publisher sends it.
#[derive(Clone, Copy)]
struct Update {
    /// Empty where the hub gives it one.
    id: &'static str,
    /// Empty for `message`.
    event: &'static str,
    data: &'static str,
}

/// What a client hears before its line is cut. The last one's id is what it comes back with.
const BEFORE: [Update; 3] = [
    Update { id: "", event: "", data: "the import has begun" },
    Update { id: "", event: "progress", data: "lines\r\n  and more\r\rafter an empty one\n" },
    Update { id: "größe-Ω-новости", event: "", data: "größer 🦀" },
];
/// In the middle of this one the line is cut, after `HALF`.
const CUT: Update = Update { id: "urn:example:cut", event: "progress", data: "the first half\nand the second" };
const HALF: &str = "the first half\n";
/// What is published while the client is away.
const AWAY: [Update; 2] =
    [Update { id: "", event: "", data: "missed" }, Update { id: "", event: "progress", data: "missed too" }];
/// What is published when it is back.
const AFTER: Update = Update { id: "", event: "", data: "the import is done" };

/// An event, as a client hears it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Heard {
    id: String,
    event: String,
    data: String,
}

/// A client that comes back when it has lost its connection.
pub(crate) trait Listener {
    /// The next event, over however many connections.
    async fn hear(&mut self) -> Heard;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eventsource_client_of_rust_comes_back_by_itself_and_has_had_every_update_once() {
    Hub::start().await.tell_over_a_cut_line(SelfHealing::start).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_run_again_with_its_last_id_has_had_every_update_once() {
    let curl = |url: String| {
        let command = move |last_event_id: Option<&str>| {
            let mut curl = Command::new("curl");
            curl.args(["-N", "--silent", "--show-error", "--fail", "--noproxy", "*", &url]);
            if let Some(id) = last_event_id {
                curl.arg("-H").arg(format!("Last-Event-ID: {id}"));
            }
            curl
        };
        Rerun::start(command, |output| {
            let events = output.map(Ok::<_, std::io::Error>).eventsource();
            Box::pin(events.map(|event| Heard::from(event.expect("UTF-8"))))
        })
    };
    Hub::start().await.tell_over_a_cut_line(curl).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sseclient_py_run_again_with_its_last_id_has_had_every_update_once() {
    let Ok(python) = std::env::var(PYTHON) else {
        // Past the test harness, which would keep it to itself.
        let hint = format!("{PYTHON} is not set. `.ci/tools python -- cargo test` runs it, and `cargo make test` too.");
        return writeln!(std::io::stderr(), "skipped: sseclient-py, since {hint}").expect("written");
    };
    let sseclient_py = |url: String| {
        let command = move |last_event_id: Option<&str>| {
            let mut command = Command::new(&python);
            command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/listen.py"));
            command.arg(&url).args(last_event_id).env("NO_PROXY", "*");
            command
        };
        Rerun::start(command, |output| {
            Box::pin(lines(output).map(|line| serde_json::from_str(&line).expect("an event")))
        })
    };
    Hub::start().await.tell_over_a_cut_line(sseclient_py).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_comes_back_after_a_restart_goes_on_where_it_was_before_anything_new_is_published() {
    let hub = Hub::start().await;
    let mut client = SelfHealing::start(hub.url());
    for update in BEFORE {
        let expected = hub.tell(update).await;
        assert_eq!(client.hear().await, expected);
    }
    hub.proxy.cut();
    let mut missed = Vec::new();
    for update in AWAY {
        missed.push(hub.tell(update).await);
    }
    let hub = hub.restart();
    for expected in missed {
        assert_eq!(client.hear().await, expected);
    }
    let expected = hub.tell(AFTER).await;
    assert_eq!(client.hear().await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_polyfill_that_has_its_last_id_in_the_query_goes_on_after_it() {
    let hub = Hub::start().await;
    let mut told = Vec::new();
    for update in BEFORE.into_iter().chain(AWAY) {
        told.push(hub.tell(update).await);
    }
    let (had, missed) = told.split_at(BEFORE.len());
    // What event-source-polyfill appends when it has lost its connection.
    let id: String = form_urlencoded::byte_serialize(had[BEFORE.len() - 1].id.as_bytes()).collect();
    let path = format!("{HUB}?match={TOPIC}&lastEventId={id}");
    let mut events = hub.client.open(&path, None).await.expect("a stream");
    for expected in missed {
        assert_eq!(events.next().await.map(Heard::from).as_ref(), Some(expected));
    }
}

/// A server behind a bad line.
struct Hub {
    program: Program,
    client: Client,
    proxy: Proxy,
    data: TempDir,
}

impl Hub {
    async fn start() -> Self {
        let data = tempfile::tempdir().expect("a folder");
        let program = Self::program(&data);
        Self { client: program.client(), proxy: Proxy::start(program.address()).await, program, data }
    }

    /// Kills the server, starts it again with the same data, and mends the line.
    fn restart(self) -> Self {
        self.program.kill();
        let program = Self::program(&self.data);
        self.proxy.mend(program.address());
        Self { client: program.client(), program, ..self }
    }

    fn program(data: &TempDir) -> Program {
        Program::start(data.path(), &["--publish-without-token", "--log-level", "warn"])
    }

    /// Where a client hears, over the bad line, all there is from the beginning. When it comes back, the id in its
    /// header weighs more.
    fn url(&self) -> String {
        format!("http://{}{HUB}?match={TOPIC}&last_event_id={EARLIEST}", self.proxy.address())
    }

    /// Publishes an update; answers what every client must hear.
    async fn tell(&self, Update { id, event, data }: Update) -> Heard {
        // Clients that come back by themselves shall do so soon.
        let fields = [("topic", TOPIC), ("id", id), ("type", event), ("data", data), ("retry", "50")];
        let answer = self.client.publish_update(&fields).await.expect("a running program");
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(id.is_empty() || answer.body == id, "{answer:?}");
        let event = if event.is_empty() { "message" } else { event };
        Heard { id: answer.body, event: event.into(), data: data.replace("\r\n", "\n").replace('\r', "\n") }
    }

    /// Cuts the line to a client in the middle of an update, publishes more while it is away, and asserts that it hears
    /// all of it, each update once and in order.
    async fn tell_over_a_cut_line<L: Listener>(&self, client: impl FnOnce(String) -> L) {
        let expected = self.tell(BEFORE[0]).await;
        let mut client = client(self.url());
        assert_eq!(client.hear().await, expected);
        for update in &BEFORE[1..] {
            let expected = self.tell(*update).await;
            assert_eq!(client.hear().await, expected);
        }
        self.proxy.cut_after(HALF);
        let mut missed = vec![self.tell(CUT).await];
        self.proxy.has_cut().await;
        for update in AWAY {
            missed.push(self.tell(update).await);
        }
        self.proxy.mend(self.program.address());
        for expected in missed {
            assert_eq!(client.hear().await, expected);
        }
        let expected = self.tell(AFTER).await;
        assert_eq!(client.hear().await, expected);
    }
}

/// The client of the crate `eventsource-client`, which comes back by itself.
struct SelfHealing(eventsource_client::BoxStream<eventsource_client::Result<SSE>>);

impl SelfHealing {
    fn start(url: String) -> Self {
        Self(ClientBuilder::for_url(&url).expect("a URL").build_http().stream())
    }
}

impl Listener for SelfHealing {
    async fn hear(&mut self) -> Heard {
        loop {
            match in_time("an event", self.0.next()).await.expect("a client that goes on") {
                Ok(SSE::Event(event)) => {
                    return Heard { id: event.id.unwrap_or_default(), event: event.event_type, data: event.data };
                }
                Ok(SSE::Connected(_) | SSE::Comment(_))
                | Err(Error::Eof | Error::UnexpectedEof | Error::HttpStream(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

impl From<eventsource_stream::Event> for Heard {
    fn from(event: eventsource_stream::Event) -> Self {
        Self { id: event.id, event: event.event, data: event.data }
    }
}

/// The whole lines of what a program writes.
fn lines(output: Output) -> impl Stream<Item = String> {
    let whole = |rest: &mut Vec<u8>, piece: Vec<u8>| {
        rest.extend(piece);
        let end = rest.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let lines = String::from_utf8(rest.drain(..end).collect()).expect("UTF-8");
        std::future::ready(Some(lines.lines().map(str::to_owned).collect::<Vec<_>>()))
    };
    output.scan(Vec::new(), whole).flat_map(futures_util::stream::iter)
}
