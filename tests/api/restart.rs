//! The server is restarted: clients resume where they were.

use tidings::server::settings::{Options, StorageKind};
use tidings::wire::message::MessageList;

use crate::app::App;
use crate::listener::burst;

#[tokio::test]
async fn messages_and_their_order_survive_a_restart() {
    let app = App::start().await;
    let one = app.post_message("one").await;
    let two = app.post_message("two\r\n\u{feff}lines").await;
    let app = app.restart().await;
    let three = app.post_message("three").await;
    let list: MessageList = app.get("/api/messages").await.json();
    assert_eq!(list.messages, [three, two, one]);
}

#[tokio::test]
async fn a_burst_continues_after_a_restart_in_its_middle() {
    let app = App::start().await;
    let mut listener = app.open("/stream").await;
    let message = app.post_message("Hello").await;
    let first = listener.event().await.id;
    let app = app.restart().await;
    for path in ["/stream", &message.stream] {
        assert_eq!(app.reopen(path, &first).await.rest().await, burst(&message, 2, 3), "{path}");
    }
    let close = format!("{}:close", message.id);
    app.get(&format!("{}&last_event_id={close}", message.stream)).await.assert_status(204);
    let mut listener = app.reopen("/stream", &close).await;
    let next = app.post_message("next").await;
    assert_eq!(listener.rest().await, burst(&next, 1, 3));
}

#[tokio::test]
async fn the_feed_continues_after_a_restart_without_a_gap() {
    let app = App::start().await;
    let one = app.post_message("one").await;
    let two = app.post_message("two").await;
    let app = app.restart().await;
    let mut feed = app.reopen("/api/messages", &one.id).await;
    assert_eq!(feed.message().await, two);
    let three = app.post_message("three").await;
    assert_eq!(feed.message().await, three);
}

#[tokio::test]
async fn a_client_of_a_server_that_has_lost_its_log_receives_a_gap() {
    let app = App::start_with(Options { storage: Some(StorageKind::Memory), ..Options::default() }).await;
    let forgotten = app.post_message("forgotten").await;
    let app = app.restart().await;
    app.get(&forgotten.stream).await.problem(404);
    let mut feed = app.reopen("/api/messages", &forgotten.id).await;
    assert_eq!(feed.event().await.event, "gap");
    let news = app.post_message("news").await;
    assert_eq!(feed.message().await, news);
}

#[tokio::test]
async fn a_client_that_was_away_longer_than_messages_are_kept_receives_a_gap_and_what_is_kept() {
    let options = Options { storage: Some(StorageKind::Memory), keep_count: Some(3), ..Options::default() };
    let app = App::start_with(options).await;
    let first = app.post_message("first").await;
    let mut kept = Vec::new();
    for n in 0..10 {
        kept.push(app.post_message(&format!("message {n}")).await);
    }
    app.get(&format!("/api/messages/{}", first.id)).await.problem(404);
    let mut feed = app.reopen("/api/messages", &first.id).await;
    let gap = feed.event().await;
    assert_eq!(gap.event, "gap");
    assert!(gap.data.contains(&first.id) && gap.data.contains(&kept[7].id), "{}", gap.data);
    for message in &kept[7..] {
        assert_eq!(feed.message().await, *message);
    }
}
