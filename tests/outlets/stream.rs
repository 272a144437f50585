//! A stream read byte by byte, whose chunks must be whole where it has any.

use std::net::SocketAddr;

use tidings::wire::paths::HUB;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::in_time;

/// By which way a stream's frames come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outlet {
    /// The fan-out writes to the socket itself, in chunks.
    Direct,
    /// As the body of a response: a client of HTTP/1.0 knows no chunks.
    Body,
}

/// An open stream.
pub(crate) struct Stream {
    pub(crate) socket: TcpStream,
    outlet: Outlet,
    unread: Vec<u8>,
    is_head_read: bool,
    /// The events' bytes that end no line yet.
    line: Vec<u8>,
    /// The id of an update of which only a part has come, and whether it has no data.
    event: Option<(String, bool)>,
    /// The ids of the updates that have come whole.
    pub(crate) ids: Vec<String>,
    /// The other lines that have come.
    pub(crate) lines: Vec<String>,
    /// Whether an update without data has come whole.
    pub(crate) is_over: bool,
    /// Whether the body has ended as its framing says.
    pub(crate) is_complete: bool,
}

impl Stream {
    /// Opens a stream of everything, with a small buffer for what comes, and waits for its first comment. `query` and
    /// `headers` are added to the request.
    pub(crate) async fn open(outlet: Outlet, address: SocketAddr, buffer: u32, query: &str, headers: &str) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(buffer.max(2048)).expect("a buffer");
        let mut socket = socket.connect(address).await.expect("a connection");
        let version = if outlet == Outlet::Direct { "1.1" } else { "1.0" };
        let request = format!("GET {HUB}?match=*{query} HTTP/{version}\r\nHost: localhost\r\n{headers}\r\n");
        socket.write_all(request.as_bytes()).await.expect("a request");
        let (unread, line, ids, lines) = Default::default();
        let (is_head_read, event, is_over, is_complete) = Default::default();
        let mut stream = Self { socket, outlet, unread, is_head_read, line, event, ids, lines, is_over, is_complete };
        while stream.lines.is_empty() {
            assert!(stream.read(200).await, "an answer");
        }
        assert_eq!(std::mem::take(&mut stream.lines), [":"], "a stream begins with a comment");
        stream
    }

    /// Reads a piece of at most so many bytes; `false` at the end.
    pub(crate) async fn read(&mut self, most: usize) -> bool {
        let mut piece = vec![0; most];
        let read = in_time("more", self.socket.read(&mut piece)).await.unwrap_or(0);
        self.unread.extend(&piece[..read]);
        self.parse();
        self.is_complete |= read == 0 && self.outlet == Outlet::Body;
        read > 0
    }

    /// Reads to the end.
    pub(crate) async fn read_to_end(&mut self) {
        in_time("the end of a stream", async { while self.read(1000).await {} }).await;
    }

    fn parse(&mut self) {
        if !self.is_head_read {
            let Some(end) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") else { return };
            let status = self.unread.get(9..12);
            assert_eq!(status, Some(&b"200"[..]), "{}", String::from_utf8_lossy(&self.unread));
            self.unread.drain(..end + 4);
            self.is_head_read = true;
        }
        match self.outlet {
            Outlet::Direct => self.take_chunks(),
            Outlet::Body => self.line.append(&mut self.unread),
        }
        self.take_lines();
    }

    fn take_chunks(&mut self) {
        while let Some(end) = self.unread.windows(2).position(|two| two == b"\r\n") {
            let length = str::from_utf8(&self.unread[..end]).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
            let length = length.expect("the length of a chunk");
            let begin = end + 2;
            if self.unread.len() < begin + length + 2 {
                return;
            }
            assert!(!self.is_complete, "nothing follows the last chunk");
            assert_eq!(&self.unread[begin + length..][..2], b"\r\n", "a chunk ends with a line end");
            let chunk = self.unread.drain(..begin + length + 2).skip(begin).take(length);
            self.line.extend(chunk);
            self.is_complete = length == 0;
        }
    }

    fn take_lines(&mut self) {
        while let Some(end) = self.line.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.line.drain(..=end).collect();
            let line = String::from_utf8(line).expect("UTF-8").trim_end().to_owned();
            if let Some(id) = line.strip_prefix("id: ") {
                self.event = Some((id.to_owned(), false));
            } else if line.is_empty() {
                let (id, is_last) = self.event.take().expect("an event before an empty line");
                self.ids.push(id);
                self.is_over |= is_last;
            } else if line == "data:" {
                self.event.as_mut().expect("an event").1 = true;
            } else if !line.starts_with("data: ") {
                self.lines.push(line);
            }
        }
    }
}
