//! What an operator does with the program: settings, health, supervision by systemd, help.

use std::os::unix::net::UnixDatagram;
use std::process::{Output, Stdio};
use std::time::Instant;

use tempfile::TempDir;

use crate::lines::lines;
use crate::process::{PATIENCE, Program, command};

fn run(data: &TempDir, arguments: &[&str]) -> Output {
    command(data, arguments).env_remove("TIDINGS_LISTEN").output().expect("it runs")
}

fn printed(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

#[test]
fn health_ends_with_0_while_the_server_is_ready_and_with_1_once_it_is_not_there() {
    let mut program = Program::start(&["--metrics-listen", "127.0.0.1:0"]);
    let at = program.greeting.iter().find_map(|line| line.split_once("watch  ")).expect("where to watch").1;
    let url = at.split("/metrics").next().expect("an address").to_owned();
    let data = tempfile::tempdir().expect("a folder");
    let asked = run(&data, &["health", "--url", &url]);
    assert_eq!((asked.status.code(), printed(&asked).as_str()), (Some(0), "ready\n"), "{asked:?}");
    // As in a container: by the same settings as the server's.
    let listen = program.address.to_string();
    let asked = command(&data, &["health"]).env("TIDINGS_LISTEN", &listen).output().expect("it runs");
    assert_eq!(asked.status.code(), Some(0), "{asked:?}");
    program.signal("-TERM");
    program.wait();
    let asked = run(&data, &["health", "--listen", &listen]);
    assert_eq!(asked.status.code(), Some(1));
    assert!(said(&asked).contains("does not answer"), "{asked:?}");
}

#[test]
fn config_show_says_what_is_in_effect_and_where_it_comes_from() {
    let data = tempfile::tempdir().expect("a folder");
    std::fs::write(
        data.path().join("hub.toml"),
        "heartbeat = '5s'\nkeep-count = 7\n[[keep]]\ntopic = 'a*'\ncount = 3\n",
    )
    .expect("room");
    let shown = command(&data, &["config", "show", "--config", "hub.toml", "--keep-count", "8"])
        .env("TIDINGS_RATE_LIMIT", "9")
        .output()
        .expect("it runs");
    let text = printed(&shown);
    for expected in [
        ["heartbeat", "5s", "hub.toml"],
        ["keep-count", "8", "--keep-count"],
        ["rate-limit", "9", "TIDINGS_RATE_LIMIT"],
        ["listen", "127.0.0.1:3000", "default"],
        ["[[keep]]", "a*:", "at most 3 updates"],
    ] {
        let line = text.lines().find(|line| line.split_whitespace().next() == Some(expected[0])).expect(expected[0]);
        assert!(expected.iter().all(|word| line.contains(word)), "{line}");
    }
    // Every flag of the server has its line.
    let help = printed(&run(&data, &["serve", "--help"]));
    let flags = help.lines().filter_map(|line| line.trim_start().strip_prefix("--")?.split([' ', '[']).next());
    for flag in flags.filter(|flag| !["config", "help"].contains(flag)) {
        assert!(text.lines().any(|line| line.split_whitespace().next() == Some(flag)), "{flag} is not shown");
    }
}

#[test]
fn config_check_says_whether_a_server_would_start_and_makes_nothing() {
    let data = tempfile::tempdir().expect("a folder");
    let good = run(&data, &["config", "check"]);
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    assert!(std::fs::read_dir(data.path()).expect("a folder").next().is_none(), "nothing was made");
    let traces = ["--otlp-endpoint=http://127.0.0.1:4318", "--otlp-headers-file=none.txt"];
    for (arguments, expected) in [
        (["--heartbeat", "1ms"], "--heartbeat 1ms"),
        (["--publisher-key-file", "none.pem"], "none.pem can't be read"),
        (traces, "--otlp-headers-file: none.txt: it can't be read"),
    ] {
        let bad = run(&data, &[&["config", "check"], &arguments[..]].concat());
        assert_eq!(bad.status.code(), Some(1));
        assert!(said(&bad).contains(expected), "{bad:?}");
    }
}

#[test]
fn completions_and_the_manual_have_every_command() {
    let data = tempfile::tempdir().expect("a folder");
    let manual = printed(&run(&data, &["man"]));
    assert!(manual.starts_with(".ie") && manual.contains(".TH"), "{manual}");
    for shell in ["bash", "zsh", "fish"] {
        let script = printed(&run(&data, &["completions", shell]));
        for command in ["serve", "token", "log", "health", "config", "publish", "subscribe"] {
            assert!(script.contains(command), "{shell}: {command}");
            assert!(manual.contains(&format!("TIDINGS {}", command.to_uppercase())), "{command}");
        }
    }
}

#[test]
fn systemd_is_told_when_the_server_is_ready_reloads_lives_and_stops() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("an option");
    let data = tempfile::tempdir().expect("a folder");
    let mut command = command(&data, &["--listen", "127.0.0.1:0"]);
    command.env("NOTIFY_SOCKET", folder.path().join("notify")).env("WATCHDOG_USEC", "100000");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    let hears = |expected: &str| {
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            let mut told = [0; 512];
            let length = socket.recv(&mut told).expect("a word");
            let told = String::from_utf8_lossy(&told[..length]).into_owned();
            if told.lines().any(|line| line == expected) {
                return;
            }
        }
        panic!("systemd was not told {expected}");
    };
    let signal = |signal: &str| {
        let sent = std::process::Command::new("kill").args([signal, &child.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()));
    };
    hears("READY=1");
    hears("WATCHDOG=1");
    hears("WATCHDOG=1");
    signal("-HUP");
    hears("RELOADING=1");
    hears("READY=1");
    signal("-TERM");
    hears("STOPPING=1");
    assert!(child.wait().expect("an end").success());
}

