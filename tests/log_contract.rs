//! The log's contract: the same cases on every backend.

#[path = "log_contract/idempotency.rs"]
mod idempotency;
#[path = "support/nats.rs"]
mod nats;
#[path = "log_contract/pages.rs"]
mod pages;
#[path = "log_contract/retention.rs"]
mod retention;
#[path = "log_contract/rig.rs"]
mod rig;

use std::time::Duration;

use chrono::TimeDelta;
use idempotency::*;
use pages::*;
use retention::*;
use rig::{
    ALL, Backend, Beginning, Rig, any, exactly, keep, keep_of, keep_quota, keep_system, of_count, update, with_id,
};
use tidings::server::log::{Bounds, Cursor, Field, Limits, Retention, Topic, TopicFilter, TopicInfo, Update};

macro_rules! cases {
    ($module:ident: $backend:ident; $($case:ident: $retention:expr;)*) => {
        mod $module {
            $(#[tokio::test]
            async fn $case() {
                if let Some(rig) = Rig::open(Backend::$backend, $retention).await {
                    super::$case(rig).await;
                }
            })*
            use super::*;
        }
    };
}

macro_rules! contract {
    ($($case:ident: $retention:expr;)*) => {
        cases! { memory: Memory; $($case: $retention;)* }
        cases! { disk: Disk; $($case: $retention;)* }
        cases! { cluster: Cluster; $($case: $retention;)* }
    };
}

macro_rules! contract_of_local_logs {
    ($($case:ident: $retention:expr;)*) => {
        cases! { memory_by_the_clock: Memory; $($case: $retention;)* }
        cases! { disk_by_the_clock: Disk; $($case: $retention;)* }
    };
}

contract! {
    an_empty_log_has_nothing_to_read: Retention::default();
    a_reader_costs_no_look_at_what_it_can_not_want: Retention::default();
    entries_are_in_the_order_in_which_they_were_appended: Retention::default();
    an_entry_says_what_was_published: Retention::default();
    the_tail_hears_every_entry_in_order: Retention::default();
    a_batch_is_appended_one_after_the_other: Retention::default();
    an_exact_topic_is_read_by_pages: Retention::default();
    several_topics_are_merged_in_order: Retention::default();
    an_update_on_several_topics_is_read_once: Retention::default();
    a_filter_that_cannot_list_its_topics_finds_them_all: Retention::default();
    a_rare_topic_is_found_by_a_filter_among_many_others: Retention::default();
    reading_backwards_begins_with_the_newest: Retention::default();
    an_id_is_found_where_it_was_used_first: Retention::default();
    an_id_that_the_log_made_is_found: Retention::default();
    ids_that_the_log_made_are_all_different: Retention::default();
    an_unknown_id_is_not_found: Retention::default();
    retention_by_count_keeps_the_newest_and_tells_of_the_gap: keep(10);
    retention_by_bytes_keeps_the_newest: Retention::of(Limits { bytes: Some(1000), ..Limits::default() });
    a_gap_concerns_only_those_who_lost_something: keep(10);
    a_log_that_has_lost_everything_says_so: Retention::of(Limits { age: Some(Duration::from_secs(60)), ..Limits::default() });
    a_topic_has_limits_of_its_own: keep_of("jobs/*", of_count(3));
    what_is_kept_is_what_is_counted: Retention::of(Limits { bytes: Some(5_000_000), ..Limits::default() });
    topics_with_a_quota_evict_only_each_other: keep_quota(10, "here/*", 20);
    what_the_hub_says_itself_evicts_no_update: keep_system(10, 20);
    topics_are_listed_with_what_is_kept_on_them: keep(20);
    a_log_that_is_well_says_so: Retention::default();
    an_update_has_its_own_time_and_leaves_no_gap: Retention::default();
    a_made_id_leads_to_its_place_after_its_update_has_gone: keep(10);
    concurrent_appends_are_all_kept_once: Retention::default();
    a_page_has_as_many_entries_as_its_bytes_hold: Retention::default();
    an_entry_larger_than_a_page_comes_alone: Retention::default();
    a_page_that_ends_early_tells_of_a_gap_all_the_same: keep(30);
    a_loss_is_told_once_to_a_reader_that_reads_on: keep_of("jobs/*", of_count(3));
    a_reader_that_reads_on_finds_topics_that_are_new: Retention::default();
    an_append_that_is_repeated_with_its_key_answers_the_first_ones_ids: Retention::default();
    a_key_that_was_used_for_other_updates_is_refused: Retention::default();
    of_updates_whose_ids_are_partly_taken_none_is_appended: Retention::default();
    a_repeat_is_known_by_what_is_left_of_the_first: keep(10);
    repeats_at_the_same_time_append_once: Retention::default();
    a_caller_that_gives_up_and_repeats_appends_once: Retention::default();
}

