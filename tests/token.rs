//! `tidings token`, as a person at a terminal uses it: what it makes the server accepts, and what is wrong is said.

mod support;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use reqwest::StatusCode;
use serde_json::Value;
use tempfile::TempDir;

use support::Program;

const RESOURCE: &str = "https://hub.example/.well-known/mercure";
const PRIVATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mercure/keys/ed25519.pem");
const PUBLIC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mercure/keys/ed25519.pub.pem");

/// A data folder, and the program beside it.
struct House {
    data: TempDir,
}

impl House {
    fn new() -> Self {
        Self { data: tempfile::tempdir().expect("a folder") }
    }

    fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidings"))
            .arg("token")
            .args(arguments)
            .env_clear()
            .env("TIDINGS_DATA", self.data.path())
            .env("TIDINGS_RESOURCE", RESOURCE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        child.stdin.take().expect("an input").write_all(input.as_bytes()).expect("it reads");
        child.wait_with_output().expect("an end")
    }

    /// A folder with the key that the server would make when it first starts.
    fn with_key() -> Self {
        let house = Self::new();
        house.make(&["--publish", "*", "--make-key"]);
        house
    }

    /// A token, which stands alone on standard output. Standard error names the key.
    #[track_caller]
    fn make(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments, "");
        let text = String::from_utf8(output.stdout).expect("a text");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        assert!(errors.lines().count() == 1 && errors.starts_with("key      /"), "{arguments:?}: {errors}");
        let token = text.strip_suffix('\n').expect("a line");
        assert!(token.split('.').count() == 3 && !token.contains(char::is_whitespace), "{text}");
        token.to_owned()
    }

    /// Why there is no token.
    #[track_caller]
    fn refuses(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments, "");
        assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
        String::from_utf8(output.stderr).expect("a text")
    }

    /// Whether a token is accepted, and what is said of it.
    #[track_caller]
    fn inspect(&self, arguments: &[&str], input: &str) -> (bool, String) {
        let output = self.run(&[&["inspect"], arguments].concat(), input);
        assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
        (output.status.success(), String::from_utf8(output.stdout).expect("a text"))
    }

    fn key(&self) -> std::path::PathBuf {
        self.data.path().join("token.key")
    }

    fn file(&self, name: &str, content: &str) -> String {
        let path = self.data.path().join(name);
        fs::write(&path, content).expect("a file");
        path.to_str().expect("a path").to_owned()
    }
}

fn claims(token: &str) -> Value {
    use base64::Engine;
    let claims = token.split('.').nth(1).expect("claims");
    let claims = base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(claims).expect("base64url");
    serde_json::from_slice(&claims).expect("JSON")
}

async fn publish(program: &Program, token: &str, topic: &str) -> StatusCode {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let request = client.post(format!("http://{}/.well-known/mercure", program.address())).bearer_auth(token);
    // Who names the hub's own host is at the right one.
    let form = request.header("host", "hub.example").header("content-type", "application/x-www-form-urlencoded");
    form.body(format!("topic={topic}&data=x")).send().await.expect("an answer").status()
}

fn start(data: &Path, flags: &[&str]) -> Program {
    Program::start(data, &[&["--resource", RESOURCE], flags].concat())
}

#[tokio::test]
async fn a_token_that_was_made_before_the_first_start_is_accepted_after_it() {
    let house = House::new();
    let token = house.make(&["--publish", "a", "--publish-pattern", "/b/:x", "--make-key"]);
    let program = start(house.data.path(), &[]);
    for (topic, status) in [("a", 200), ("/b/1", 200), ("/b/1/2", 403), ("c", 403)] {
        assert_eq!(publish(&program, &token, topic).await, status, "{topic}");
    }
    // And one that is made beside the server that runs.
    let token = house.make(&["--publish", "*"]);
    assert_eq!(publish(&program, &token, "c").await, 200);
    assert_eq!(publish(&program, &House::with_key().make(&["--publish", "*"]), "c").await, 401);
}

#[tokio::test]
async fn a_token_of_a_private_key_is_accepted_where_the_public_one_is_set() {
    let house = House::new();
    let program = start(house.data.path(), &["--publisher-key-file", PUBLIC]);
    let token = house.make(&["--publish", "*", "--key", PRIVATE]);
    assert_eq!(publish(&program, &token, "a").await, 200);
    let error = house.refuses(&["--publish", "*", "--publisher-key-file", PUBLIC]);
    assert!(error.contains("--key") && error.contains(PUBLIC), "{error}");
}

