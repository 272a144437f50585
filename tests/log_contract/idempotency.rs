//! An append that is repeated with its key.

use std::task::{Context, Waker};

use tidings::server::log::{AppendError, Appended, Cursor, IdempotencyKey, Update};

use super::rig::{ALL, Rig, update, with_id};

const KEY: Option<IdempotencyKey> = Some(IdempotencyKey([1; 32]));
const OTHER: Option<IdempotencyKey> = Some(IdempotencyKey([2; 32]));

async fn kept(rig: &Rig) -> Vec<u64> {
    rig.read_all(Cursor::START, ALL, 100).await.0
}

fn two() -> Vec<Update> {
    vec![update("a", "1"), update("a", "2")]
}

pub(crate) async fn an_append_that_is_repeated_with_its_key_answers_the_first_ones_ids(rig: Rig) {
    let first = rig.try_append(two(), KEY).await.expect("room");
    assert!(matches!(first, Appended::New(_)));
    let first = first.into_ids();
    for _ in 0..2 {
        let again = rig.try_append(two(), KEY).await.expect("an answer");
        assert!(matches!(again, Appended::Repeated(_)));
        assert_eq!(again.into_ids(), first);
        rig.log.sweep().await;
    }
    assert_ne!(rig.try_append(two(), OTHER).await.expect("room").into_ids(), first);
    assert_eq!(kept(&rig).await, [1, 2, 3, 4]);
}

pub(crate) async fn a_key_that_was_used_for_other_updates_is_refused(rig: Rig) {
    rig.try_append(two(), KEY).await.expect("room");
    for _ in 0..2 {
        for others in [vec![update("a", "other")], vec![update("a", "1"), update("b", "2")]] {
            assert!(matches!(rig.try_append(others, KEY).await, Err(AppendError::Conflict(_))));
        }
        rig.log.sweep().await;
    }
    assert_eq!(kept(&rig).await, [1, 2]);
}

pub(crate) async fn of_updates_whose_ids_are_partly_taken_none_is_appended(rig: Rig) {
    rig.publish(with_id("a", "taken")).await;
    for _ in 0..2 {
        for rest in [with_id("a", "free"), update("a", "x")] {
            let refusal = rig.try_append(vec![with_id("a", "taken"), rest], KEY).await;
            assert!(matches!(refusal, Err(AppendError::Conflict(_))), "{refusal:?}");
        }
        rig.log.sweep().await;
    }
    assert_eq!(kept(&rig).await, [1]);
    assert_eq!(rig.log.find("free").await.expect("an answer"), None);
}

pub(crate) async fn a_repeat_is_known_by_what_is_left_of_the_first(rig: Rig) {
    let ids = rig.try_append(two(), KEY).await.expect("room").into_ids();
    rig.publish_many("b", 9).await;
    rig.log.sweep().await;
    assert_eq!(kept(&rig).await.first(), Some(&2), "the first of the two has been evicted");
    assert_eq!(rig.try_append(two(), KEY).await.expect("an answer").into_ids(), ids);
    assert_eq!(kept(&rig).await.last(), Some(&11));
}

pub(crate) async fn repeats_at_the_same_time_append_once(rig: Rig) {
    let mut repeats = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let log = rig.log.clone();
        repeats.spawn(async move { log.append(two(), KEY).await.expect("an answer") });
    }
    let answers = repeats.join_all().await;
    answers.iter().for_each(|answer| rig.record(answer));
    let ids: Vec<_> = answers.into_iter().map(Appended::into_ids).collect();
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(kept(&rig).await, [1, 2]);
}

pub(crate) async fn a_caller_that_gives_up_and_repeats_appends_once(rig: Rig) {
    for polls in 1..40 {
        let key = Some(IdempotencyKey([polls; 32]));
        let mut first = rig.log.append(two(), key);
        for _ in 0..polls {
            if first.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(first);
        rig.try_append(two(), key).await.expect("an answer");
        assert_eq!(rig.log.figures().updates.count, 2 * u64::from(polls), "given up after {polls} polls");
    }
}
