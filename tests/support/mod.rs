//! The program itself, started on a data folder, and the verbs to speak to it. Each test that needs a process,
//! because it kills it or fills its disk, shares this; `tests/api` has the server without one.

#![allow(dead_code, reason = "each test uses what it needs")]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use eventsource_stream::{Event, Eventsource};
use futures_util::{Stream, StreamExt};
use serde_json::Value;
use tidings::wire::message::{Message, MessageList};
use tidings::wire::paths::HUB;
use tokio::sync::mpsc::{self, UnboundedReceiver};

/// Every message, live.
pub(crate) const FEED: &str = "/api/messages";
/// Stands for the beginning of all that is kept, where an event id is expected.
pub(crate) const EARLIEST: &str = "earliest";

/// Long enough for a machine that is busy with other things; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running program on a port of its own, killed with the test.
pub(crate) struct Program {
    child: Child,
    address: SocketAddr,
    greeting: String,
    lines: UnboundedReceiver<Value>,
    logged: Vec<Value>,
}

impl Program {
    /// Starts it without a rate limit and waits until it serves.
    pub(crate) fn start(data: &Path, flags: &[&str]) -> Self {
        Self::start_at("127.0.0.1:0", data, flags)
    }

    /// Ends it with SIGKILL, and starts it again on the same port.
    pub(crate) fn restart(mut self, data: &Path, flags: &[&str]) -> Self {
        self.end();
        Self::start_at(&self.address.to_string(), data, flags)
    }

    /// Starts it with its default settings, but for its port and its data.
    pub(crate) fn start_with_defaults(data: &Path) -> Self {
        Self::spawn("127.0.0.1:0", data, &[])
    }

    fn start_at(listen: &str, data: &Path, flags: &[&str]) -> Self {
        Self::spawn(listen, data, &[&["--rate-limit", "0"], flags].concat())
    }

    fn spawn(listen: &str, data: &Path, flags: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidings"))
            .env("TIDINGS_LOG_LEVEL", "info,tidings::server::http::sse_body=debug")
            .args(["serve", "--listen", listen, "--log-format", "json", "--data"])
            .arg(data)
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut greeting = String::new();
        BufReader::new(child.stdout.take().expect("an output")).read_line(&mut greeting).expect("a greeting");
        let (sender, lines) = mpsc::unbounded_channel();
        let log = BufReader::new(child.stderr.take().expect("a log"));
        thread::spawn(move || {
            // To its end even if nobody wants it any more: a full pipe would stop the program.
            for line in log.lines().map_while(Result::ok) {
                let _ = sender.send(serde_json::from_str(&line).unwrap_or(Value::String(line)));
            }
        });
        let address = greeting.trim().rsplit("http://").next().and_then(|text| text.parse().ok());
        let address = address.unwrap_or_else(|| panic!("no address: {greeting:?}"));
        Self { child, address, greeting, lines, logged: Vec::new() }
    }

    /// Ends it with SIGKILL, and waits until it has ended.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// A client with connections of its own.
    pub(crate) fn client(&self) -> Client {
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        Client { http, address: self.address }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens over TLS, if it does.
    pub(crate) fn tls_address(&self) -> Option<SocketAddr> {
        self.greeting.split("https://").nth(1)?.split_whitespace().next()?.parse().ok()
    }

    /// Sends it a signal, named as `kill` names it.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(sent.expect("kill is there").success(), "the signal {name} was not sent");
    }

    /// A token that it accepts, made by `tidings token` with these flags.
    pub(crate) fn token(&self, data: &Path, flags: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
        command.args(["token", "--listen", &self.address.to_string(), "--data"]).arg(data).args(flags);
        let output = command.output().expect("the program starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("a token").trim().to_owned()
    }

    /// Its resident memory, in bytes.
    pub(crate) fn resident(&self) -> usize {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("Linux's /proc");
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.parse::<usize>().ok()).expect("VmRSS in kB") * 1024
    }

    /// How many files and sockets it has open.
    pub(crate) fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("Linux's /proc").count()
    }

    /// What it has logged so far.
    pub(crate) fn logged(&mut self) -> &[Value] {
        while let Ok(line) = self.lines.try_recv() {
            self.logged.push(line);
        }
        &self.logged
    }

    /// The next line of its log whose message has these words.
    pub(crate) async fn log(&mut self, words: &str) -> Value {
        loop {
            let line =
                in_time(&format!("a log line with {words:?}"), self.lines.recv()).await.expect("a running program");
            self.logged.push(line.clone());
            if line["message"].as_str().is_some_and(|message| message.contains(words)) {
                return line;
            }
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.end();
    }
}

