//! A full disk, on the program itself: publishes are refused and say why, readers go on, and it heals by itself
//! when there is room. Needs to mount a small file system; without the right to, it says so and ends.

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use support::{Answer, EARLIEST, FEED, Program, in_time};
use tempfile::TempDir;
use tidings::wire::message::Message;
use tidings::wire::problem::{MEDIA_TYPE, Problem};

const DISK_MIB: usize = 48;
/// Somebody else's file: what makes room when it goes.
const BALLAST_MIB: usize = 20;
const TEXT_BYTES: usize = 10_000;
/// More than this can't fit.
const MOST: usize = (DISK_MIB << 20) / TEXT_BYTES;
/// How often a full disk is tried again.
const TRIES: usize = 100;
const LONG_MESSAGES: [&str; 2] = ["--max-message", "20000"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stderr, reason = "a test that is skipped says why")]
async fn a_full_disk_refuses_publishes_serves_readers_and_heals_by_itself() {
    let disk = match SmallDisk::mount() {
        Ok(disk) => disk,
        Err(reason) => return eprintln!("skipped: no small file system can be mounted: {}", reason.trim()),
    };
    let (data, ballast) = (disk.path.join("data"), disk.path.join("ballast"));
    fs::write(&ballast, vec![7; BALLAST_MIB << 20]).expect("room");
    let mut program = Program::start(&data, &LONG_MESSAGES);
    let client = program.client();
    let mut live = client.open(FEED, None).await.expect("a stream");
    let mut acknowledged: Vec<String> = Vec::new();
    let publish = async || client.publish(&"x".repeat(TEXT_BYTES)).await.expect("a running program");

    let refusal = loop {
        let answer = publish().await;
        if answer.status != 200 {
            break answer;
        }
        assert_eq!(live.message().await.map(|message| message.id).as_ref(), Some(&answer.body));
        acknowledged.push(answer.body);
        assert!(acknowledged.len() < MOST, "it never gets full");
    };
    assert_refused(&refusal);
    assert_refused(&client.ping().await.expect("a running program"));
    assert!(acknowledged.len() > 100, "only {} fitted in", acknowledged.len());

    let mut refused = 1;
    for _ in 0..TRIES {
        let answer = publish().await;
        // There may be room for one or the other yet.
        if answer.status == 200 {
            assert_eq!(live.message().await.map(|message| message.id).as_ref(), Some(&answer.body));
            acknowledged.push(answer.body);
        } else {
            assert_refused(&answer);
            refused += 1;
        }
    }
    assert!(refused > TRIES / 2, "{refused} of {TRIES} were refused");
    let mut replay = client.open(FEED, Some(EARLIEST)).await.expect("a stream");
    assert_eq!(ids(&replay.messages(acknowledged.len()).await), acknowledged, "a new reader gets all there is");

    program.log("publishes are refused until").await;
    let complaints: Vec<_> = program.logged().iter().filter(|line| is_complaint(line)).collect();
    assert!(complaints.len() <= 5, "{refused} refusals make {} lines: {complaints:#?}", complaints.len());

    fs::remove_file(&ballast).expect("the ballast");
    let healed = in_time("a publish that is taken again", async {
        loop {
            let answer = publish().await;
            if answer.status == 200 {
                return answer.body;
            }
            assert_refused(&answer);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    acknowledged.push(healed.await);
    assert_eq!(client.ping().await.expect("a running program").status, 200);
    let last = acknowledged.last();
    assert_eq!(live.message().await.map(|message| message.id).as_ref(), last, "the stream was open all the time");
    assert_eq!(replay.message().await.map(|message| message.id).as_ref(), last);
    assert_eq!(ids(&client.messages_after(None).await), acknowledged);

    program.kill();
    let program = Program::start(&data, &LONG_MESSAGES);
    assert_eq!(ids(&program.client().messages_after(None).await), acknowledged, "nothing is missing after a crash");
}

#[track_caller]
fn assert_refused(answer: &Answer) {
    assert_eq!((answer.status, &*answer.media_type), (507, MEDIA_TYPE), "{answer:?}");
    let problem: Problem = serde_json::from_str(&answer.body).expect("a problem");
    assert_eq!((problem.status, &*problem.title), (507, "Storage full"));
    assert!(problem.detail.contains("was not published. Try again when"), "{}", problem.detail);
}

fn is_complaint(line: &Value) -> bool {
    matches!(line["level"].as_str(), Some("WARN" | "ERROR"))
}

fn ids(messages: &[Message]) -> Vec<String> {
    messages.iter().map(|message| message.id.clone()).collect()
}

/// A small file system of its own, in memory.
struct SmallDisk {
    path: PathBuf,
    #[expect(dead_code, reason = "it is removed with the mount point in it")]
    folder: TempDir,
}

impl SmallDisk {
    /// Mounts one, or says why that can't be done.
    fn mount() -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let path = folder.path().join("mount");
        fs::create_dir(&path).map_err(|error| error.to_string())?;
        let options = format!("size={DISK_MIB}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&path).output();
        match mounted {
            Ok(output) if output.status.success() => Ok(Self { path, folder }),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What still has files open there is killed with the test: lazily.
        let _ = Command::new("umount").arg("--lazy").arg(&self.path).status();
    }
}
