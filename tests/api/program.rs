//! The program itself: what it says when it starts, what it logs, and how it ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use itertools::Itertools;
use tidings::wire::message::MessageList;

use crate::lines::lines;
use crate::process::{PATIENCE, Program, command};

#[test]
fn it_says_where_it_listens_where_its_data_and_its_program_are_and_how_to_stop_it() {
    let program = Program::start(&[]);
    let greeting = program.greeting.join("\n");
    assert!(greeting.contains(&format!("listening on http://{}", program.address)), "{greeting}");
    assert!(greeting.contains(&program.data.path().join("data").display().to_string()), "{greeting}");
    assert!(greeting.contains(env!("CARGO_BIN_EXE_tidings")), "{greeting}");
    assert!(greeting.contains("Ctrl-C") && greeting.contains(&program.child.id().to_string()), "{greeting}");
}

#[test]
fn a_certificate_of_its_own_is_made_once_and_said_how_to_trust() {
    let program = Program::start(&["--tls-self-signed"]);
    let folder = program.data.path().join("data/tls");
    let (certificate, key) = (folder.join("self-signed.pem"), folder.join("self-signed.key"));
    let trust =
        |program: &Program| program.greeting.iter().skip_while(|line| !line.contains("trust")).take(2).join("\n");
    let said = trust(&program);
    assert!(said.contains(&certificate.display().to_string()) && said.contains("SHA-256"), "{said}");
    let mode = std::fs::metadata(&key).expect("a key").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "nobody else may read it");
    let url = format!("https://localhost:{}/api/ping", program.address.port());
    let ping = Command::new("curl").args(["-sS", "--cacert"]).arg(&certificate).arg(url).output().expect("curl");
    assert!(String::from_utf8_lossy(&ping.stdout).contains("\"ok\""), "{ping:?}");

    let mut program = program;
    program.log("a certificate is in use");
    program.signal("-HUP");
    assert!(program.log("a certificate is in use")["names"].as_str().is_some_and(|names| names.contains("localhost")));
    program.signal("-TERM");
    assert_eq!(program.wait().code(), Some(0));
    let data = std::mem::replace(&mut program.data, tempfile::tempdir().expect("a folder"));
    assert_eq!(trust(&Program::start_in(data, &["--tls-self-signed"])), said, "it is trusted already");
}

#[test]
fn a_certificate_that_cant_be_used_is_named_with_what_to_do() {
    let data = tempfile::tempdir().expect("a folder");
    let files = crate::certificates::make(data.path(), "a", &["a.example"]);
    let other = crate::certificates::make(data.path(), "b", &["b.example"]);
    let arguments = |certificate: &Path, key: &Path| {
        let path = |path: &Path| path.display().to_string();
        ["--tls-certificate-file".into(), path(certificate), "--tls-key-file".into(), path(key)]
    };
    for (certificate, key, expected) in [
        (&files.certificate, &other.key, "is not the key of the certificate"),
        (&files.key, &files.key, "there is no certificate in it"),
        (&files.certificate, &files.certificate, "there is no key in it"),
        (&data.path().join("none"), &files.key, "can't be read"),
    ] {
        let output = command(&data, &[]).args(arguments(certificate, key)).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1));
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn a_busy_port_is_an_error_that_names_the_port_and_the_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let output = Command::new(env!("CARGO_BIN_EXE_tidings"))
        .args(["serve", "--listen", &address.to_string()])
        .current_dir(tempfile::tempdir().expect("a folder").path())
        .output()
        .expect("the program runs");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&format!("port {} is taken", address.port())) && said.contains("--listen"), "{said}");
}

