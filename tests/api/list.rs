//! `GET /api/messages` as a document, and one message.

use tidings::server::settings::{Options, StorageKind};
use tidings::wire::message::MessageList;
use tidings::wire::paths;

use crate::app::{App, FORM};

#[tokio::test]
async fn the_list_has_the_newest_first() {
    let app = App::start().await;
    let list: MessageList = app.get("/api/messages").await.assert_status(200).json();
    assert_eq!((list.messages, list.next), (vec![], None));
    let one = app.post_message("one").await;
    let two = app.post_message("two").await;
    let answer = app.get("/api/messages").await;
    let list: MessageList = answer.json();
    assert_eq!((list.messages, list.next), (vec![two, one], None));
    assert!(answer.header("vary").contains("accept"), "{answer:?}");
}

#[tokio::test]
async fn a_page_has_fifty_unless_the_limit_says_otherwise() {
    let app = App::start().await;
    for n in 0..51 {
        app.post_message(&n.to_string()).await;
    }
    for (query, count) in [("", 50), ("?limit=1", 1), ("?limit=50", 50), ("?limit=200", 51)] {
        let list: MessageList = app.get(&format!("/api/messages{query}")).await.assert_status(200).json();
        assert_eq!((list.messages.len(), list.next.is_some()), (count, count < 51), "{query}");
    }
}

#[tokio::test]
async fn paging_along_next_shows_every_message_once() {
    let app = App::start().await;
    let mut posted = Vec::new();
    for n in 0..10 {
        posted.insert(0, app.post_message(&n.to_string()).await);
    }
    let (mut next, mut seen) = (Some("/api/messages?limit=5".to_owned()), Vec::new());
    while let Some(address) = next {
        let list: MessageList = app.get(&address).await.assert_status(200).json();
        assert_eq!(list.messages.len(), 5);
        seen.extend(list.messages);
        next = list.next;
        // News on the first page does not shift the next ones.
        app.post_message("meanwhile").await;
    }
    assert_eq!(seen, posted);
}

#[tokio::test]
async fn updates_on_the_topic_that_are_no_messages_or_private_hide_no_message() {
    let app = App::start_with(Options { publish_without_token: Some(true), ..Options::default() }).await;
    let stray = async || {
        for form in ["topic=messages&data=%7B%7D&private=on", "topic=messages&data=no+message"] {
            app.post(paths::HUB, FORM, form).await.assert_status(200);
        }
    };
    let mut posted = Vec::new();
    for n in 0..5 {
        posted.insert(0, app.post_message(&n.to_string()).await);
        stray().await;
        stray().await;
    }
    let (mut next, mut seen) = (Some("/api/messages?limit=2".to_owned()), Vec::new());
    while let Some(address) = next {
        let list: MessageList = app.get(&address).await.assert_status(200).json();
        assert!(!list.messages.is_empty(), "{address}");
        seen.extend(list.messages);
        next = list.next;
    }
    assert_eq!(seen, posted);
}

#[tokio::test]
async fn messages_evict_each_other_and_no_update_of_the_hub() {
    let options = Options { publish_without_token: Some(true), keep_count: Some(3), ..Options::default() };
    let app = App::start_with(Options { storage: Some(StorageKind::Memory), ..options }).await;
    app.post(paths::HUB, FORM, "topic=a&data=kept").await.assert_status(200);
    for n in 0..10 {
        app.post_message(&n.to_string()).await;
    }
    let list: MessageList = app.get("/api/messages").await.json();
    assert_eq!(list.messages.len(), 3);
    let mut stream = app.reopen(&format!("{}?match=a", paths::HUB), paths::EARLIEST).await;
    assert_eq!(stream.event().await.data, "kept");
}

#[tokio::test]
async fn a_limit_out_of_range_and_an_unknown_before_are_refused() {
    let app = App::start().await;
    for limit in ["0", "201", "-1", "1.5", "many", "", "99999999999999999999"] {
        let detail = app.get(&format!("/api/messages?limit={limit}")).await.problem(400);
        assert!(detail.contains("1 to 200"), "{detail}");
    }
    let detail = app.get("/api/messages?before=nobody").await.problem(400);
    assert!(detail.contains("before"), "{detail}");
    app.get("/api/messages?before=%ff").await.problem(400);
}

#[tokio::test]
async fn an_id_that_no_message_has_is_not_found() {
    let app = App::start().await;
    app.post_message("somebody").await;
    for id in ["nobody", "7e3a1c1e-8f5a-4c8e-9d1f-2f6b7a3c9e10", "%00", "a%2Fb", "%C3%BC", "%ff"] {
        app.get(&format!("/api/messages/{id}")).await.problem(404);
    }
}
