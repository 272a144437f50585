//! What is kept, and who is told of what is not.

use std::time::Duration;

use tidings::server::log::{Bounds, Cursor, Update};

use super::rig::{ALL, Beginning, Rig, any, exactly, update, with_id, with_ttl};

pub(crate) async fn retention_by_count_keeps_the_newest_and_tells_of_the_gap(rig: Rig) {
    rig.publish_many("a", 25).await;
    rig.log.sweep().await;
    assert_eq!(rig.log.bounds(), Bounds { oldest: Cursor(16), newest: Cursor(25) });
    for filter in [any(ALL), any(exactly(&["a"]))] {
        let expected: Vec<_> = (16..=25).collect();
        assert_eq!(rig.read_all(Cursor::START, filter.clone(), 4).await, (expected.clone(), true));
        assert_eq!(rig.read_all(Cursor(14), filter.clone(), 4).await, (expected.clone(), true));
        assert_eq!(rig.read_all(Cursor(15), filter, 4).await, (expected, false));
    }
}

pub(crate) async fn retention_by_bytes_keeps_the_newest(rig: Rig) {
    let data = "x".repeat(80);
    for _ in 0..50 {
        rig.publish(update("a", &data)).await;
    }
    rig.log.sweep().await;
    let (cursors, gap) = rig.read_all(Cursor::START, ALL, 100).await;
    assert!(gap && (4..=10).contains(&cursors.len()) && cursors.ends_with(&[50]), "{cursors:?}");
}

pub(crate) async fn what_has_an_allowance_of_its_own_pushes_nothing_else_out(rig: Rig) {
    rig.publish_many("a", 10).await;
    for number in 0..20 {
        rig.publish(with_ttl(&format!("here/{number}"), 60)).await;
    }
    rig.log.sweep().await;
    assert_eq!(rig.read_all(Cursor::START, ALL, 100).await, ((1..=30).collect(), false));
    rig.publish_many("here/too many", 5).await;
    rig.log.sweep().await;
    assert_eq!(rig.read_all(Cursor::START, ALL, 100).await, ((6..=35).collect(), true));
    rig.wait(Duration::from_secs(60));
    rig.publish_many("a", 10).await;
    rig.log.sweep().await;
    assert_eq!(rig.read_all(Cursor(5), ALL, 100).await, ((31..=45).collect(), true), "what has gone counts no more");
}

pub(crate) async fn retention_by_age_forgets_the_oldest(rig: Rig) {
    rig.publish_many("a", 5).await;
    rig.wait(Duration::from_secs(40));
    rig.publish_many("a", 5).await;
    rig.log.sweep().await;
    assert_eq!(rig.log.bounds().oldest, Cursor(1));
    rig.wait(Duration::from_secs(40));
    rig.log.sweep().await;
    assert_eq!(rig.read_all(Cursor(2), ALL, 100).await, ((6..=10).collect(), true));
    assert_eq!(rig.read_all(Cursor(5), ALL, 100).await, ((6..=10).collect(), false));
}

pub(crate) async fn a_gap_concerns_only_those_who_lost_something(rig: Rig) {
    rig.publish_many("kept", 1).await;
    rig.publish_many("lost", 5).await;
    rig.publish_many("kept", 1).await;
    rig.publish_many("lost", 8).await;
    rig.publish_many("kept", 5).await;
    rig.log.sweep().await;
    // 1 to 10 are gone: 7 was the last of them on `kept`.
    for (topic, cursor, gap) in [("kept", 6, true), ("kept", 7, false), ("lost", 9, true), ("lost", 10, false)] {
        assert_eq!(rig.read_all(Cursor(cursor), exactly(&[topic]), 100).await.1, gap, "{topic} {cursor}");
        assert_eq!(rig.read_all(Cursor(cursor), Beginning(topic), 100).await.1, gap, "{topic} {cursor}");
    }
    // Nothing has been forgotten altogether, so a topic that is not known has lost nothing.
    assert!(!rig.read_all(Cursor::START, exactly(&["unknown"]), 100).await.1);
}

