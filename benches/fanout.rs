//! How much one delivery costs: the server's CPU time for an update that many streams hear, beside a bare
//! loop of one `write(2)` per delivery in the same run.
//!
//! The server has one core and this client the other. `--streams`, `--updates` and `--bytes` change the load.
#![expect(clippy::print_stdout, reason = "its figures are what it is for")]

mod support;

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::ExitCode;

use support::{Listeners, Server, arg, cpu_time, pin_to};

/// The core of the measured process, and the core of this one.
const SERVER_CORE: usize = 0;
const CLIENT_CORE: usize = 1;

/// A subscriber's share of a bare write is what the whole of tidings may cost at most: the goal.
const GOAL: f64 = 0.75;

const ROUNDS: usize = 5;

fn main() -> ExitCode {
    if let Some(address) = std::env::args().skip_while(|a| a != "--bare-loop").nth(1) {
        bare_loop(&address).expect("the bare loop runs");
        return ExitCode::SUCCESS;
    }
    let (streams, updates, bytes) = (arg("--streams", 500), arg("--updates", 200), arg("--bytes", 100));
    println!("fan-out: {streams} streams, {updates} updates of {bytes} bytes, each after all have the one before");
    pin_to(std::process::id(), CLIENT_CORE);
    let (mut ours, mut bares) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let (per_second, frame) = tidings(streams, updates, bytes);
        let bare = bare(streams, updates, frame);
        println!(
            "  round {round}: tidings {:>9.0}, bare write(2) {:>9.0} deliveries per second of CPU, ratio {:.2}",
            per_second,
            bare,
            per_second / bare
        );
        ours.push(per_second);
        bares.push(bare);
    }
    let mut ratios: Vec<f64> = ours.iter().zip(&bares).map(|(ours, bare)| ours / bare).collect();
    ratios.sort_by(f64::total_cmp);
    let median = ratios[ratios.len() / 2];
    println!("  median ratio {median:.2}, goal {GOAL}");
    ExitCode::SUCCESS
}

/// Deliveries per second of the server's CPU, and the bytes that one delivery has on the wire.
fn tidings(streams: usize, updates: usize, bytes: usize) -> (f64, usize) {
    let server = Server::start_on(SERVER_CORE, &["--storage", "memory", "--rate-limit", "0", "--log-level", "warn"]);
    let mut listeners = Listeners::open(server.address(), "/api/messages", streams);
    let mut publisher = TcpStream::connect(server.address()).expect("the server listens");
    publisher.set_nodelay(true).expect("TCP_NODELAY");
    let text = "x".repeat(bytes);
    let request = format!(
        "POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{text}",
        text.len()
    );
    let mut publish = || {
        publisher.write_all(request.as_bytes()).expect("a request");
        let n = publisher.read(&mut [0; 2048]).expect("an answer");
        assert!(n > 0, "the server closed the connection");
    };
    publish();
    let frame = listeners.wait_for_events(1) / streams;
    let before = cpu_time(server.pid());
    for _ in 0..updates {
        publish();
        listeners.wait_for_events(1);
    }
    let spent = cpu_time(server.pid()) - before;
    ((streams * updates) as f64 / spent.as_secs_f64(), frame)
}

/// The same load on a process that does nothing but write.
fn bare(streams: usize, updates: usize, frame: usize) -> f64 {
    let control = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = control.local_addr().expect("an address").to_string();
    let mut child = std::process::Command::new(std::env::current_exe().expect("this program"))
        .args(["--bare-loop", &address])
        .spawn()
        .expect("the bare loop starts");
    pin_to(child.id(), SERVER_CORE);
    let (mut control, _) = control.accept().expect("a control connection");
    control.set_nodelay(true).expect("TCP_NODELAY");
    let mut port = [0; 2];
    control.read_exact(&mut port).expect("a port");
    let address = ([127, 0, 0, 1], u16::from_be_bytes(port)).into();
    control.write_all(&(streams as u32).to_be_bytes()).expect("the number of streams");
    control.write_all(&(frame as u32).to_be_bytes()).expect("the size of a frame");
    let mut listeners = Listeners::connect(address, streams);
    let before = cpu_time(child.id());
    let expected = frame * streams;
    for _ in 0..updates {
        control.write_all(&[1]).expect("a round");
        listeners.wait_for_bytes(expected);
    }
    let spent = cpu_time(child.id()) - before;
    drop(control);
    child.wait().expect("the bare loop ends");
    (streams * updates) as f64 / spent.as_secs_f64()
}

fn bare_loop(control: &str) -> io::Result<()> {
    let mut control = TcpStream::connect(control)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    control.write_all(&listener.local_addr()?.port().to_be_bytes())?;
    let mut number = [0; 4];
    control.read_exact(&mut number)?;
    let count = u32::from_be_bytes(number) as usize;
    control.read_exact(&mut number)?;
    let frame = vec![b'x'; u32::from_be_bytes(number) as usize];
    let mut streams = Vec::with_capacity(count);
    for _ in 0..count {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        // As a file its bytes go out by write(2), not by send(2).
        streams.push(File::from(OwnedFd::from(stream)));
    }
    while control.read(&mut [0])? > 0 {
        for stream in &mut streams {
            stream.write_all(&frame)?;
        }
    }
    Ok(())
}
