//! How much one delivery costs: the server's CPU time for an update that many streams hear, beside a bare
//! loop of one `write(2)` per delivery in the same run.
//!
//! The streams are the hub's own, with the log on disk and presence, and then with neither. The server has one core and
//! this client the other. `--streams`, `--updates`, `--rounds` and `--bytes` change the load.
#![expect(clippy::print_stdout, reason = "its figures are what it is for")]

mod support;

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::ExitCode;

use support::{Listeners, Server, arg, cpu_time, pin_to, settle};

/// The core of the measured process, and the core of this one.
const SERVER_CORE: usize = 0;
const CLIENT_CORE: usize = 1;

/// What is measured: its name, its flags, and the goal, as a part of the bare loop.
const KINDS: [(&str, &[&str], f64); 2] =
    [("disk and presence", &[], 0.85), ("memory, no presence", &["--storage", "memory", "--presence", "false"], 0.9)];

const HUB: &str = "/.well-known/mercure";
const TOPIC: &str = "https://example.com/books/1";

fn main() -> ExitCode {
    if let Some(address) = std::env::args().skip_while(|a| a != "--bare-loop").nth(1) {
        bare_loop(&address).expect("the bare loop runs");
        return ExitCode::SUCCESS;
    }
    rlimit::increase_nofile_limit(u64::MAX).expect("enough open files");
    pin_to(std::process::id(), CLIENT_CORE);
    let (only, rounds, bytes) = (arg("--streams", 0), arg("--rounds", 3), arg("--bytes", 100));
    for streams in if only > 0 { vec![only] } else { vec![500, 4000] } {
        let updates = arg("--updates", 100_000 / streams);
        println!("fan-out: {streams} streams, {updates} updates of {bytes} bytes, each after all have the one before");
        let mut ratios = [const { Vec::new() }; KINDS.len()];
        for round in 1..=rounds {
            for ((name, flags, _), ratios) in KINDS.iter().zip(&mut ratios) {
                let (per_second, frame) = tidings(flags, streams, updates, bytes);
                let bare = bare(streams, updates, frame);
                let ratio = per_second / bare;
                println!(
                    "  round {round}, {name:<19}: {per_second:>7.0}, bare write(2) {bare:>7.0} deliveries per second of CPU, \
                     ratio {ratio:.2}"
                );
                ratios.push(ratio);
            }
        }
        for ((name, _, goal), ratios) in KINDS.iter().zip(&mut ratios) {
            ratios.sort_by(f64::total_cmp);
            println!("  {name}: median ratio {:.2}, goal {goal}", ratios[ratios.len() / 2]);
        }
    }
    ExitCode::SUCCESS
}

/// Deliveries per second of the server's CPU, and the bytes that one delivery has on the wire.
fn tidings(flags: &[&str], streams: usize, updates: usize, bytes: usize) -> (f64, usize) {
    const COMMON: [&str; 8] =
        ["--rate-limit", "0", "--log-level", "warn", "--max-streams", "0", "--publish-without-token", "true"];
    let server = Server::start_on(SERVER_CORE, &[&COMMON, flags].concat());
    let mut listeners = Listeners::open(server.address(), &format!("{HUB}?match={TOPIC}"), streams);
    let mut publisher = TcpStream::connect(server.address()).expect("the server listens");
    publisher.set_nodelay(true).expect("TCP_NODELAY");
    let form = format!("topic={TOPIC}&data={}", "x".repeat(bytes));
    let request = format!(
        "POST {HUB} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n{form}",
        form.len()
    );
    let mut publish = || {
        publisher.write_all(request.as_bytes()).expect("a request");
        let mut answer = [0; 2048];
        let n = publisher.read(&mut answer).expect("an answer");
        assert!(answer[..n].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..n]));
    };
    settle(server.pid());
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
