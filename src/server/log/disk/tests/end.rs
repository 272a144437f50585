//! A log whose parts fail or hang: nobody waits for them for ever, and it says so.

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::*;

const SOON: Duration = Duration::from_secs(20);

async fn in_time<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, what).await.expect("an answer in time")
}

/// Waits until the log says that it is not well.
async fn unhealthy(log: &DiskLog) {
    in_time(async {
        while log.health().is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// A clock that panics once it is told to.
fn breaking() -> (TimeSource, Arc<AtomicBool>) {
    let is_broken = Arc::new(AtomicBool::new(false));
    let told = is_broken.clone();
    let wall = move || {
        assert!(!told.load(Ordering::Relaxed), "the clock is broken");
        DateTime::UNIX_EPOCH
    };
    (TimeSource::new(wall, || Duration::ZERO), is_broken)
}

#[tokio::test]
async fn a_writer_that_panics_makes_the_log_unhealthy_and_publishing_fail() {
    let folder = folder();
    let (clock, is_broken) = breaking();
    let (log, _) = DiskLog::open(folder.path(), Durability::Fsync, Retention::unlimited(), clock).expect("a log");
    append(&log, update("a", "1")).await.expect("room");
    assert_eq!(log.health(), Ok(()));
    is_broken.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        assert!(matches!(in_time(append(&log, update("a", "2"))).await, Err(AppendError::Failed(_))));
    }
    unhealthy(&log).await;
    is_broken.store(false, Ordering::Relaxed);
    drop(log);
    assert_eq!(read_all(&open(folder.path())).await.len(), 1);
}

#[tokio::test]
async fn an_archiver_that_panics_makes_the_log_unhealthy_and_publishing_fail() {
    let folder = folder();
    let (clock, is_broken) = breaking();
    let (log, _) = DiskLog::open(folder.path(), Durability::Fsync, Retention::unlimited(), clock).expect("a log");
    is_broken.store(true, Ordering::Relaxed);
    // It looks at the clock outside of what it does with the archive.
    in_time(log.sweep()).await;
    unhealthy(&log).await;
    is_broken.store(false, Ordering::Relaxed);
    for _ in 0..3 {
        assert!(matches!(in_time(append(&log, update("a", "2"))).await, Err(AppendError::Failed(_))));
        in_time(log.sweep()).await;
    }
}

#[tokio::test]
async fn a_disk_that_hangs_does_not_hang_the_end() {
    let folder = folder();
    let mut log = open(folder.path());
    log.close_within = Duration::from_millis(100);
    append(&log, update("a", "1")).await.expect("room");
    let shared = log.shared.clone();
    let hanging = shared.database.write().expect("the database");
    let begin = Instant::now();
    drop(log);
    assert!(begin.elapsed() < SOON);
    assert!(matches!(refusal(folder.path()), OpenError::Locked(_)), "what hangs may go on some time");
    drop(hanging);
}
