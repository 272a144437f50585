//! Readers that have stopped reading, on the program itself: what waits for them takes no memory, the others get
//! everything meanwhile, and after a while they are cut off and the log says why.

mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::Request;
use h2::RecvStream;
use h2::client::SendRequest;
use support::{EARLIEST, FEED, Program, in_time};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const STALLED: usize = 20;
/// In all about 20 MB for each reader: more than the sockets between can hold.
const MESSAGES: usize = 400;
const TEXT_BYTES: usize = 50_000;

/// What the program may grow by: a quarter of the 400 MB that wait for all of them.
const MOST_GROWTH: usize = 100 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_take_nothing_cost_little_hold_up_nobody_and_are_cut_with_the_reason_in_the_log() {
    let data = tempfile::tempdir().expect("a folder");
    let mut program = Program::start(data.path(), &["--stall-timeout", "3s", "--max-message", "60000"]);
    let client = program.client();
    let mut published = Vec::new();
    let mut fast = client.open(FEED, None).await.expect("a stream");
    // The log's own memory has grown to what it needs before anything waits.
    for number in 0..MESSAGES / 2 {
        published.push(publish(&client, number).await);
        assert_eq!(fast.message().await.map(|message| message.id).as_ref(), published.last());
    }
    let before = program.resident();

    let mut stalled = Vec::new();
    for _ in 0..STALLED {
        stalled.push(stall(&program).await);
    }
    let mut most = before;
    for number in MESSAGES / 2..MESSAGES {
        published.push(publish(&client, number).await);
        assert_eq!(fast.message().await.map(|message| message.id).as_ref(), published.last());
        most = most.max(program.resident());
    }
    for _ in 0..STALLED {
        let line = program.log("a connection was cut").await;
        assert_eq!(line["reason"], "the client took nothing for 3s while data waited", "{line}");
    }
    most = most.max(program.resident());
    let growth = most - before;
    assert!(growth < MOST_GROWTH, "{STALLED} readers that take nothing made it grow by {growth} bytes");

    for mut connection in stalled {
        let mut got = Vec::new();
        // What was in the sockets can still be read; whether its end is clean or a reset is the system's choice.
        let _ = in_time("the end of the connection", connection.read_to_end(&mut got)).await;
        assert!(got.len() < MESSAGES * TEXT_BYTES, "{} bytes: it was not cut", got.len());
    }
    published.push(publish(&client, MESSAGES).await);
    assert_eq!(fast.message().await.map(|message| message.id).as_ref(), published.last());
    let mut replay = client.open(FEED, Some(EARLIEST)).await.expect("a stream");
    let replayed = replay.messages(published.len()).await;
    assert!(replayed.iter().map(|message| &message.id).eq(&published), "a reader that comes back misses nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_is_slow_but_goes_on_reading_is_not_cut() {
    const STALL: Duration = Duration::from_secs(3);
    let data = tempfile::tempdir().expect("a folder");
    let mut program = Program::start(data.path(), &["--stall-timeout", "3s", "--max-message", "60000"]);
    let client = program.client();
    for number in 0..MESSAGES {
        publish(&client, number).await;
    }
    // Far less in the time of a stall than what the system would hold for it.
    let mut slow = stall(&program).await;
    let (mut piece, begin) = (vec![0; 16 * 1024], Instant::now());
    while begin.elapsed() < 3 * STALL {
        in_time("a piece", slow.read_exact(&mut piece)).await.expect("a stream that is not cut");
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    let cut = program.logged().iter().find(|line| line["message"] == "a connection was cut");
    assert_eq!(cut, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http_2_stream_of_which_nothing_is_taken_is_reset_and_the_others_of_its_connection_go_on() {
    const WINDOW: u32 = 100_000;
    let data = tempfile::tempdir().expect("a folder");
    let mut program = Program::start(data.path(), &["--stall-timeout", "3s", "--max-message", "60000"]);
    let client = program.client();
    for number in 0..10 {
        publish(&client, number).await;
    }
    let stream = TcpStream::connect(program.address()).await.expect("a connection");
    // What waits for one stream does not hold up the connection.
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(WINDOW).initial_connection_window_size(100 * WINDOW);
    let (mut requests, connection) = builder.handshake::<_, Bytes>(stream).await.expect("HTTP/2");
    tokio::spawn(connection);
    let mut shut = open(&mut requests, program.address(), EARLIEST).await;
    let mut read = open(&mut requests, program.address(), EARLIEST).await;
    let mut idle = open(&mut requests, program.address(), "").await;

    // Whoever takes a part of what waits now and then is not cut, even if it takes longer than that.
    let mut taken = 0;
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(6) {
        if let Ok(Some(piece)) = tokio::time::timeout(Duration::from_secs(1), read.data()).await {
            let bytes = piece.expect("a stream that goes on").len();
            read.flow_control().release_capacity(bytes).expect("bytes that were taken");
            taken += bytes;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(taken > WINDOW as usize / 2, "{taken} bytes");

    let mut bytes = 0;
    let error = loop {
        match in_time("a reset", shut.data()).await.expect("a stream that is reset and not ended") {
            Ok(piece) => bytes += piece.len(),
            Err(error) => break error,
        }
    };
    assert_eq!((error.reason(), bytes), (Some(h2::Reason::CANCEL), WINDOW as usize));
    let line = program.log("a stream was cut").await;
    assert_eq!(line["reason"], "the client took nothing for 3s while data waited", "{line}");
    // What belonged to it has gone.
    let line = program.log("a stream has ended").await;
    assert_eq!((&line["stream"], &line["reason"]), (&FEED.into(), &"disconnected".into()), "{line}");

    let id = publish(&client, 10).await;
    for stream in [&mut read, &mut idle] {
        let mut text = String::new();
        while !text.contains(&id) {
            let piece = in_time("the rest", stream.data()).await.expect("a stream that goes on").expect("data");
            stream.flow_control().release_capacity(piece.len()).expect("bytes that were taken");
            text.push_str(&String::from_utf8_lossy(&piece));
        }
    }
    assert!(!program.logged().iter().any(|line| line["message"] == "a connection was cut"));
}

/// Opens the feed over HTTP/2.
async fn open(requests: &mut SendRequest<Bytes>, address: SocketAddr, last_event_id: &str) -> RecvStream {
    let request = Request::get(format!("http://{address}{FEED}")).header("accept", "text/event-stream");
    let request = request.header("last-event-id", last_event_id).body(()).expect("a request");
    let (response, _) = requests.send_request(request, true).expect("room for a stream");
    let response = in_time("an answer", response).await.expect("an answer");
    assert_eq!(response.status(), 200);
    response.into_body()
}

async fn publish(client: &support::Client, number: usize) -> String {
    let answer = client.publish(&format!("{number} {}", "x".repeat(TEXT_BYTES))).await.expect("a running program");
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

/// A reader of everything, with small buffers, that stops after the first byte of its answer.
async fn stall(program: &Program) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let mut stream = in_time("a connection", socket.connect(program.address())).await.expect("a connection");
    let request =
        format!("GET {FEED}?last_event_id={EARLIEST} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("a request");
    in_time("an answer", stream.peek(&mut [0])).await.expect("an answer");
    stream
}