pub(crate) async fn a_log_that_has_lost_everything_says_so(rig: Rig) {
    rig.publish_many("a", 5).await;
    rig.wait(Duration::from_secs(100));
    rig.log.sweep().await;
    assert_eq!(rig.log.bounds(), Bounds { oldest: Cursor(6), newest: Cursor(5) });
    for filter in [any(ALL), any(exactly(&["a"]))] {
        assert_eq!(rig.read_all(Cursor(2), filter.clone(), 10).await, (Vec::new(), true));
        assert_eq!(rig.read_all(Cursor(5), filter, 10).await, (Vec::new(), false));
    }
    assert_eq!(rig.publish(update("a", "x")).await.cursor, Cursor(6));
}

pub(crate) async fn a_topic_has_limits_of_its_own(rig: Rig) {
    for number in 1..=20 {
        rig.publish_many(["jobs/1", "news"][number % 2], 1).await;
    }
    rig.log.sweep().await;
    assert_eq!(rig.read_all(Cursor::START, exactly(&["jobs/1"]), 100).await, (vec![16, 18, 20], true));
    let news: Vec<_> = (0..10).map(|n| n * 2 + 1).collect();
    assert_eq!(rig.read_all(Cursor::START, exactly(&["news"]), 100).await, (news.clone(), false));
    assert_eq!(rig.read_all(Cursor::START, Beginning("news"), 100).await, (news, false));
    assert_eq!(rig.read_all(Cursor(15), Beginning("jobs/"), 100).await, (vec![16, 18, 20], false));
}

pub(crate) async fn a_topic_has_an_age_of_its_own(rig: Rig) {
    rig.publish_many("jobs/1", 2).await;
    rig.publish_many("news", 2).await;
    rig.wait(Duration::from_secs(100));
    rig.publish_many("jobs/1", 1).await;
    rig.log.sweep().await;
    assert_eq!(rig.read_all(Cursor::START, ALL, 100).await, (vec![3, 4, 5], true));
    assert_eq!(rig.read_all(Cursor::START, exactly(&["news"]), 100).await, (vec![3, 4], false));
}

pub(crate) async fn an_update_has_its_own_time_and_leaves_no_gap(rig: Rig) {
    rig.publish(with_ttl("a", 10)).await;
    rig.publish(with_ttl("a", 30)).await;
    rig.publish(update("b", "x")).await;
    rig.wait(Duration::from_secs(20));
    rig.log.sweep().await;
    assert_eq!(rig.log.bounds().oldest, Cursor(2));
    for filter in [any(ALL), any(exactly(&["a", "b"]))] {
        assert_eq!(rig.read_all(Cursor::START, filter.clone(), 100).await, (vec![2, 3], false));
    }
    rig.wait(Duration::from_secs(20));
    rig.log.sweep().await;
    assert_eq!(rig.read_all(Cursor::START, exactly(&["a"]), 100).await, (Vec::new(), false));
}

pub(crate) async fn an_expired_update_is_not_read_before_it_is_removed(rig: Rig) {
    let entry = rig.publish(Update { ttl: Some(Duration::from_secs(10)), ..with_id("a", "x") }).await;
    for half in 0..2 {
        assert_eq!(rig.read_all(Cursor::START, ALL, 100).await.0, [1]);
        assert_eq!(rig.log.find("x").await.expect("an answer"), Some(entry.clone()));
        if half == 0 {
            rig.log.sweep().await;
        }
    }
    rig.wait(Duration::from_secs(10));
    for filter in [any(ALL), any(exactly(&["a"]))] {
        assert_eq!(rig.read_all(Cursor::START, filter.clone(), 100).await, (Vec::new(), false));
        assert!(rig.log.read_before(None, &*filter, 10).await.expect("a page").is_empty());
    }
    assert_eq!(rig.log.find("x").await.expect("an answer"), None);
}
