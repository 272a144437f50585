//! Streams over HTTP/1.1, whose sockets the fan-out writes to itself: whatever a socket takes, whatever its client
//! sends and however it leaves, each reader gets its updates once and in order, and nothing is left of it.

mod support;

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use socket2::SockRef;
use support::{Client, Program, in_time};
use tidings::wire::paths::HUB;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::sleep;

const FLAGS: [&str; 6] = ["--publish-without-token", "true", "--max-streams", "0", "--stall-timeout", "10s"];
const TOPICS: [&str; 3] = ["https://example.com/a", "https://example.com/b", "https://example.com/c"];
/// The last update: whoever has it has all.
const END: &str = "https://example.com/end";

const READERS: u64 = 24;
const PUBLISHERS: u64 = 4;
const UPDATES: usize = 150;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_socket_takes_each_reader_gets_every_update_once_and_in_order() {
    let data = tempfile::tempdir().expect("a folder");
    let program = Program::start(data.path(), &FLAGS);
    let mut readers = Vec::new();
    for seed in 0..READERS {
        readers.push(tokio::spawn(read(Stream::open(&program, seed as u32 * 512, "").await, seed)));
    }
    let publishers = (0..PUBLISHERS).map(|seed| tokio::spawn(publish(program.client(), seed)));
    for publisher in publishers.collect::<Vec<_>>() {
        publisher.await.expect("no panic");
    }
    assert_eq!(program.client().publish_update(&[("topic", END)]).await.expect("an answer").status, 200);
    // In the order of the log, as one who reads it from its beginning has it.
    let order = read(Stream::open(&program, 1 << 20, "&last_event_id=earliest").await, 0).await;
    assert_eq!(order.len(), PUBLISHERS as usize * UPDATES + 1);
    for (number, reader) in readers.into_iter().enumerate() {
        let heard = in_time("a reader's end", reader).await.expect("no panic");
        assert!(heard == order, "reader {number} heard {} of {} updates, or others", heard.len(), order.len());
    }
}

/// Publishes updates of many sizes, with pauses in which slow readers catch up.
async fn publish(client: Client, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    for number in 0..UPDATES {
        let size = if rng.random_bool(0.1) { rng.random_range(1..60_000) } else { rng.random_range(1..300) };
        let (topic, text) = (TOPICS[rng.random_range(0..TOPICS.len())], "x".repeat(size));
        let answer = client.publish_update(&[("topic", topic), ("data", &text)]).await.expect("an answer");
        assert_eq!(answer.status, 200, "update {number}: {}", answer.body);
        if rng.random_bool(0.1) {
            sleep(Duration::from_millis(rng.random_range(0..40))).await;
        }
    }
}

/// Reads in pieces of any size, with pauses, until the last update. Answers the ids.
async fn read(mut stream: Stream, seed: u64) -> Vec<String> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut ids = Vec::new();
    loop {
        if seed > 0 && rng.random_bool(0.02) {
            sleep(Duration::from_millis(rng.random_range(0..30))).await;
        }
        let piece = if seed == 0 { 64 * 1024 } else { rng.random_range(1..20_000) };
        assert!(stream.read(piece).await, "the stream ended after {} updates", ids.len());
        ids.append(&mut stream.ids);
        if stream.is_over {
            return ids;
        }
    }
}

