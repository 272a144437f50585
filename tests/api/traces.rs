//! Traces: what an OTLP collector gets of a publish and its deliveries.

use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use reqwest::Method;
use tidings::server::settings::Options;
use tidings::wire::paths::HUB;
use tokio::net::TcpListener;

use crate::app::{App, Ask, FORM, JSON};
use crate::process::{PATIENCE, Program};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// How long an export may take that is given up: what does not wait for it takes less.
const EXPORT: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_leads_from_the_callers_span_to_each_delivery() {
    let collector = Collector::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let headers = folder.path().join("headers");
    std::fs::write(&headers, "# the vendor's\nAuthorization: Bearer s3cret\n").expect("a file");
    let options = Options { otlp_headers_file: Some(headers), ..collector.options() };
    let app = App::start_with(options).await;
    let stream = format!("{HUB}?match=books%2F1&match=books%2F2");
    let mut listeners = [app.open(&stream).await, app.open(&stream).await];

    publish(&app, &traceparent("01"), "topic=books%2F1&topic=books%2Fone&data=hello").await;
    for listener in &mut listeners {
        assert_eq!(listener.event().await.data, "hello");
    }
    drop(listeners);
    app.stop().await;

    let spans = collector.spans();
    assert!(spans.iter().all(|span| hex(&span.trace_id) == TRACE), "{spans:?}");
    let publish = only(&spans, "publish");
    assert_eq!(hex(&publish.parent_span_id), CALLER);
    assert_eq!(publish.trace_state, "vendor=1");
    assert_eq!(attribute(&publish.attributes, "tidings.updates"), "1");
    assert_eq!(attribute(&publish.attributes, "tidings.bytes"), "5");
    assert_eq!(attribute(&publish.attributes, "tidings.topics"), "books/1 books/one");
    assert_eq!(attribute(&publish.attributes, "tidings.outcome"), "published");
    assert_eq!(attribute(&publish.attributes, "http.response.status_code"), "200");
    for name in ["authorize", "append"] {
        assert_eq!(only(&spans, name).parent_span_id, publish.span_id, "{name}");
    }

    let delivers: Vec<_> = spans.iter().filter(|span| span.name == "deliver").collect();
    assert!(delivers.iter().all(|span| span.parent_span_id == publish.span_id), "{delivers:?}");
    let count = |span: &Span, name| attribute(&span.attributes, name).parse::<u32>().expect("a count");
    let streams = |span: &&Span| count(span, "tidings.streams.written") + count(span, "tidings.streams.handed_over");
    assert_eq!(delivers.iter().map(streams).sum::<u32>(), 2, "{delivers:?}");
    let events: Vec<_> = delivers.iter().flat_map(|span| &span.events).collect();
    let mut names: Vec<_> = events.iter().map(|event| attribute(&event.attributes, "tidings.stream")).collect();
    names.sort();
    names.dedup();
    assert!(names.len() == 2 && names.iter().all(|name| name.starts_with("urn:uuid:")), "{events:?}");

    let (headers, resource) = collector.of_requests();
    assert_eq!(headers["authorization"], "Bearer s3cret");
    assert_eq!(headers["content-type"], "application/x-protobuf");
    assert_eq!(attribute(&resource, "service.name"), "tidings");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_is_traced_if_its_parent_is_sampled_or_it_is_among_the_share() {
    let collector = Collector::start().await;
    let app = App::start_with(Options { otlp_sample: Some(0.0), ..collector.options() }).await;
    let malformed = [String::new(), format!("00-{TRACE}-{CALLER}"), traceparent("01").replace(TRACE, "0")];
    for parent in [vec![traceparent("00")], malformed.to_vec()].concat() {
        publish(&app, &parent, "topic=a&data=untraced").await;
    }
    publish(&app, &traceparent("01"), "topic=a&data=traced").await;
    app.stop().await;
    let publishes = collector.spans();
    assert_eq!(publishes.iter().filter(|span| span.name == "publish").count(), 1, "{publishes:?}");
    assert_eq!(hex(&only(&publishes, "publish").parent_span_id), CALLER);

    let collector = Collector::start().await;
    let app = App::start_with(collector.options()).await;
    publish(&app, "malformed", "topic=a&data=first").await;
    app.stop().await;
    let spans = collector.spans();
    let publish = only(&spans, "publish");
    assert!(publish.parent_span_id.is_empty() && hex(&publish.trace_id) != TRACE, "{publish:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_traced_only_if_its_publisher_was_let_in() {
    let collector = Collector::start().await;
    let app = App::start_with(Options { publish_without_token: None, ..collector.options() }).await;
    assert_eq!(request(&app, &traceparent("01"), "topic=a&data=x").answer().await.status, 401);
    app.stop().await;
    assert_eq!(collector.spans(), []);

    let app = App::start_with(collector.options()).await;
    assert_eq!(request(&app, &traceparent("01"), "data=x").answer().await.status, 400);
    app.stop().await;
    let spans = collector.spans();
    let publish = only(&spans, "publish");
    assert_eq!(attribute(&publish.attributes, "tidings.outcome"), "refused");
    assert_eq!(attribute(&publish.attributes, "http.response.status_code"), "400");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_update_of_an_array_has_deliveries_of_its_own() {
    let collector = Collector::start().await;
    let app = App::start_with(collector.options()).await;
    let mut listener = app.open(&format!("{HUB}?match=a")).await;
    let body = r#"[{"topic":"a","data":"1"},{"topic":"b","data":"2"},{"topic":"a","data":"3"}]"#;
    let request = app.request(Method::POST, HUB).header("traceparent", traceparent("01"));
    assert_eq!(request.header("content-type", JSON).body(body).answer().await.status, 200);
    assert_eq!([listener.event().await.data, listener.event().await.data], ["1", "3"]);
    drop(listener);
    app.stop().await;
    let spans = collector.spans();
    assert_eq!(attribute(&only(&spans, "publish").attributes, "tidings.updates"), "3");
    assert_eq!(spans.iter().filter(|span| span.name == "deliver").count(), 2, "nobody hears `b`: {spans:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_over_http_2_is_handed_its_updates() {
    let collector = Collector::start().await;
    let app = App::start_with(collector.options()).await;
    let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().expect("a client");
    let mut listener = client.get(format!("http://{}{HUB}?match=a", app.address)).open().await;
    publish(&app, &traceparent("01"), "topic=a&data=hello").await;
    assert_eq!(listener.event().await.data, "hello");
    drop(listener);
    app.stop().await;
    let spans = collector.spans();
    let deliver = only(&spans, "deliver");
    assert_eq!(attribute(&deliver.attributes, "tidings.streams.handed_over"), "1");
    assert_eq!(attribute(&deliver.events[0].attributes, "tidings.outcome"), "handed_over");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_never_answers_holds_up_neither_a_publish_nor_the_end() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let endpoint = format!("http://{}", silent.local_addr().expect("an address"));
    let options = Options { otlp_endpoint: Some(endpoint), publish_without_token: Some(true), ..Options::default() };
    let app = App::start_with(options).await;
    let mut listener = app.open(&format!("{HUB}?match=a")).await;
    let begun = Instant::now();
    for n in 0..10 {
        publish(&app, &traceparent("01"), &format!("topic=a&data={n}")).await;
        assert_eq!(listener.event().await.data, n.to_string());
    }
    assert!(begun.elapsed() < EXPORT, "publishes took {:?}", begun.elapsed());
    drop(listener);
    let begun = Instant::now();
    app.stop().await;
    assert!(begun.elapsed() < EXPORT, "the end took {:?}", begun.elapsed());
}

#[test]
fn an_endpoint_that_is_down_is_said_in_the_log() {
    // Nobody listens there any more.
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
    let endpoint = format!("http://127.0.0.1:{port}");
    let mut program = Program::start(&["--otlp-endpoint", &endpoint, "--publish-without-token"]);
    let head = format!("POST {HUB} HTTP/1.1\r\nContent-Type: {FORM}");
    assert_eq!(program.status(&head, "topic=a&data=x"), 200);
    let line = program.log("traces are not exported");
    assert_eq!(line["level"], "WARN", "{line}");
    assert!(line["lost"].as_u64().is_some_and(|lost| lost > 0), "{line}");
    assert!(line["problem"].as_str().is_some_and(|problem| problem.contains("refused")), "{line}");
    let begun = Instant::now();
    program.signal("-TERM");
    assert!(program.wait().success());
    assert!(begun.elapsed() < PATIENCE, "the end took {:?}", begun.elapsed());
}

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{CALLER}-{flags}")
}

fn request(app: &App, traceparent: &str, form: &str) -> reqwest::RequestBuilder {
    let request = app.request(Method::POST, HUB).header("traceparent", traceparent).header("tracestate", "vendor=1");
    request.header("content-type", FORM).body(form.to_owned())
}

async fn publish(app: &App, traceparent: &str, form: &str) {
    assert_eq!(request(app, traceparent, form).answer().await.status, 200);
}

#[track_caller]
fn only<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let named: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    let [span] = named[..] else { panic!("{} spans are named {name}: {spans:?}", named.len()) };
    span
}

/// An attribute's value, as text.
#[track_caller]
fn attribute(attributes: &[KeyValue], name: &str) -> String {
    let attribute = attributes.iter().find(|attribute| attribute.key == name);
    let value = attribute.and_then(|attribute| attribute.value.as_ref()).unwrap_or_else(|| panic!("{name} is missing"));
    text(value)
}

fn text(value: &AnyValue) -> String {
    match &value.value {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::ArrayValue(array)) => array.values.iter().map(text).collect::<Vec<_>>().join(" "),
        other => panic!("an unexpected value: {other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("room");
        text
    })
}

/// A collector that keeps what it gets.
struct Collector {
    endpoint: String,
    received: Arc<Mutex<Vec<(HeaderMap, ExportTraceServiceRequest)>>>,
}

type Received = State<Arc<Mutex<Vec<(HeaderMap, ExportTraceServiceRequest)>>>>;

impl Collector {
    async fn start() -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let endpoint = format!("http://{}", socket.local_addr().expect("an address"));
        let received = Arc::default();
        let router = axum::Router::new().route("/v1/traces", post(receive)).with_state(Arc::clone(&received));
        tokio::spawn(async { axum::serve(socket, router).await });
        Self { endpoint, received }
    }

    /// Has every publish traced that doesn't say otherwise, to this collector.
    fn options(&self) -> Options {
        let endpoint = Some(self.endpoint.clone());
        Options { otlp_endpoint: endpoint, publish_without_token: Some(true), ..Options::default() }
    }

    /// All spans so far. A server that has stopped has exported its last.
    fn spans(&self) -> Vec<Span> {
        let received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        let resources = received.iter().flat_map(|(_, request)| &request.resource_spans);
        resources.flat_map(|resource| &resource.scope_spans).flat_map(|scope| scope.spans.clone()).collect()
    }

    /// The headers and the resource of the last request.
    fn of_requests(&self) -> (HeaderMap, Vec<KeyValue>) {
        let received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        let (headers, request) = received.last().expect("a request");
        let resource = request.resource_spans[0].resource.clone().expect("a resource");
        (headers.clone(), resource.attributes)
    }
}

async fn receive(State(received): Received, headers: HeaderMap, body: Bytes) -> StatusCode {
    let Ok(request) = ExportTraceServiceRequest::decode(body) else { return StatusCode::BAD_REQUEST };
    received.lock().unwrap_or_else(PoisonError::into_inner).push((headers, request));
    StatusCode::OK
}
