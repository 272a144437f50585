//! Reconnecting to `/stream`: in the middle of a burst, after its end, and with an unknown id.

use tidings::server::settings::Options;
use tidings::wire::message::Message;

use crate::app::{App, Ask, millis};
use crate::listener::burst;

#[tokio::test]
async fn a_client_that_is_cut_off_in_mid_burst_gets_the_rest() {
    let app = App::start().await;
    let mut listener = app.open("/stream").await;
    let message = app.post_message("Hello").await;
    let first = listener.event().await;
    drop(listener);
    for path in ["/stream", &message.stream] {
        assert_eq!(app.reopen(path, &first.id).await.rest().await, burst(&message, 2, 3), "{path}");
    }
}

#[tokio::test]
async fn the_rest_of_a_burst_is_what_follows_the_last_event() {
    let app = App::start().await;
    let message = app.post_message("Hello").await;
    for (had, from) in [(0, 1), (1, 2), (2, 3), (3, 4), (4, 4), (u32::MAX, 4)] {
        let id = format!("{}:{had}", message.id);
        for path in ["/stream", &message.stream] {
            assert_eq!(app.reopen(path, &id).await.rest().await, burst(&message, from, 3), "{path} after {id}");
        }
    }
}

#[tokio::test]
async fn the_query_stands_in_for_the_header_which_takes_precedence() {
    let app = App::start().await;
    let Message { id, stream, .. } = &app.post_message("Hello").await;
    let message = app.get(&format!("/api/messages/{id}")).await.json();
    for parameter in ["last_event_id", "lastEventId"] {
        for path in [format!("/stream?{parameter}={id}:2"), format!("{stream}&{parameter}={id}%3A2")] {
            assert_eq!(app.open(&path).await.rest().await, burst(&message, 3, 3), "{path}");
        }
    }
    let both = format!("{stream}&last_event_id={id}:close");
    assert_eq!(app.reopen(&both, &format!("{id}:1")).await.rest().await, burst(&message, 2, 3));
}

#[tokio::test]
async fn a_finished_burst_of_one_message_is_answered_204_which_stops_an_event_source() {
    let app = App::start().await;
    let Message { id, stream, .. } = app.post_message("Hello").await;
    let close = app.open(&stream).await.rest().await.pop().expect("a close").id;
    assert_eq!(close, format!("{id}:close"));
    let by_header = app.stream(&stream).header("last-event-id", &close).answer().await;
    let by_query = app.get(&format!("{stream}&last_event_id={close}")).await;
    for answer in [by_header, by_query] {
        assert_eq!(answer.assert_status(204).header("access-control-allow-origin"), "*");
        assert_eq!(answer.body, "");
    }
}

#[tokio::test]
async fn the_end_of_another_burst_does_not_shorten_this_one() {
    let app = App::start().await;
    let (one, two) = (app.post_message("one").await, app.post_message("two").await);
    for id in [format!("{}:close", one.id), format!("{}:2", one.id), "nonsense".into(), format!("{}:x", two.id)] {
        assert_eq!(app.reopen(&two.stream, &id).await.rest().await, burst(&two, 1, 3), "{id}");
    }
}

#[tokio::test]
async fn after_a_finished_burst_comes_the_next_message_at_once_if_it_was_published_meanwhile() {
    let app = App::start().await;
    let one = app.post_message("one").await;
    let (two, three) = (app.post_message("two").await, app.post_message("three").await);
    let mut listener = app.reopen("/stream", &format!("{}:close", one.id)).await;
    assert_eq!(listener.rest().await, burst(&two, 1, 3));
    let mut listener = app.open(&format!("/stream?last_event_id={}:close", two.id)).await;
    assert_eq!(listener.rest().await, burst(&three, 1, 3));
    let mut listener = app.reopen("/stream", &format!("{}:close", three.id)).await;
    let four = app.post_message("four").await;
    assert_eq!(listener.rest().await, burst(&four, 1, 3));
}

#[tokio::test]
async fn nothing_is_missed_between_connections() {
    let app = App::start_with(Options { burst_interval: Some(millis(3)), ..Options::default() }).await;
    let mut listener = app.open("/stream").await;
    let posting = async {
        let mut messages = Vec::new();
        for n in 0..20 {
            messages.push(app.post_message(&format!("message {n}")).await);
            tokio::time::sleep(std::time::Duration::from_millis(n % 5)).await;
        }
        messages
    };
    let reading = async {
        let mut heard = Vec::new();
        for _ in 0..20 {
            let events = listener.rest().await;
            let last = events.last().expect("a close").id.clone();
            heard.push(events);
            listener = app.reopen("/stream", &last).await;
        }
        heard
    };
    let (messages, heard) = tokio::join!(posting, reading);
    let expected: Vec<_> = messages.iter().map(|message| burst(message, 1, 3)).collect();
    assert_eq!(heard, expected);
}

#[tokio::test]
async fn an_unknown_last_event_id_waits_for_the_next_message() {
    let app = App::start().await;
    let old = app.post_message("old").await;
    for id in ["nobody:close", "nobody:1", "nonsense", "", ":", &old.id] {
        let mut listener = app.reopen("/stream", id).await;
        let message = app.post_message("next").await;
        assert_eq!(listener.rest().await, burst(&message, 1, 3), "{id:?}");
    }
}