// By a clock that the test sets: a cluster goes by the clock of its stream.
contract_of_local_logs! {
    retention_by_age_forgets_the_oldest: Retention::of(Limits { age: Some(Duration::from_secs(60)), ..Limits::default() });
    a_topic_has_an_age_of_its_own: keep_of("jobs/*", Limits { age: Some(Duration::from_secs(60)), ..Limits::default() });
    what_is_too_old_goes_whatever_stands_before_it: two_ages();
    a_clock_that_is_set_takes_nothing_away_at_once: Retention::of(Limits { age: Some(Duration::from_secs(60)), ..Limits::default() });
    an_expired_update_is_not_read_before_it_is_removed: Retention::default();
    a_reader_that_reads_on_is_told_when_a_topic_loses_all_it_had: keep_of("jobs/*", Limits { age: Some(Duration::from_secs(60)), ..Limits::default() });
}

/// A minute, and half of it for jobs.
fn two_ages() -> Retention {
    let age = |seconds| Limits { age: Some(Duration::from_secs(seconds)), ..Limits::default() };
    Retention { all: age(60), ..keep_of("jobs/*", age(30)) }
}

async fn topics_are_listed_with_what_is_kept_on_them(rig: Rig) {
    let names = |infos: Vec<TopicInfo>| infos.iter().map(|info| info.topic.to_string()).collect::<Vec<_>>();
    rig.publish_many("gone", 1).await;
    for topic in ["c", "a", "b"] {
        rig.publish_many(topic, 5).await;
    }
    let topics = ["a", "b", "a"].map(|topic| Topic::parse(topic).expect("a topic"));
    rig.publish(Update { topics: topics.clone().into(), ..update("a", "x") }).await;
    rig.say(vec![update("said", "x")]).await;
    rig.publish_many("d", 4).await;
    for half in 0..2 {
        let b = rig.log.topic(&topics[1]).await.expect("an answer").expect("a topic");
        assert_eq!((b.updates, b.newest), (6, rig.at(17)));
        assert_eq!(names(rig.log.topics(Some(&topics[0]), 2).await.expect("topics")), ["b", "c"]);
        if half == 0 {
            rig.log.sweep().await;
        }
    }
    let all = rig.log.topics(None, 100).await.expect("topics");
    assert!(all.iter().all(|info| info.bytes > 0));
    assert_eq!(names(all), ["a", "b", "c", "d"]);
    for none in ["gone", "said", "never"] {
        let none = Topic::parse(none).expect("a topic");
        assert_eq!(rig.log.topic(&none).await.expect("an answer"), None);
    }
}

async fn a_log_that_is_well_says_so(rig: Rig) {
    rig.publish_many("a", 3).await;
    assert_eq!(rig.log.health(), Ok(()));
}

async fn an_empty_log_has_nothing_to_read(rig: Rig) {
    assert_eq!(rig.log.bounds(), Bounds { oldest: rig.at(1), newest: Cursor::START });
    for filter in [any(ALL), any(exactly(&["a"]))] {
        let page = rig.read(Cursor::START, filter.clone(), 10).await;
        assert!(page.entries.is_empty() && !page.more && !page.gap);
        assert!(rig.log.read_before(None, &*filter, 10).await.expect("a page").is_empty());
    }
}

async fn entries_are_in_the_order_in_which_they_were_appended(rig: Rig) {
    let first = rig.publish(update("a", "1")).await;
    let second = rig.publish(update("b", "2")).await;
    assert!(first.cursor < second.cursor);
    assert_eq!(rig.log.bounds(), Bounds { oldest: first.cursor, newest: second.cursor });
    let page = rig.read(Cursor::START, ALL, 10).await;
    assert_eq!(page.entries, [first, second.clone()]);
    assert_eq!((page.next, page.more, page.gap), (second.cursor, false, false));
}