#[test]
fn the_first_start_says_where_the_key_is_and_what_it_is_for() {
    let house = House::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let line = start(house.data.path(), &[]).log("made a key for tokens").await;
        assert!(line["message"].as_str().is_some_and(|text| text.contains("tidings token --help")), "{line}");
        assert!(line["file"].as_str().is_some_and(|file| file.ends_with("token.key")), "{line}");
    });
}

#[test]
fn the_key_is_made_once_and_for_its_owner_alone() {
    let house = House::new();
    house.make(&["--publish", "*", "--make-key"]);
    let key = fs::read(house.key()).expect("a key");
    assert_eq!(fs::metadata(house.key()).expect("a file").permissions().mode() & 0o777, 0o600);
    house.make(&["--publish", "*", "--make-key"]);
    assert_eq!(fs::read(house.key()).expect("a key"), key);
}

#[test]
fn no_key_is_made_unless_that_is_asked_for() {
    let house = House::new();
    let error = house.refuses(&["--publish", "*"]);
    for part in ["token.key", "--data", "--make-key"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert_eq!(fs::read_dir(house.data.path()).expect("a folder").count(), 0);
}

#[test]
fn the_key_that_a_token_is_signed_with_is_named_beside_it() {
    let house = House::with_key();
    let named = |arguments: &[&str]| String::from_utf8(house.run(arguments, "").stderr).expect("a text");
    assert_eq!(named(&["--publish", "*"]), format!("key      {}\n", house.key().display()));
    assert_eq!(named(&["--publish", "*", "--key", PRIVATE]), format!("key      {PRIVATE}\n"));
}

#[test]
fn a_token_says_what_it_was_told_to_say() {
    let house = House::with_key();
    let token = house.make(&[
        "--subscribe",
        "a",
        "--subscribe",
        "b",
        "--subscribe-pattern",
        "/:c",
        "--payload",
        r#"{"name":"Ada"}"#,
        "--revoke",
        "--expires",
        "2h",
        "--subject",
        "somebody",
        "--client-id",
        "a program",
        "--id",
        "7",
        "--issuer",
        "me",
    ]);
    let said = claims(&token);
    for (claim, value) in
        [("iss", "me"), ("aud", RESOURCE), ("sub", "somebody"), ("client_id", "a program"), ("jti", "7")]
    {
        assert_eq!(said[claim], value, "{claim}");
    }
    assert_eq!(said["exp"].as_i64().zip(said["iat"].as_i64()).map(|(exp, iat)| exp - iat), Some(7200));
    let kind = "https://mercure.rocks/authorization-detail";
    assert_eq!(
        said["authorization_details"],
        serde_json::json!([
            { "type": kind, "actions": ["subscribe"], "payload": { "name": "Ada" },
              "topics": [{ "match": "a" }, { "match": "b" }, { "match": "/:c", "match_type": "urlpattern" }] },
            { "type": kind, "actions": ["revoke"], "topics": [{ "match": "*" }] },
        ])
    );
    let [one, other] = [(); 2].map(|()| claims(&house.make(&["--publish", "*"])));
    assert_eq!((&one["sub"], &one["client_id"], &one["iss"]), (&"tidings".into(), &"tidings".into(), &RESOURCE.into()));
    assert_ne!(one["jti"], other["jti"]);
}

#[test]
fn what_makes_no_sense_is_refused_and_says_what_does() {
    let house = House::new();
    for (arguments, says) in [
        (&[][..], "--publish"),
        (&["--payload", "{}", "--publish", "*"], "needs --subscribe"),
        (&["--payload", "[]", "--subscribe", "*"], "JSON object"),
        (&["--payload", "{", "--subscribe", "*"], "JSON object"),
        (&["--publish", "*", "--expires", "0s"], "--expires"),
        (&["--publish", "*", "--expires", "soon"], "for example"),
        (&["--publish", ""], "empty"),
        (&["--publish-pattern", "/("], "not a valid URL pattern"),
        (&["--publish", "*", "--key", "/nowhere"], "/nowhere"),
        (&["--publish", "*", "--config", "/nowhere"], "/nowhere"),
    ] {
        let error = house.refuses(arguments);
        assert!(error.contains(says), "{arguments:?}: {error}");
    }
    assert!(!house.key().exists(), "no key is made for what makes no sense");
    let output = Command::new(env!("CARGO_BIN_EXE_tidings"))
        .args(["token", "--publish", "*", "--listen", "127.0.0.1:0", "--data"])
        .arg(house.data.path())
        .env_clear()
        .output()
        .expect("an end");
    assert!(String::from_utf8_lossy(&output.stderr).contains("--resource"), "{output:?}");
}

#[test]
fn where_the_two_uses_have_keys_of_their_own_a_token_is_for_one_of_them() {
    let house = House::new();
    let publisher = house.file("publisher", "the publishers' secret, which is their own");
    let subscriber = house.file("subscriber", "the subscribers' secret, which is their own");
    let keys = ["--publisher-key-file", &publisher, "--subscriber-key-file", &subscriber];
    let with = |arguments: &[&'static str]| [arguments, &keys[..]].concat();
    let error = house.refuses(&with(&["--publish", "*", "--subscribe", "*"]));
    assert!(error.contains("two tokens"), "{error}");
    for (grant, role, other) in [("--publish", "publisher", "subscriber"), ("--subscribe", "subscriber", "publisher")] {
        let token = house.make(&with(&[grant, "*"]));
        let (accepted, text) = house.inspect(&[&[&*token], &keys[..]].concat(), "");
        assert!(accepted && text.contains(&format!("accepted as a {role}'s\n")), "{text}");
        assert!(text.contains(&format!("refused as a {other}'s\n  its signature")), "{text}");
        for (asked, expected) in [(role, true), (other, false)] {
            let (accepted, _) = house.inspect(&[&[&*token, "--role", asked], &keys[..]].concat(), "");
            assert_eq!(accepted, expected, "{role} {asked}");
        }
    }
}

#[test]
fn a_token_is_explained() {
    let house = House::with_key();
    let token = house.make(&["--publish", "a", "--subscribe-pattern", "/:b", "--payload", r#"{"name":"Ada"}"#]);
    for (arguments, input) in [(&[&*token][..], ""), (&["-"], &*token), (&[], &format!("{token}\n"))] {
        let (accepted, text) = house.inspect(arguments, input);
        assert!(accepted, "{text}");
        for says in [
            "HS256",
            "at+jwt",
            RESOURCE,
            "UTC, in ",
            "publish: exact=a\n",
            "subscribe: urlpattern=/:b",
            "Ada",
            "accepted as a publisher's\n",
            "accepted as a subscriber's\n",
        ] {
            assert!(text.contains(says), "{says}: {text}");
        }
    }
}

#[test]
fn every_reason_for_a_refusal_is_said_each_in_a_line() {
    let house = House::with_key();
    let elsewhere =
        House::with_key().make(&["--publish", "*", "--resource", "https://other.example/", "--issuer", RESOURCE]);
    let (accepted, text) = house.inspect(&[&elsewhere], "");
    assert!(!accepted, "{text}");
    let refusal = format!(
        "refused as a publisher's\n  it is not for this hub: its `aud` must contain {RESOURCE}\n  its signature was not made \
         with a key of its issuer\n"
    );
    assert!(text.contains(&refusal), "{text}");
    assert!(text.contains("publish: exact=*"), "it says what it would grant: {text}");
    for wrong in ["", "nonsense", "a.b.c"] {
        let (accepted, text) = house.inspect(&["-"], wrong);
        assert!(!accepted && text.contains("it is no JWT"), "{wrong}: {text}");
    }
}

#[test]
fn to_explain_a_token_changes_nothing_in_the_folder() {
    let house = House::new();
    let token = House::with_key().make(&["--publish", "*"]);
    let output = house.run(&["inspect", &token], "");
    let error = String::from_utf8(output.stderr).expect("a text");
    assert!(!output.status.success() && error.contains("there is no"), "{error}");
    assert_eq!(fs::read_dir(house.data.path()).expect("a folder").count(), 0);
}

#[test]
fn a_token_for_a_server_at_another_port_is_refused_with_the_issuer_that_was_expected() {
    let house = House::with_key();
    let other = "http://127.0.0.1:4000/.well-known/mercure";
    let token = house.make(&["--publish", "*", "--resource", other]);
    let (accepted, text) = house.inspect(&[&token], "");
    assert!(!accepted && text.contains(&format!("is not trusted: expected {RESOURCE}\n")), "{text}");
}

#[test]
fn a_revoked_token_is_explained_as_that() {
    let house = House::with_key();
    let token = house.make(&["--publish", "*", "--id", "7"]);
    house.file("revoked.jsonl", &format!("{{\"iss\":\"{RESOURCE}\",\"jti\":\"7\"}}\n"));
    let (accepted, text) = house.inspect(&[&token], "");
    assert!(!accepted && text.contains("  it has been revoked\n"), "{text}");
}
