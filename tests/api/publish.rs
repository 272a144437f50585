//! `POST /publish`: publishing from scripts.

use reqwest::Method;
use tidings::wire::message::Message;

use crate::answer::Answer;
use crate::app::{App, Ask, FORM, JSON, TEXT};

const PUBLISH: &str = "/publish";

#[tokio::test]
async fn text_a_form_and_json_are_published_and_answered_with_the_id_as_text() {
    let app = App::start().await;
    for (media_type, body, text) in [
        (TEXT, "plain text\n", "plain text\n"),
        ("text/plain; charset=utf-8", "Grüße", "Grüße"),
        (FORM, "message=from+a+form", "from a form"),
        (JSON, r#"{"message":"from JSON"}"#, "from JSON"),
    ] {
        assert_published(&app, app.post(PUBLISH, media_type, body).await, text).await;
    }
}

#[tokio::test]
async fn what_curl_sends_with_d_is_published_as_it_stands() {
    let app = App::start().await;
    for text in ["some text", "100% of a+b", "a & b; c", "level=info a=b c", "a=b", "status=ok&messages", "=message="] {
        assert_published(&app, app.post(PUBLISH, FORM, text).await, text).await;
    }
}

#[tokio::test]
async fn a_body_without_a_type_is_text() {
    let app = App::start().await;
    let answer = app.request(Method::POST, PUBLISH).body("untyped").answer().await;
    assert_published(&app, answer, "untyped").await;
}

#[tokio::test]
async fn a_published_text_is_sent_to_the_streams_clients() {
    let app = App::start().await;
    let mut listener = app.open("/stream").await;
    let id = id(&app.post(PUBLISH, TEXT, "job done").await);
    let event = listener.event().await;
    assert_eq!(event.id, format!("{id}:1"));
    assert_eq!(event.data, r#"{"message":"job done","repeat":1,"of":3}"#);
}

#[tokio::test]
async fn a_text_that_is_not_a_message_is_refused_with_a_problem() {
    let app = App::start().await;
    app.post(PUBLISH, TEXT, "").await.problem(422);
    app.post(PUBLISH, TEXT, "a\0b").await.problem(422);
    app.post(PUBLISH, TEXT, "a".repeat(4097)).await.problem(422);
    app.post(PUBLISH, TEXT, b"\xff".to_vec()).await.problem(400);
    app.post(PUBLISH, JSON, "{").await.problem(400);
    app.post(PUBLISH, TEXT, " ".repeat(1024 * 1024 + 1)).await.problem(413);
    let detail = app.post(PUBLISH, "multipart/form-data; boundary=x", "--x--").await.problem(415);
    assert!(detail.contains(TEXT) && detail.contains(FORM) && detail.contains(JSON), "{detail}");
}

/// Asserts that the text was published and its id was answered as text.
async fn assert_published(app: &App, answer: Answer, text: &str) {
    assert_eq!(answer.assert_status(200).header("content-type"), "text/plain; charset=utf-8");
    let message: Message = app.get(&format!("/api/messages/{}", id(&answer))).await.json();
    assert_eq!(message.message, text);
}

/// The id that was answered, as a whole line.
fn id(answer: &Answer) -> String {
    answer.body.strip_suffix('\n').unwrap_or_else(|| panic!("not a line: {answer:?}")).to_owned()
}