/// Speaks to one program, over connections that it keeps. Errors are those of a program that is gone.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    address: SocketAddr,
}

/// What a request was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) media_type: String,
    pub(crate) body: String,
}

impl Client {
    /// Publishes a text. The answer to what was published is its id.
    pub(crate) async fn publish(&self, text: &str) -> reqwest::Result<Answer> {
        let mut answer = self.post("/publish", "text/plain", text.to_owned()).await?;
        answer.body = answer.body.trim_end().to_owned();
        Ok(answer)
    }

    /// Publishes an update of these fields on the hub. The answer to what was published is its id.
    pub(crate) async fn publish_update(&self, fields: &[(&str, &str)]) -> reqwest::Result<Answer> {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.post(HUB, "application/x-www-form-urlencoded", form).await
    }

    /// Asks whether the server takes updates.
    pub(crate) async fn ping(&self) -> reqwest::Result<Answer> {
        self.get("/api/ping", "").await
    }

    /// Asks for a document, with a token if it isn't empty.
    pub(crate) async fn get(&self, path: &str, token: &str) -> reqwest::Result<Answer> {
        let request = self.http.get(self.url(path));
        answer(if token.is_empty() { request } else { request.bearer_auth(token) }).await
    }

    async fn post(&self, path: &str, media_type: &str, body: String) -> reqwest::Result<Answer> {
        answer(self.http.post(self.url(path)).header("content-type", media_type).body(body)).await
    }
    /// The messages after the one with this id, or all, oldest first, as the list's pages have them. It must be
    /// among them.
    pub(crate) async fn messages_after(&self, id: Option<&str>) -> Vec<Message> {
        let mut messages = Vec::new();
        let mut next = Some(format!("{FEED}?limit=200"));
        while let Some(path) = next {
            let answer = in_time("a page", self.http.get(self.url(&path)).send()).await.expect("a running program");
            assert_eq!(answer.status(), 200, "{path}");
            let page = in_time("a page", answer.bytes()).await.expect("a page");
            let page: MessageList = serde_json::from_slice(&page).expect("a list of messages");
            for message in page.messages {
                if Some(&*message.id) == id {
                    messages.reverse();
                    return messages;
                }
                messages.push(message);
            }
            next = page.next;
        }
        assert_eq!(id, None, "this message is not in the list any more");
        messages.reverse();
        messages
    }

    /// Opens a stream, after the event `last_event_id` if it is given.
    pub(crate) async fn open(&self, path: &str, last_event_id: Option<&str>) -> reqwest::Result<Events> {
        let mut request = self.http.get(self.url(path)).header("accept", "text/event-stream");
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let response = in_time("a stream", request.send()).await?;
        assert_eq!(response.status(), 200, "{path} after {last_event_id:?}");
        Ok(Events(Box::pin(response.bytes_stream().eventsource().map(Result::ok))))
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

async fn answer(request: reqwest::RequestBuilder) -> reqwest::Result<Answer> {
    let response = in_time("an answer", request.send()).await?;
    let media_type = response.headers().get("content-type").and_then(|value| value.to_str().ok());
    let (status, media_type) = (response.status().as_u16(), media_type.unwrap_or_default().to_owned());
    Ok(Answer { status, media_type, body: in_time("the rest of an answer", response.text()).await? })
}

/// The whole events of a stream.
pub(crate) struct Events(Pin<Box<dyn Stream<Item = Option<Event>> + Send>>);

impl Events {
    /// The next event; `None` when the stream has ended, in whatever way.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        in_time("an event", self.0.next()).await.flatten()
    }

    /// The next message of the live feed; `None` as for [`Events::next`].
    pub(crate) async fn message(&mut self) -> Option<Message> {
        let event = self.next().await?;
        assert_eq!(event.event, "message", "{event:?}");
        let message: Message = serde_json::from_str(&event.data).unwrap_or_else(|error| panic!("{error}: {event:?}"));
        assert_eq!(event.id, message.id);
        Some(message)
    }

    /// So many messages of the live feed, which must come.
    pub(crate) async fn messages(&mut self, count: usize) -> Vec<Message> {
        let mut messages = Vec::new();
        while messages.len() < count {
            messages.push(self.message().await.unwrap_or_else(|| panic!("it ended after {}", messages.len())));
        }
        messages
    }
}

/// Waits for what must come.
pub(crate) async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited {PATIENCE:?} in vain for {what}"))
}
