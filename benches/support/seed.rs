//! Data folders whose log has a past: read in by `tidings log import`, which is faster than publishing it.

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use chrono::Utc;
use serde_json::json;
use tempfile::TempDir;
use tidings::wire::message::Message;
use tidings::wire::paths;

/// A folder for data, on the disk that `TIDINGS_BENCH_FOLDER` names or that the build is on.
pub(crate) fn folder() -> TempDir {
    let parent = std::env::var_os("TIDINGS_BENCH_FOLDER")
        .map_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/target").into(), PathBuf::from);
    tempfile::tempdir_in(parent).expect("a folder")
}

/// A data folder with so many messages, from number 0 on. The data of each has `bytes` bytes.
pub(crate) fn messages(count: usize, bytes: usize) -> TempDir {
    let folder = folder();
    let mut import = Command::new(super::binary())
        .args(["log", "import", "--data"])
        .arg(folder.path())
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the import starts");
    let mut lines = BufWriter::new(import.stdin.take().expect("its input"));
    let now = Utc::now();
    for number in 0..count {
        let id = id(number);
        let stream = paths::burst(&id);
        let mut message = Message { id, message: String::new(), published_at: now, stream };
        let empty = serde_json::to_string(&message).expect("JSON").len();
        message.message = "x".repeat(bytes.saturating_sub(empty));
        let data = serde_json::to_string(&message).expect("JSON");
        let line = json!({ "id": message.id, "topics": ["messages"], "at": now, "data": data });
        writeln!(lines, "{line}").expect("the import reads");
    }
    drop(lines);
    assert!(import.wait().expect("an end").success(), "the import failed");
    folder
}

/// The id of the message with this number.
pub(crate) fn id(number: usize) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}
