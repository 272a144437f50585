//! A disk without room.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use super::super::failure::Failure;
use super::*;

/// A file system of so many MiB, or the reason why there is none.
struct SmallDisk(PathBuf, #[expect(dead_code, reason = "it is removed with the mount point in it")] TempDir);

impl SmallDisk {
    fn mount(megabytes: u32) -> Result<Self, String> {
        let folder = folder();
        let path = folder.path().join("mount");
        fs::create_dir(&path).map_err(|error| error.to_string())?;
        let options = format!("size={megabytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&path).output();
        match mounted {
            Ok(output) if output.status.success() => Ok(Self(path, folder)),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_read_is_begun_again_while_the_archive_is_opened_again_but_not_for_longer_than_one_step_waits() {
    let folder = folder();
    let log = open(folder.path());
    let closed = || Err::<(), _>(Failure(redb::Error::DatabaseClosed));
    let now = Instant::now();
    assert!(log.shared.must_begin_again(&closed(), now).await);
    assert!(!log.shared.must_begin_again(&Ok::<_, Failure>(()), now).await);
    let long_ago = now.checked_sub(Duration::from_secs(5)).expect("a clock");
    assert!(!log.shared.must_begin_again(&closed(), long_ago).await);
}

#[tokio::test]
#[expect(clippy::print_stderr, reason = "a test that is skipped says why")]
async fn a_full_disk_refuses_publishes_serves_readers_and_heals() {
    let disk = match SmallDisk::mount(48) {
        Ok(disk) => disk,
        Err(reason) => return eprintln!("skipped: no small file system can be mounted: {}", reason.trim()),
    };
    let log_folder = disk.0.join("log");
    let log = open(&log_folder);
    // Somebody else's file, which will make room when it goes.
    let ballast = disk.0.join("ballast");
    fs::write(&ballast, vec![7; 20 << 20]).expect("room");

    let data = "x".repeat(10_000);
    let mut published = Vec::new();
    let refusal = loop {
        match append(&log, update("a", &data)).await {
            Ok(entry) => published.push(entry),
            Err(refusal) => break refusal,
        }
        assert!(published.len() < 10_000, "it never gets full");
    };
    assert!(matches!(refusal, AppendError::Full(_)), "{refusal}");
    assert!(published.len() > 500, "only {} fitted in", published.len());
    for _ in 0..3 {
        assert_eq!(read_all(&log).await, published, "readers go on");
        match append(&log, update("a", &data)).await {
            // The keeper may have found room for a few more.
            Ok(entry) => published.push(entry),
            Err(refusal) => assert!(matches!(refusal, AppendError::Full(_)), "{refusal}"),
        }
        log.sweep().await;
    }
    let crashed = crash(&log_folder);
    assert_eq!(read_all(&open(crashed.path())).await, published, "nothing is missing after a crash either");

    fs::remove_file(&ballast).expect("the ballast");
    let healed = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            match append(&log, update("a", "more")).await {
                Ok(entry) => return entry,
                Err(_) => log.sweep().await,
            }
        }
    });
    published.push(healed.await.expect("it heals by itself"));
    assert_eq!(read_all(&log).await, published);
    drop(log);
    assert_eq!(read_all(&open(&log_folder)).await, published);
}
