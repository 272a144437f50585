//! `POST /api/messages`: what is accepted, and what is refused.

use chrono::{TimeDelta, Utc};
use serde_json::json;
use tidings::wire::message::Message;

use crate::app::{App, Ask, FORM, JSON, TEXT, form};

const MESSAGES: &str = "/api/messages";

#[tokio::test]
async fn a_submitted_message_is_created_with_its_own_address_and_stream() {
    let app = App::start().await;
    let answer = app.submit("Hello").await;
    let message = answer.created();
    assert_eq!(message.message, "Hello");
    assert_eq!(message.stream, format!("/stream?message={}", message.id));
    assert!((Utc::now() - message.published_at).abs() < TimeDelta::minutes(1), "{message:?}");
    assert_eq!(answer.header("location"), format!("/api/messages/{}", message.id));
    let same: Message = app.get(&answer.header("location")).await.assert_status(200).json();
    assert_eq!(same, message);
}

#[tokio::test]
async fn json_with_a_charset_and_a_form_are_messages_too() {
    let app = App::start().await;
    let answer = app.post(MESSAGES, "Application/JSON; charset=utf-8", r#"{"message":"one"}"#).await;
    assert_eq!(answer.created().message, "one");
    let answer = app.post(MESSAGES, "application/x-www-form-urlencoded;charset=UTF-8", "a=b&message=t+w%C3%B6").await;
    assert_eq!(answer.created().message, "t wö");
}

#[tokio::test]
async fn broken_json_is_refused_with_its_line_and_column() {
    let app = App::start().await;
    let detail = app.post(MESSAGES, JSON, "{\n  \"message\": oops\n}").await.problem(400);
    assert!(detail.contains("line 2, column 14"), "{detail}");
    for body in ["", "{", "nothing", "{\"message\":\"\\ud800\"}"] {
        let detail = app.post(MESSAGES, JSON, body).await.problem(400);
        assert!(detail.contains("line 1, column"), "{detail}");
    }
    app.post(MESSAGES, JSON, b"{\"message\":\"\xff\"}".to_vec()).await.problem(400);
    app.post(MESSAGES, FORM, "message=%ff").await.problem(400);
}

#[tokio::test]
async fn json_and_forms_without_a_message_are_refused_with_the_name_of_what_is_missing() {
    let app = App::start().await;
    for (media_type, body) in [(JSON, "{}"), (JSON, r#"{"message":7}"#), (JSON, r#""Hello""#), (FORM, "text=Hello")] {
        let detail = app.post(MESSAGES, media_type, body).await.problem(400);
        assert!(detail.contains("message"), "{body}: {detail}");
    }
}

#[tokio::test]
async fn other_media_types_are_refused_with_those_that_are_taken() {
    let app = App::start().await;
    for media_type in [TEXT, "multipart/form-data; boundary=x", "application/xml", "application/jsonp", "nonsense", ""]
    {
        let detail = app.post(MESSAGES, media_type, r#"{"message":"Hello"}"#).await.problem(415);
        assert!(detail.contains(JSON) && detail.contains(FORM), "{media_type}: {detail}");
    }
    let untyped = app.request(reqwest::Method::POST, MESSAGES).body(r#"{"message":"Hello"}"#);
    untyped.answer().await.problem(415);
}

#[tokio::test]
async fn a_byte_order_mark_before_json_or_a_form_is_no_part_of_it() {
    let app = App::start().await;
    for path in [MESSAGES, "/publish"] {
        for (media_type, body) in [(JSON, "\u{feff}{\"message\":\"Hello\"}"), (FORM, "\u{feff}message=Hello")] {
            assert!(app.post(path, media_type, body).await.status.is_success(), "{path} {media_type}");
        }
    }
}

#[tokio::test]
async fn a_compressed_body_is_refused_with_what_is_accepted() {
    let app = App::start().await;
    for path in [MESSAGES, "/publish"] {
        let post = app.request(reqwest::Method::POST, path).header("content-type", FORM);
        let answer = post.header("content-encoding", "gzip").body("message=Hello").answer().await;
        answer.problem(415);
        assert_eq!(answer.header("accept-encoding"), "identity");
    }
}

#[tokio::test]
async fn empty_messages_and_nul_are_refused() {
    let app = App::start().await;
    for text in ["", " ", "\t\r\n \u{a0}\u{3000}"] {
        let detail = app.submit(text).await.problem(422);
        assert!(detail.contains("empty"), "{text:?}: {detail}");
        app.post(MESSAGES, FORM, form(text)).await.problem(422);
    }
    for answer in [app.submit("a\0b").await, app.post(MESSAGES, FORM, form("a\0b")).await] {
        let detail = answer.problem(422);
        assert!(detail.contains("NUL"), "{detail}");
    }
}

#[tokio::test]
async fn a_message_may_have_4_kib_counted_in_bytes_of_utf_8() {
    let app = App::start().await;
    for text in ["a".repeat(4096), "é".repeat(2048), "\u{1f600}".repeat(1024), "\u{1}".repeat(4096)] {
        assert_eq!(app.post_message(&text).await.message, text);
        let longer = text.clone() + "é";
        let detail = app.submit(&longer).await.problem(422);
        assert!(detail.contains("4098 bytes") && detail.contains("2 more than the 4096"), "{detail}");
        app.post(MESSAGES, FORM, form(&longer)).await.problem(422);
    }
}

#[tokio::test]
async fn bodies_above_1_mib_are_too_large() {
    let app = App::start().await;
    let padded = |bytes: usize| {
        let body = json!({ "message": "Hello" }).to_string();
        " ".repeat(bytes - body.len()) + &body
    };
    assert_eq!(app.post(MESSAGES, JSON, padded(1 << 20)).await.created().message, "Hello");
    for bytes in [(1 << 20) + 1, 2 << 20, 8 << 20] {
        let detail = app.post(MESSAGES, JSON, padded(bytes)).await.problem(413);
        assert!(detail.contains("1048576"), "{detail}");
    }
}

#[tokio::test]
async fn a_body_of_unknown_length_is_too_large_as_soon_as_it_is() {
    let app = App::start().await;
    let chunks = std::iter::repeat_n("x".repeat(16 * 1024), 128).map(Ok::<_, std::io::Error>);
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    app.post(MESSAGES, JSON, body).await.problem(413);
}

#[tokio::test]
async fn a_browsers_form_post_goes_back_to_the_page_and_to_the_message() {
    let app = App::start().await;
    let answer = app.submit_form("From the form").await;
    let location = answer.assert_status(303).header("location");
    let id = location.strip_prefix("/#m-").unwrap_or_else(|| panic!("{location}"));
    let message: Message = app.get(&format!("/api/messages/{id}")).await.json();
    assert_eq!(message.message, "From the form");
}

#[tokio::test]
async fn a_browsers_refused_form_comes_back_as_the_page_with_the_text_kept_and_escaped() {
    let app = App::start().await;
    let text = "<b>bold</b> & \"quoted\"".to_owned() + &"!".repeat(4096);
    let answer = app.submit_form(&text).await;
    let page = answer.html(422).replace("&gt;", ">");
    assert!(page.contains("more than the 4096 it may have"), "{page}");
    assert!(page.contains("&lt;b>bold&lt;/b> &amp; "), "{page}");
    assert!(!page.contains("<b>bold"), "{page}");
    assert!(app.submit_form(" ").await.html(422).contains("The message is empty"));
}