async fn an_entry_says_what_was_published(rig: Rig) {
    let published = rig
        .publish(Update {
            topics: vec![Topic::parse("a").expect("a topic"), Topic::parse("b").expect("a topic")],
            data: "one\ntwo".into(),
            id: Some(Field::parse("id-1").expect("an id")),
            event: Some(Field::parse("news").expect("a name")),
            retry: Some(2000),
            private: true,
            ttl: Some(Duration::from_secs(5)),
        })
        .await;
    for _ in 0..2 {
        let read = &rig.read(Cursor::START, exactly(&["b"]), 10).await.entries[0];
        assert_eq!(*read, published);
        assert_eq!(&*read.frame, b"id: id-1\nevent: news\nretry: 2000\ndata: one\ndata: two\n\n");
        assert_eq!(read.data(), "one\ntwo");
        assert!(read.private);
        assert_eq!(read.expires_at.map(|at| at - read.at), Some(TimeDelta::seconds(5)));
        // The second time from wherever the backend puts it for good.
        rig.log.sweep().await;
    }
}

async fn the_tail_hears_every_entry_in_order(mut rig: Rig) {
    let mut published = rig.publish_many("a", 100).await;
    published.push(rig.publish(update("b", "last")).await);
    for entry in published {
        assert_eq!(rig.heard.recv().await, Some(entry));
    }
}

async fn a_batch_is_appended_one_after_the_other(rig: Rig) {
    let batch = rig.publish_many("a", 100).await;
    assert!(batch.windows(2).all(|pair| pair[0].cursor.next() == pair[1].cursor));
    assert_eq!(batch[99].data(), "99");
    assert!(rig.append(Vec::new()).await.is_empty());
}

async fn an_exact_topic_is_read_by_pages(rig: Rig) {
    for _ in 0..50 {
        rig.publish_many("a", 1).await;
        rig.publish_many("b", 9).await;
    }
    for _ in 0..2 {
        for limit in [1, 7, 50, 1000] {
            let (numbers, gap) = rig.read_all(Cursor::START, exactly(&["a"]), limit).await;
            assert_eq!(numbers, (0..50).map(|n| n * 10 + 1).collect::<Vec<_>>());
            assert!(!gap);
        }
        let (numbers, _) = rig.read_all(rig.at(401), exactly(&["a"]), 3).await;
        assert_eq!(numbers, (41..50).map(|n| n * 10 + 1).collect::<Vec<_>>());
        rig.log.sweep().await;
    }
}

async fn several_topics_are_merged_in_order(rig: Rig) {
    for topic in ["a", "b", "c", "b", "a", "c", "a"] {
        rig.publish(update(topic, "x")).await;
    }
    for _ in 0..2 {
        for limit in [1, 2, 100] {
            let (numbers, _) = rig.read_all(Cursor::START, exactly(&["a", "b", "unknown"]), limit).await;
            assert_eq!(numbers, [1, 2, 4, 5, 7]);
        }
        rig.log.sweep().await;
    }
}

async fn an_update_on_several_topics_is_read_once(rig: Rig) {
    let topics = ["a", "b", "a"].map(|topic| Topic::parse(topic).expect("a topic"));
    let published = rig.publish(Update { topics: topics.into(), ..update("a", "x") }).await;
    for _ in 0..2 {
        let page = rig.read(Cursor::START, exactly(&["a", "b"]), 10).await;
        let read: Vec<_> = page.entries.iter().map(|entry| (entry.cursor, entry.topics[0].as_str())).collect();
        assert_eq!(read, [(published.cursor, "a")]);
        rig.log.sweep().await;
    }
}

async fn a_filter_that_cannot_list_its_topics_finds_them_all(rig: Rig) {
    for number in 0..3000 {
        rig.publish_many(["jobs/1", "jobs/2", "news"][number % 3], 1).await;
    }
    for _ in 0..2 {
        for limit in [64, 5000] {
            let (numbers, gap) = rig.read_all(Cursor::START, Beginning("jobs/"), limit).await;
            assert_eq!(numbers, (1..=3000).filter(|cursor| cursor % 3 != 0).collect::<Vec<_>>());
            assert!(!gap);
        }
        rig.log.sweep().await;
    }
}

async fn a_rare_topic_is_found_by_a_filter_among_many_others(rig: Rig) {
    let mut wanted = Vec::new();
    for _ in 0..3 {
        wanted.push(rig.number(rig.publish(update("rare", "x")).await.cursor));
        for _ in 0..10 {
            rig.publish_many("often", 1000).await;
        }
    }
    for _ in 0..2 {
        assert_eq!(rig.read_all(Cursor::START, Beginning("rare"), 10).await.0, wanted);
        assert_eq!(rig.read_all(rig.at(1), Beginning("rare"), 1).await.0, wanted[1..]);
        let before = rig.log.read_before(None, &Beginning("rare"), 2).await.expect("a page");
        assert_eq!(before.iter().map(|entry| rig.number(entry.cursor)).collect::<Vec<_>>(), [wanted[2], wanted[1]]);
        rig.log.sweep().await;
    }
}