#[tokio::test]
async fn what_a_client_sends_after_its_request_harms_no_stream() {
    let data = tempfile::tempdir().expect("a folder");
    let mut program = Program::start(data.path(), &FLAGS);
    let client = program.client();
    for behind in ["GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "\0garbage\r\n\r\n", "0\r\n\r\n"] {
        let mut stream = Stream::open(&program, 1 << 16, "").await;
        stream.socket.write_all(behind.as_bytes()).await.expect("a connection");
        assert_eq!(client.publish_update(&[("topic", END)]).await.expect("an answer").status, 200);
        in_time("an update", async { while !stream.is_over && stream.read(1000).await {} }).await;
        assert_eq!(stream.ids.len(), 1, "{behind:?}");
    }
    let mut stream = Stream::open(&program, 1 << 16, "").await;
    // It may be cut off before it has sent all.
    let _ = stream.socket.write_all(&[b'x'; 1 << 20]).await;
    in_time("the end of one who sends without end", async { while stream.read(1000).await {} }).await;

    let mut stream = Stream::open(&program, 1 << 16, "").await;
    stream.socket.shutdown().await.expect("a connection");
    in_time("the end of one who has ended its side", async { while stream.read(1000).await {} }).await;
    for _ in 0..5 {
        program.log("a stream has ended").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_of_clients_that_vanish_in_the_middle_of_updates() {
    const CLIENTS: usize = 400;
    let data = tempfile::tempdir().expect("a folder");
    let mut program = Program::start(data.path(), &FLAGS);
    let client = program.client();
    client.ping().await.expect("an answer");
    let before = program.open_files();
    for round in 0..3 {
        let mut streams = Vec::new();
        for _ in 0..CLIENTS {
            streams.push(Stream::open(&program, 4096, "").await);
        }
        assert!(program.open_files() > CLIENTS, "all are open");
        let publisher = tokio::spawn(publish(program.client(), round));
        for stream in streams {
            // RST instead of FIN.
            SockRef::from(&stream.socket).set_linger(Some(Duration::ZERO)).expect("an option");
            drop(stream);
            sleep(Duration::from_micros(200)).await;
        }
        publisher.await.expect("no panic");
        for _ in 0..CLIENTS {
            program.log("a stream has ended").await;
        }
    }
    let closed = async {
        while program.open_files() > before + 8 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    in_time("the end of all connections", closed).await;
}

/// A stream of everything, read byte by byte: its chunks must be whole.
struct Stream {
    socket: TcpStream,
    unread: Vec<u8>,
    is_head_read: bool,
    /// The events' bytes that end no line yet.
    line: Vec<u8>,
    ids: Vec<String>,
    /// Whether the last update has come.
    is_over: bool,
}

impl Stream {
    /// Opens one, with a small buffer for what comes, and waits for its first comment.
    async fn open(program: &Program, buffer: u32, more: &str) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(buffer.max(2048)).expect("a buffer");
        let mut socket = socket.connect(program.address()).await.expect("a connection");
        let request = format!("GET {HUB}?match=*{more} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        socket.write_all(request.as_bytes()).await.expect("a request");
        let (unread, line, ids) = Default::default();
        let mut stream = Self { socket, unread, is_head_read: false, line, ids, is_over: false };
        while !stream.is_head_read {
            assert!(stream.read(200).await, "an answer");
        }
        stream
    }

    /// Reads a piece of at most so many bytes; `false` at the end.
    async fn read(&mut self, most: usize) -> bool {
        let mut piece = vec![0; most];
        let read = in_time("more", self.socket.read(&mut piece)).await.unwrap_or(0);
        self.unread.extend(&piece[..read]);
        self.parse();
        read > 0
    }

    fn parse(&mut self) {
        if !self.is_head_read {
            let Some(end) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") else { return };
            assert!(self.unread.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&self.unread));
            self.unread.drain(..end + 4);
            self.is_head_read = true;
        }
        while let Some(end) = self.unread.windows(2).position(|two| two == b"\r\n") {
            let length = str::from_utf8(&self.unread[..end]).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
            let length = length.expect("the length of a chunk");
            let begin = end + 2;
            if self.unread.len() < begin + length + 2 {
                return;
            }
            assert_eq!(&self.unread[begin + length..][..2], b"\r\n", "a chunk ends with a line end");
            let chunk: Vec<u8> = self.unread.drain(..begin + length + 2).skip(begin).take(length).collect();
            self.line.extend(chunk);
            self.take_lines();
        }
    }

    fn take_lines(&mut self) {
        while let Some(end) = self.line.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.line.drain(..=end).collect();
            if let Some(id) = line.strip_prefix(b"id: ") {
                self.ids.push(String::from_utf8_lossy(id.trim_ascii_end()).into_owned());
            }
            // The last update has no data.
            self.is_over |= line == b"data: \n" || line == b"data:\n";
        }
    }
}