#[test]
fn systemds_sockets_are_taken_over() {
    // As systemd does: the sockets are there from descriptor 3 on, for the process with this number.
    const AS_SYSTEMD: &str = "import os, socket, sys
sockets = [socket.create_server(('127.0.0.1', 0)), socket.create_server(('127.0.0.1', 0))]
print(*(s.getsockname()[1] for s in sockets), flush=True)
copies = [os.dup(s.fileno()) for s in sockets]
for n, copy in enumerate(copies): os.dup2(copy, 3 + n, inheritable=True)
os.environ.update(LISTEN_FDS=str(len(copies)), LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[1], sys.argv[1:])";
    let data = tempfile::tempdir().expect("a folder");
    let mut child = std::process::Command::new("python3")
        .args(["-c", AS_SYSTEMD, env!("CARGO_BIN_EXE_tidings"), "--listen", "systemd", "--demo"])
        .current_dir(data.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("python3");
    let printed = lines(child.stdout.take().expect("an output"));
    let ports: Vec<u16> = printed
        .recv_timeout(PATIENCE)
        .expect("two ports")
        .split(' ')
        .map(|port| port.parse().expect("a port"))
        .collect();
    for port in &ports {
        // Whoever connects before the server takes them over waits.
        let ping = std::process::Command::new("curl")
            .args(["-sS", "-m", "20", &format!("http://127.0.0.1:{port}/api/ping")])
            .output()
            .expect("curl");
        assert!(String::from_utf8_lossy(&ping.stdout).contains("\"ok\""), "{ping:?}");
    }
    let greeting = printed.recv_timeout(PATIENCE).expect("a greeting");
    assert!(ports.iter().all(|port| greeting.contains(&port.to_string())), "{greeting}");
    child.kill().expect("it runs");
    child.wait().expect("an end");
}

#[test]
fn a_reload_takes_over_what_it_can_and_says_what_waits_for_a_restart() {
    let data = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(data.path().join(name), text).expect("room");
    write("hub.toml", "log-level = 'info'\nheartbeat = '15s'\npublisher-key-file = 'key'\n");
    write("key", &"a".repeat(40));
    let token = || {
        let made = run(&data, &["token", "--publish", "*", "--config", "hub.toml", "--resource", "http://localhost"]);
        printed(&made).trim().to_owned()
    };
    let old = token();
    let folder = data.path().to_owned();
    let program = Program::start_in(data, &["--config", "hub.toml", "--resource", "http://localhost"]);
    let publish = |token: &str| {
        let head = format!(
            "POST /.well-known/mercure HTTP/1.1\r\nAuthorization: Bearer {token}\r\nContent-Type: application/x-www-form-urlencoded"
        );
        program.status(&head, "topic=a&data=b")
    };
    assert_eq!(publish(&old), 200);
    std::fs::write(folder.join("key"), "b".repeat(40)).expect("room");
    std::fs::write(folder.join("hub.toml"), "log-level = 'debug'\nheartbeat = '20s'\npublisher-key-file = 'key'\n")
        .expect("room");
    program.signal("-HUP");
    let level = program.log_where("a setting has changed", |line| line["name"] == "log-level");
    assert_eq!((&level["before"], &level["now"]), (&"info".into(), &"debug".into()));
    let waits = program.log("takes effect at a restart");
    assert_eq!((&waits["name"], &waits["now"]), (&"heartbeat".into(), &"20s".into()));
    let refused = || publish(&old) == 401;
    let begin = Instant::now();
    while !refused() {
        assert!(begin.elapsed() < PATIENCE, "the key before is still accepted");
    }

    // What can't be used changes nothing.
    std::fs::write(folder.join("hub.toml"), "heartbeat = 'soon'").expect("room");
    program.signal("-HUP");
    program.log("the settings can't be used");
    assert_eq!(publish(&old), 401);
}

#[test]
fn the_doctor_reads_streams_that_are_compressed() {
    let program = Program::start(&["--heartbeat", "200ms", "--max-compressed-streams", "10"]);
    let token = printed(&run(&program.data, &["token", "--publish", "*", "--listen", &program.address.to_string()]));
    let hub = format!("http://{}", program.address);
    let found = command(&program.data, &["doctor", "--hub", &hub, "--silence", "1s", "--updates", "5"])
        .env("TIDINGS_TOKEN", token.trim())
        .output()
        .expect("it runs");
    let text = printed(&found);
    for finding in ["note  compression", "good  silence", "good  updates", "good  resuming"] {
        assert!(text.contains(finding), "{finding}: {text}");
    }
    assert_eq!(found.status.code(), Some(0), "{found:?}");
}

#[test]
fn the_doctor_finds_nothing_wrong_on_a_straight_way() {
    let program = Program::start(&["--heartbeat", "200ms", "--publish-without-token"]);
    let token = printed(&run(&program.data, &["token", "--publish", "*", "--listen", &program.address.to_string()]));
    let hub = format!("http://{}", program.address);
    let examine = |arguments: &[&str]| {
        let mut command = command(&program.data, &["doctor", "--hub", &hub, "--silence", "1s", "--updates", "5"]);
        command.args(arguments).env("TIDINGS_TOKEN", token.trim()).output().expect("it runs")
    };
    let found = examine(&["--origin", "https://app.example.com"]);
    let text = printed(&found);
    assert_eq!(found.status.code(), Some(0), "{found:?}");
    for (verdict, what) in [
        ("note", "protocol"),
        ("good", "clock"),
        ("good", "origin"),
        ("good", "buffering"),
        ("good", "silence"),
        ("good", "updates"),
        ("good", "resuming"),
    ] {
        let line = text.lines().find(|line| line.split_whitespace().nth(1) == Some(what)).expect(what);
        assert!(line.starts_with(verdict), "{line}");
    }
    let json: serde_json::Value = serde_json::from_str(&printed(&examine(&["--json"]))).expect("JSON");
    assert!(
        json.as_array().is_some_and(|findings| findings.iter().all(|finding| finding["verdict"] != "bad")),
        "{json}"
    );
}

/// A proxy that holds back what it passes on until it has 4 KiB of it, as those do that buffer.
fn buffering_proxy(to: std::net::SocketAddr) -> std::net::SocketAddr {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            let mut server = std::net::TcpStream::connect(to).expect("it listens");
            let (mut from_client, mut to_server) =
                (client.try_clone().expect("a copy"), server.try_clone().expect("a copy"));
            std::thread::spawn(move || std::io::copy(&mut from_client, &mut to_server));
            std::thread::spawn(move || {
                let (mut held, mut bytes, mut is_head) = (Vec::new(), [0; 4096], true);
                while let Ok(read @ 1..) = server.read(&mut bytes) {
                    held.extend_from_slice(&bytes[..read]);
                    // The head is passed on, and what came with it is held back.
                    let end = held.windows(4).position(|part| part == b"\r\n\r\n").filter(|_| is_head);
                    let pass = if held.len() >= 4096 { held.len() } else { end.map_or(0, |end| end + 4) };
                    is_head &= end.is_none();
                    if client.write_all(&held[..pass]).is_err() {
                        return;
                    }
                    held.drain(..pass);
                }
            });
        }
    });
    address
}

#[test]
fn the_doctor_notices_a_proxy_that_holds_streams_back() {
    let program = Program::start(&[]);
    let hub = format!("http://{}", buffering_proxy(program.address));
    let found = run(&program.data, &["doctor", "--hub", &hub, "--silence", "100ms"]);
    assert_eq!(found.status.code(), Some(1), "{found:?}");
    let text = printed(&found);
    let line = text.lines().find(|line| line.contains("buffering")).expect("a line about it");
    assert!(line.starts_with("BAD") && line.contains("holds it back"), "{line}");
}