#[test]
fn sigterm_and_sigint_end_open_streams_and_the_program_which_says_how_it_ended() {
    for signal in ["-TERM", "-INT"] {
        let mut program = Program::start(&[]);
        let streams: Vec<_> = (0..20).map(|_| program.open("/clock")).collect();
        let start = Instant::now();
        program.signal(signal);
        for mut stream in streams {
            let mut rest = String::new();
            stream.read_to_string(&mut rest).expect("an end");
            assert!(rest.contains("retry: ") && rest.ends_with("0\r\n\r\n"), "{rest}");
        }
        assert_eq!(program.wait().code(), Some(0), "{signal}");
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        let last = program.log("the server has stopped");
        assert_eq!(last["cut"], 0, "{last}");
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut program = Program::start(&[]);
    // A request that never ends would hold the end up for seconds.
    let mut slow = TcpStream::connect(program.address).expect("a connection");
    slow.write_all(b"POST /publish HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf").expect("written");
    program.open("/clock");
    program.signal("-TERM");
    program.log("stopping");
    let start = Instant::now();
    program.signal("-TERM");
    assert_eq!(program.wait().code(), Some(130));
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

#[test]
fn it_logs_each_request_where_it_should_without_its_query_and_each_streams_end_at_debug() {
    let flags = ["--log-format", "json", "--burst-interval", "10ms", "--access-log", "--log-level", "debug"];
    let program = Program::start(&flags);
    let id = program.publish("Hello");
    let mut burst = program.open(&format!("/stream?message={id}"));
    let request = program.log_where("request", |line| line["path"] == "/stream");
    assert_eq!((&request["method"], &request["status"]), (&"GET".into(), &200.into()));
    assert_eq!((&request["client"], &request["version"]), (&"127.0.0.1".into(), &"HTTP/1.1".into()));
    assert!(request["ms"].as_f64().is_some_and(|ms| ms >= 0.0 && decimals(ms) <= 3), "{request}");
    assert!(!request.to_string().contains(&id), "{request}");
    burst.read_to_string(&mut String::new()).unwrap_or_default();
    let end = program.log("a stream has ended");
    assert_eq!((&end["stream"], &end["reason"], &end["events"]), (&"/stream".into(), &"complete".into(), &4.into()));
    assert!(end["seconds"].as_f64().is_some_and(|seconds| seconds >= 0.02 && decimals(seconds) <= 3), "{end}");
    drop(program.open("/stream"));
    let end = program.log("a stream has ended");
    assert_eq!((&end["reason"], &end["events"]), (&"disconnected".into(), &0.into()));
    let _open = program.open("/stream");
    program.signal("-TERM");
    assert_eq!(program.log("a stream has ended")["reason"], "shutdown");
}

fn decimals(number: f64) -> usize {
    number.to_string().split_once('.').map_or(0, |(_, decimals)| decimals.len())
}

#[test]
fn at_the_debug_level_it_logs_each_event_of_the_counter_with_its_id() {
    let program = Program::start(&["--log-format=json", "--log-level=tidings=debug"]);
    let mut stream = BufReader::new(program.open("/counter")).lines().map(|line| line.expect("a line"));
    let id = stream.find_map(|line| line.strip_prefix("id: ").map(str::to_owned)).expect("an id");
    let line = program.log_where("pushed an event of the counter", |line| line["id"] == *id);
    assert_eq!(line["number"], 1);
}

#[test]
fn what_was_acknowledged_is_still_there_after_kill_9() {
    let mut program = Program::start(&[]);
    let ids: Vec<_> = (0..20).map(|n| program.publish(&format!("message {n}"))).collect();
    program.signal("-KILL");
    program.wait();
    let data = std::mem::replace(&mut program.data, tempfile::tempdir().expect("a folder"));
    let program = Program::start_in(data, &[]);
    let list = program.answer("GET /api/messages HTTP/1.1", "");
    let list: MessageList = serde_json::from_str(&list).expect("a list");
    let kept: Vec<_> = list.messages.into_iter().rev().map(|message| message.id).collect();
    assert_eq!(kept, ids);
}

#[test]
fn a_log_whose_reader_has_gone_ends_no_request_no_stream_and_no_stop() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let program = Program::start_logging_to(writer.into(), &[]);
    // As `2> >(head -n1)` does.
    drop(reader);
    works_and_stops(program);
}

#[test]
fn a_log_on_a_full_disk_ends_no_request_no_stream_and_no_stop() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("a full device");
    works_and_stops(Program::start_logging_to(full.into(), &[]));
}

#[test]
fn a_log_whose_reader_has_stopped_reading_holds_up_no_request_and_no_stop() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let program = Program::start_logging_to(writer.into(), &["--rate-limit", "0", "--log-level", "trace"]);
    for n in 0..REQUESTS_THAT_FILL_A_PIPE {
        program.publish(&format!("message {n}"));
    }
    works_and_stops(program);
    drop(reader);
}

#[test]
fn a_server_whose_greeting_nobody_reads_serves() {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr()).expect("a free port");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let data = tempfile::tempdir().expect("a folder");
    let listen = address.to_string();
    let mut child =
        command(&data, &["--listen", &listen]).stdout(writer).stderr(Stdio::piped()).spawn().expect("it starts");
    let lines = lines(child.stderr.take().expect("a log"));
    let start = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(start.elapsed() < PATIENCE, "it does not listen");
    }
    works_and_stops(Program { child, address, greeting: Vec::new(), lines, data });
}

#[test]
fn a_command_whose_output_nobody_reads_ends_quietly_and_well() {
    let data = tempfile::tempdir().expect("a folder");
    let update =
        |n: u32| format!("{{\"id\":\"{n}\",\"topics\":[\"a\"],\"at\":\"2999-01-02T03:04:06Z\",\"data\":\"{n}\"}}\n");
    // More than any buffer on the way to the output holds.
    std::fs::write(data.path().join("updates"), (0..5000).map(update).collect::<String>()).expect("updates");
    let imported = command(&data, &["log", "import", "updates"]).output().expect("it runs");
    assert!(imported.status.success(), "{imported:?}");
    let token = command(&data, &["token", "--publish", "*", "--make-key"]).output().expect("it runs").stdout;
    let token = String::from_utf8(token).expect("a token");
    for arguments in [
        &["--help"][..],
        &["--version"],
        &["log", "--help"],
        &["log", "stat"],
        &["log", "stat", "--json"],
        &["log", "export"],
        &["token", "--publish", "*"],
        &["token", "inspect", token.trim()],
        &["token", "inspect", "no token"],
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let ended = command(&data, arguments).stdout(writer).stderr(Stdio::piped()).output().expect("it runs");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(0), "{arguments:?}: {said}");
        assert!(!said.contains("tidings: ") && !said.contains("panicked"), "{arguments:?}: {said}");
    }
}

/// More than 64 KiB of log lines.
const REQUESTS_THAT_FILL_A_PIPE: usize = 500;

/// It publishes, keeps streams open, and ends them and itself as it should.
#[track_caller]
fn works_and_stops(mut program: Program) {
    let streams: Vec<_> = (0..20).map(|_| program.open("/clock")).collect();
    let ids: Vec<_> = (0..20).map(|n| program.publish(&format!("message {n}"))).collect();
    let list: MessageList =
        serde_json::from_str(&program.answer("GET /api/messages?limit=20 HTTP/1.1", "")).expect("a list");
    let kept: Vec<_> = list.messages.into_iter().rev().map(|message| message.id).collect();
    assert_eq!(kept, ids);
    program.signal("-TERM");
    for mut stream in streams {
        let mut rest = String::new();
        stream.read_to_string(&mut rest).expect("an end");
        assert!(rest.contains("retry: ") && rest.ends_with("0\r\n\r\n"), "{rest}");
    }
    assert_eq!(program.wait().code(), Some(0));
}
