//! A TCP proxy between a client and the server that cuts connections, as a bad network does. It knows no HTTP.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{self, AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::support::in_time;

/// A running proxy, which ends with the test.
pub(crate) struct Proxy {
    address: SocketAddr,
    line: watch::Sender<Line>,
    accepting: JoinHandle<()>,
}

/// What all its connections go by.
struct Line {
    /// Where it leads.
    server: SocketAddr,
    /// While it is cut, what connects is accepted and waits.
    cut: bool,
    /// Text of the server after which it is to be cut.
    scissors: Option<Arc<str>>,
}

impl Proxy {
    /// Starts one that leads to this server.
    pub(crate) async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let line = watch::Sender::new(Line { server, cut: false, scissors: None });
        let accepting = tokio::spawn(accept(listener, line.clone()));
        Self { address, line, accepting }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Resets all connections, and lets nothing through until it is mended.
    pub(crate) fn cut(&self) {
        cut(&self.line);
    }

    /// Does the same as soon as this text has passed to a client, to its last byte and not one more.
    pub(crate) fn cut_after(&self, text: &str) {
        self.line.send_modify(|line| line.scissors = Some(text.into()));
    }

    /// Waits until it is cut.
    pub(crate) async fn has_cut(&self) {
        in_time("the cut", self.line.subscribe().wait_for(|line| line.cut)).await.expect("a line");
    }

    /// Lets everything through again, to this server.
    pub(crate) fn mend(&self, server: SocketAddr) {
        self.line.send_modify(|line| (line.server, line.cut) = (server, false));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
        self.accepting.abort();
    }
}

fn cut(line: &watch::Sender<Line>) {
    line.send_modify(|line| (line.cut, line.scissors) = (true, None));
}

async fn accept(listener: TcpListener, line: watch::Sender<Line>) {
    loop {
        let (client, _) = listener.accept().await.expect("a connection");
        tokio::spawn(carry(client, line.clone()));
    }
}

/// Carries one connection until one of its sides ends it or the line is cut.
async fn carry(mut client: TcpStream, line: watch::Sender<Line>) {
    let mut lines = line.subscribe();
    let server = lines.wait_for(|line| !line.cut).await.map(|line| line.server).expect("a line");
    // A server that is gone is as good as a cut.
    let Ok(mut server) = TcpStream::connect(server).await else { return reset(&client) };
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    tokio::select! {
        _ = lines.wait_for(|line| line.cut) => reset(&client),
        _ = io::copy(&mut from_client, &mut to_server) => {}
        _ = answer(&mut from_server, &mut to_client, &line) => {}
    }
}

/// Passes on what the server says, up to where the line is to be cut.
async fn answer(server: &mut ReadHalf<'_>, client: &mut WriteHalf<'_>, line: &watch::Sender<Line>) -> io::Result<()> {
    let (mut said, mut passed) = (Vec::new(), 0);
    while server.read_buf(&mut said).await? > 0 {
        let scissors = line.borrow().scissors.clone();
        let end = scissors.and_then(|text| Some(find(&said, text.as_bytes())? + text.len()));
        client.write_all(&said[passed..end.unwrap_or(said.len())]).await?;
        passed = said.len();
        if end.is_some() {
            cut(line);
            return std::future::pending().await;
        }
    }
    Ok(())
}

/// Lets a connection end with a reset when it is dropped.
fn reset(client: &TcpStream) {
    // Where the client has ended it already, there is nothing to reset.
    let _ = client.set_zero_linger();
}

fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text)
}
