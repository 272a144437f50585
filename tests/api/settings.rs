//! Where settings come from, and what is refused.

use std::process::{Command, Output};

use tempfile::TempDir;
use tidings::server::settings::{Options, report};

/// Every setting, as its flag is written.
fn names() -> Vec<&'static str> {
    let settings = Options::default().resolve().expect("the defaults");
    report::rows(&settings).into_iter().map(|(name, _)| name).chain(["config"]).collect()
}

#[test]
fn nonsense_is_refused_with_the_name_of_the_setting_from_a_flag_the_environment_and_a_file() {
    for (name, value, in_file) in [
        ("listen", "nowhere", "'nowhere'"),
        ("otlp-endpoint", "127.0.0.1:4318", "'127.0.0.1:4318'"),
        ("otlp-sample", "1.5", "1.5"),
        ("otlp-sample", "often", "'often'"),
        ("storage", "paper", "'paper'"),
        ("durability", "perhaps", "'perhaps'"),
        ("keep-age", "long", "'long'"),
        ("keep-count", "-1", "-1"),
        ("keep-bytes", "much", "'much'"),
        ("cors-origins", "example.com", "'example.com'"),
        ("demo", "perhaps", "'perhaps'"),
        ("heartbeat", "soon", "'soon'"),
        ("heartbeat", "1ms", "'1ms'"),
        ("heartbeat", "15", "'15'"),
        ("stall-timeout", "never", "'never'"),
        ("reader-buffer", "some", "'some'"),
        ("shards", "0", "0"),
        ("burst-repeat", "0", "0"),
        ("burst-repeat", "often", "'often'"),
        ("burst-interval", "-1s", "'-1s'"),
        ("rate-limit", "-1", "-1"),
        ("max-message", "0", "0"),
        ("max-message", "2000000", "2000000"),
        ("max-body", "1", "1"),
        ("max-connections", "0", "0"),
        ("max-matchers", "1001", "1001"),
        ("max-http2-streams", "0", "0"),
        ("token-rate-limit", "-1", "-1"),
        ("log-level", "tidings=loud", "'tidings=loud'"),
        ("log-format", "xml", "'xml'"),
    ] {
        let variable = format!("TIDINGS_{}", name.to_uppercase().replace('-', "_"));
        assert_refused(&tidings(|command| command.arg(format!("--{name}={value}"))), name);
        assert_refused(&tidings(|command| command.env(&variable, value)), name);
        let file = File::new(&format!("{name} = {in_file}\n"));
        let output = tidings(|command| {
            if name == "listen" {
                command.env_remove("TIDINGS_LISTEN");
            }
            command.arg("--config").arg(file.path())
        });
        assert_refused(&output, name);
    }
}

#[test]
fn a_flag_takes_precedence_over_the_environment_and_that_over_the_file() {
    let file = File::new("burst-repeat = 0\nheartbeat = '1ms'\nstall-timeout = '1ms'\n");
    let output = tidings(|command| {
        command.arg("--config").arg(file.path());
        command.env("TIDINGS_BURST_REPEAT", "2000").env("TIDINGS_HEARTBEAT", "2ms");
        command.args(["--burst-repeat", "3000"])
    });
    assert_said(&output, "--burst-repeat 3000");
    let output = tidings(|command| {
        command.arg("--config").arg(file.path()).args(["--burst-repeat", "3"]).env("TIDINGS_HEARTBEAT", "2ms")
    });
    assert_said(&output, "--heartbeat 2ms");
    let output =
        tidings(|command| command.env("TIDINGS_CONFIG", file.path()).args(["--burst-repeat=3", "--heartbeat=1s"]));
    assert_said(&output, "--stall-timeout 1ms");
}

#[test]
fn a_file_that_is_not_there_or_not_understood_is_refused() {
    let output = tidings(|command| command.args(["--config", "/nowhere/tidings.toml"]));
    assert_said(&output, "--config: /nowhere/tidings.toml can't be read");
    for (text, complaint) in [("hartbeat = '15s'", "hartbeat"), ("heartbeat = ", "line 1"), ("\n[serve]\n", "serve")] {
        let file = File::new(text);
        let output = tidings(|command| command.arg("--config").arg(file.path()));
        assert_said(&output, complaint);
        assert_said(&output, &file.path());
    }
}

#[test]
fn unknown_flags_are_refused_and_help_names_every_setting() {
    assert_said(&tidings(|command| command.arg("--hartbeat=15s")), "--hartbeat");
    for help in [vec!["--help"], vec!["serve", "--help"]] {
        let output = tidings(|command| command.args(&help));
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        for name in names() {
            let variable = format!("TIDINGS_{}", name.to_uppercase().replace('-', "_"));
            assert!(text.contains(&format!("--{name} ")) && text.contains(&variable), "{name}: {text}");
        }
        assert!(text.contains("[default: 127.0.0.1:3000]"), "{text}");
    }
    let output = tidings(|command| command.arg("--version"));
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("tidings {}\n", env!("CARGO_PKG_VERSION")));
}

/// Runs the program until it exits by itself, in an environment without settings. It can't listen: the address is not
/// one of this machine.
fn tidings(with: impl FnOnce(&mut Command) -> &mut Command) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TIDINGS_")) {
        command.env_remove(name);
    }
    command.env("TIDINGS_LISTEN", "192.0.2.1:1");
    with(&mut command).output().expect("the program runs")
}

#[track_caller]
fn assert_refused(output: &Output, name: &str) {
    assert_said(output, name);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!said.contains("192.0.2.1"), "it tried to listen: {said}");
}

#[track_caller]
fn assert_said(output: &Output, text: &str) {
    assert!(!output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(text), "{text:?} is not in {said:?}");
}

struct File(TempDir);

impl File {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("tidings.toml"), text).expect("a file");
        Self(folder)
    }

    fn path(&self) -> String {
        self.0.path().join("tidings.toml").display().to_string()
    }
}