async fn reading_backwards_begins_with_the_newest(rig: Rig) {
    for topic in ["a", "b", "a", "b", "a"] {
        rig.publish(update(topic, "x")).await;
    }
    for half in 0..2 {
        for filter in [&exactly(&["a"]) as &dyn TopicFilter, &Beginning("a")] {
            let newest = rig.log.read_before(None, filter, 2).await.expect("a page");
            assert_eq!(newest.iter().map(|entry| rig.number(entry.cursor)).collect::<Vec<_>>(), [5, 3]);
            let older = rig.log.read_before(Some(rig.at(3)), filter, 2).await.expect("a page");
            assert_eq!(older.iter().map(|entry| rig.number(entry.cursor)).collect::<Vec<_>>(), [1]);
        }
        if half == 0 {
            rig.log.sweep().await;
        }
    }
    rig.publish_many("a", 1).await;
    let both = rig.log.read_before(None, &exactly(&["a"]), 9).await.expect("a page");
    assert_eq!(both.iter().map(|entry| rig.number(entry.cursor)).collect::<Vec<_>>(), [6, 5, 3, 1]);
}

async fn an_id_is_found_where_it_was_used_first(rig: Rig) {
    for id in ["x", "y", "x"] {
        rig.publish(with_id("a", id)).await;
    }
    for _ in 0..2 {
        assert_eq!(rig.log.find("x").await.expect("an answer").map(|entry| entry.cursor), Some(rig.at(1)));
        assert_eq!(rig.log.locate("y").await.expect("an answer"), Some(rig.at(2)));
        rig.log.sweep().await;
    }
}

async fn an_id_that_the_log_made_is_found(rig: Rig) {
    let entry = rig.publish(update("a", "x")).await;
    assert!(entry.id.starts_with("urn:uuid:"));
    // Somebody else gives the same id: the first one counts.
    rig.publish(with_id("a", &entry.id)).await;
    for _ in 0..2 {
        assert_eq!(rig.log.find(&entry.id).await.expect("an answer"), Some(entry.clone()));
        rig.log.sweep().await;
    }
}

async fn ids_that_the_log_made_are_all_different(rig: Rig) {
    let ids: std::collections::BTreeSet<_> =
        rig.publish_many("a", 1000).await.iter().map(|entry| entry.id.clone()).collect();
    assert_eq!(ids.len(), 1000);
}

async fn an_unknown_id_is_not_found(rig: Rig) {
    rig.publish_many("a", 3).await;
    for id in ["", "x", "urn:uuid:5e94c686-2c0b-4f9b-958c-92ccc3bbb4eb"] {
        assert_eq!(rig.log.find(id).await.expect("an answer"), None);
        assert_eq!(rig.log.locate(id).await.expect("an answer"), None);
    }
}

async fn a_made_id_leads_to_its_place_after_its_update_has_gone(rig: Rig) {
    let published = rig.publish_many("a", 25).await;
    rig.log.sweep().await;
    assert_eq!(rig.log.find(&published[4].id).await.expect("an answer"), None);
    assert_eq!(rig.log.locate(&published[4].id).await.expect("an answer"), Some(published[4].cursor));
}

async fn concurrent_appends_are_all_kept_once(mut rig: Rig) {
    let mut publishers = tokio::task::JoinSet::new();
    for publisher in 0..16 {
        let log = rig.log.clone();
        publishers.spawn(async move {
            let mut cursors = Vec::new();
            for number in 0..20 {
                let update = update("a", &format!("{publisher}:{number}"));
                cursors.push(log.append(vec![update], None).await.expect("room").into_entries()[0].cursor);
            }
            assert!(cursors.is_sorted(), "one publisher's updates keep their order");
        });
    }
    let mut heard = Vec::new();
    while heard.len() < 320 {
        heard.push(rig.heard.recv().await.expect("an entry"));
    }
    publishers.join_all().await;
    let page = rig.read(Cursor::START, ALL, 1000).await;
    assert_eq!(page.entries, heard);
}
