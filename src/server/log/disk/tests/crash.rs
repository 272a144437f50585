//! What is not flushed may be lost in a crash. What was seen of it is not seen again as something else.

use super::*;
use crate::server::log::Lane;

#[tokio::test]
async fn a_cursor_that_was_seen_and_lost_in_a_crash_is_not_given_again() {
    let folder = folder();
    let log = open(folder.path());
    let kept = append(&log, update("a", "1")).await.expect("room");
    log.append_system(vec![update("said", "1")]).await.expect("room");
    // Whatever comes from here on is not on the disk when the power is cut.
    let crashed = crash(folder.path());
    let seen = log.append_system(vec![update("said", "2"); 100]).await.expect("room");
    drop(log);

    let mut crashed = crashed;
    for round in 0..3 {
        let log = open(crashed.path());
        let mut whole = log.reader(Cursor::START, Arc::new(Everything));
        let page = whole.next(PageSize { entries: 1000, bytes: usize::MAX }).await.expect("a page");
        assert_eq!((page.next, page.more), (log.bounds().newest, false), "a reader reaches the newest cursor, {round}");
        for seen in &seen {
            assert_eq!(log.locate(&seen.id).await.expect("an answer"), Some(seen.cursor), "it leads on, {round}");
        }
        let next = append(&log, update("a", &round.to_string())).await.expect("room");
        assert!(next.cursor > seen[99].cursor, "{} was given before, round {round}", next.cursor);
        let mut reader = log.reader(seen[50].cursor, Arc::new(Everything));
        let page = reader.next(PageSize { entries: 100, bytes: usize::MAX }).await.expect("a page");
        assert_eq!(page.entries.len(), round + 1, "whoever has seen them gets what is new");
        assert_eq!(log.find(&kept.id).await.expect("an answer"), Some(kept.clone()));
        // It crashes again, or is closed.
        let copy = crash(crashed.path());
        drop(log);
        if round % 2 == 0 {
            crashed = copy;
        }
    }
}

#[tokio::test]
async fn cursors_follow_one_another_over_a_clean_end() {
    let folder = folder();
    for round in 0..3 {
        let log = open(folder.path());
        let said = log.append_system(vec![update("said", "x")]).await.expect("room");
        assert_eq!((said[0].cursor, said[0].lane), (Cursor(round * 2 + 1), Lane::System));
        assert_eq!(append(&log, update("a", "x")).await.expect("room").cursor, Cursor(round * 2 + 2));
    }
    let log = open(folder.path());
    assert_eq!(log.bounds(), Bounds { oldest: Cursor(1), newest: Cursor(6) });
    assert_eq!(read_all(&log).await.len(), 6);
}

#[tokio::test]
async fn what_the_hub_says_is_kept_over_a_crash_of_the_process() {
    let folder = folder();
    let log = open(folder.path());
    append(&log, update("a", "1")).await.expect("room");
    for _ in 0..5 {
        log.append_system(vec![update("said", "x")]).await.expect("room");
    }
    append(&log, update("a", "2")).await.expect("room");
    log.append_system(vec![update("said", "x")]).await.expect("room");
    let kept = read_all(&log).await;
    let crashed = crash(folder.path());
    assert_eq!(read_all(&open(crashed.path())).await, kept);
}

#[tokio::test]
async fn updates_from_the_future_are_counted_for_the_operator() {
    let folder = folder();
    let future = std::time::SystemTime::now() + Duration::from_secs(24 * 3600);
    let clock = TimeSource::new(move || future.into(), || Duration::ZERO);
    let (log, _) = DiskLog::open(folder.path(), Durability::Fsync, Retention::unlimited(), clock).expect("a log");
    append(&log, update("a", "1")).await.expect("room");
    drop(log);
    append(&open(folder.path()), update("a", "2")).await.expect("room");
    let stat = maintenance::stat(folder.path()).expect("a count");
    assert_eq!((stat.updates, stat.future), (2, 1));
}
