//! What is kept, and who is told of what is not.

use std::time::Duration;

use chrono::TimeDelta;
use tidings::server::log::{Bounds, Cursor, PageSize, Topic, Update};

use super::rig::{ALL, Beginning, Rig, any, exactly, update, with_id, with_ttl};

pub(crate) async fn retention_by_count_keeps_the_newest_and_tells_of_the_gap(rig: Rig) {
    rig.publish_many("a", 25).await;
    rig.log.sweep().await;
    assert_eq!(rig.log.bounds(), Bounds { oldest: rig.at(16), newest: rig.at(25) });
    for filter in [any(ALL), any(exactly(&["a"]))] {
        let expected: Vec<_> = (16..=25).collect();
        assert_eq!(rig.read_all(Cursor::START, filter.clone(), 4).await, (expected.clone(), true));
        assert_eq!(rig.read_all(rig.at(14), filter.clone(), 4).await, (expected.clone(), true));
        assert_eq!(rig.read_all(rig.at(15), filter, 4).await, (expected, false));
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

pub(crate) async fn what_is_kept_is_what_is_counted(rig: Rig) {
    let long = |number: usize| Topic::parse(&format!("{number}/{}", "x".repeat(4000))).expect("a topic");
    let topics: Vec<_> = (0..250).map(long).collect();
    let mut sizes = Vec::new();
    for _ in 0..20 {
        sizes.push(rig.publish(Update { topics: topics.clone(), ..update("a", "x") }).await.size());
    }
    rig.log.sweep().await;
    assert!(sizes.iter().all(|size| *size > 1_000_000));
    let kept: Vec<_> = (17..=20).collect();
    assert_eq!(rig.read_all(Cursor::START, ALL, 100).await, (kept, true), "5 MB are kept");
    let size = PageSize { entries: 100, bytes: 3_000_000 };
    for filter in [any(ALL), any(exactly(&[topics[7].as_str()]))] {
        let page = rig.reader(rig.at(16), filter).next(size).await.expect("a page");
        assert_eq!(page.entries.len(), 2, "and what a reader holds is counted alike");
    }
    assert_eq!(rig.log.topic(&topics[3]).await.expect("an answer").map(|info| info.updates), Some(4));
}

pub(crate) async fn topics_with_a_quota_evict_only_each_other(rig: Rig) {
    rig.publish_many("a", 10).await;
    for number in 0..30 {
        rig.publish(update(&format!("here/{number}"), "x")).await;
    }
    rig.log.sweep().await;
    let kept: Vec<_> = (1..=10).chain(21..=40).collect();
    assert_eq!(rig.read_all(Cursor::START, ALL, 100).await, (kept, true));
    assert!(!rig.read_all(Cursor::START, exactly(&["a"]), 100).await.1, "nothing else is missing");
    // Whoever uses such a topic to get more than the quota for others gets none.
    let both = ["here/1", "a"].map(|topic| Topic::parse(topic).expect("a topic"));
    rig.publish(Update { topics: both.into(), ..update("a", "x") }).await;
    rig.log.sweep().await;
    let kept: Vec<_> = (2..=10).chain(21..=41).collect();
    assert_eq!(rig.read_all(Cursor::START, ALL, 100).await, (kept, true));
}

pub(crate) async fn what_the_hub_says_itself_evicts_no_update(rig: Rig) {
    rig.publish_many("a", 10).await;
    let said = |count: usize| (0..count).map(|number| update(&format!("said/{number}"), "x")).collect::<Vec<_>>();
    let entries = rig.say(said(1000)).await;
    assert_eq!(
        entries.iter().map(|entry| rig.number(entry.cursor)).collect::<Vec<_>>(),
        (11..=1010).collect::<Vec<_>>()
    );
    rig.log.sweep().await;
    let kept: Vec<_> = (1..=10).chain(991..=1010).collect();
    assert_eq!(rig.read_all(Cursor::START, ALL, 100).await.0, kept);
    assert_eq!(rig.read_all(Cursor::START, exactly(&["a"]), 100).await, ((1..=10).collect(), false));
    assert_eq!(rig.log.locate(&entries[0].id).await.expect("an answer"), Some(rig.at(11)));
    assert_eq!(rig.log.topics(None, 10).await.expect("topics").len(), 1, "nor is it listed beside them");
    // And updates evict nothing of it.
    rig.publish_many("a", 10).await;
    rig.log.sweep().await;
    let kept: Vec<_> = (991..=1020).collect();
    assert_eq!(rig.read_all(Cursor::START, ALL, 100).await.0, kept);
}

pub(crate) async fn what_is_too_old_goes_whatever_stands_before_it(rig: Rig) {
    for topic in ["news", "jobs/1"] {
        rig.set_clock(TimeDelta::days(400));
        rig.publish_many(topic, 1).await;
        rig.set_clock(TimeDelta::days(-400));
        rig.publish_many(topic, 2).await;
    }
    rig.log.sweep().await;
    assert_eq!(rig.read_all(Cursor::START, ALL, 100).await.0, [1, 2, 3, 4, 5, 6]);
    rig.wait(Duration::from_secs(31));
    rig.publish_many("news", 1).await;
    rig.log.sweep().await;
    assert_eq!(rig.read_all(Cursor::START, ALL, 100).await.0, [1, 2, 3, 4, 7], "the topic's own age is over");
    rig.wait(Duration::from_secs(30));
    rig.log.sweep().await;
    assert_eq!(rig.read_all(Cursor::START, ALL, 100).await.0, [1, 4, 7], "and everybody's");
    rig.wait(Duration::from_secs(401 * 24 * 3600));
    rig.log.sweep().await;
    assert!(rig.read_all(Cursor::START, ALL, 100).await.0.is_empty());
}

pub(crate) async fn a_clock_that_is_set_takes_nothing_away_at_once(rig: Rig) {
    rig.publish_many("a", 5).await;
    rig.log.sweep().await;
    rig.set_clock(TimeDelta::days(365 * 56));
    rig.publish_many("a", 1).await;
    rig.log.sweep().await;
    assert_eq!(rig.read_all(Cursor::START, ALL, 100).await, ((1..=6).collect(), false));
    rig.wait(Duration::from_secs(59));
    rig.publish_many("a", 1).await;
    rig.log.sweep().await;
    assert_eq!(rig.read_all(Cursor::START, ALL, 100).await, ((1..=7).collect(), false));
    rig.wait(Duration::from_secs(2));
    rig.log.sweep().await;
    assert_eq!(rig.read_all(Cursor::START, ALL, 100).await, (vec![7], true), "then the limit holds again");
}

pub(crate) async fn retention_by_age_forgets_the_oldest(rig: Rig) {
    rig.publish_many("a", 5).await;
    rig.wait(Duration::from_secs(40));
    rig.publish_many("a", 5).await;
    rig.log.sweep().await;
    assert_eq!(rig.log.bounds().oldest, rig.at(1));
    rig.wait(Duration::from_secs(40));
    rig.log.sweep().await;
    assert_eq!(rig.read_all(rig.at(2), ALL, 100).await, ((6..=10).collect(), true));
    assert_eq!(rig.read_all(rig.at(5), ALL, 100).await, ((6..=10).collect(), false));
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
        assert_eq!(rig.read_all(rig.at(cursor), exactly(&[topic]), 100).await.1, gap, "{topic} {cursor}");
        assert_eq!(rig.read_all(rig.at(cursor), Beginning(topic), 100).await.1, gap, "{topic} {cursor}");
    }
    // Nothing has been forgotten altogether, so a topic that is not known has lost nothing.
    assert!(!rig.read_all(Cursor::START, exactly(&["unknown"]), 100).await.1);
}

pub(crate) async fn a_log_that_has_lost_everything_says_so(rig: Rig) {
    rig.publish_many("a", 5).await;
    rig.wait(Duration::from_secs(100));
    rig.log.sweep().await;
    assert_eq!(rig.log.bounds(), Bounds { oldest: rig.at(6), newest: rig.at(5) });
    for filter in [any(ALL), any(exactly(&["a"]))] {
        assert_eq!(rig.read_all(rig.at(2), filter.clone(), 10).await, (Vec::new(), true));
        assert_eq!(rig.read_all(rig.at(5), filter, 10).await, (Vec::new(), false));
    }
    assert_eq!(rig.publish(update("a", "x")).await.cursor, rig.at(6));
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
    assert_eq!(rig.read_all(rig.at(15), Beginning("jobs/"), 100).await, (vec![16, 18, 20], false));
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
    assert_eq!(rig.log.bounds().oldest, rig.at(2));
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
