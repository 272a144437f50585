//! `/openapi.json`: it is an OpenAPI document that describes every address, and the server does what it describes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use reqwest::Method;
use serde_json::Value;
use tidings::server::settings::Options;
use tidings::wire::paths;

use crate::answer::header;
use crate::app::{App, Ask, FORM, JSON, TEXT, in_time};
use crate::description::{Description, array, fields};

/// A file of the site that only the page requests, and what only operators do.
const NOT_DESCRIBED: [&str; 2] = [paths::DOCS_SCRIPT, paths::METRICS];
/// A file of the site that is an address of its own.
const FILES: [&str; 1] = [paths::CLIENT];

#[tokio::test]
async fn it_is_served_with_the_programs_version_and_not_again_if_it_is_known() {
    let app = App::start().await;
    let answer = app.get("/openapi.json").await;
    assert_eq!(answer.assert_status(200).header("content-type"), JSON);
    assert_eq!(answer.json::<Value>()["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(answer.header("cache-control"), "no-cache");
    let again = app.request(Method::GET, "/openapi.json").header("if-none-match", answer.header("etag"));
    assert_eq!(again.answer().await.assert_status(304).body, "");
    assert_eq!(app.head("/openapi.json").await.assert_status(200).header("etag"), answer.header("etag"));
}

#[tokio::test]
async fn it_is_an_openapi_document_in_which_nothing_is_misspelt() {
    let description = Description::of(&App::start().await).await;
    let schema: Value = serde_json::from_str(include_str!("openapi.schema.json")).expect("a schema");
    let errors = jsonschema::validator_for(&schema)
        .expect("a schema")
        .iter_errors(&description.0)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect::<Vec<_>>();
    assert!(errors.is_empty(), "{errors:#?}");
    let known: BTreeSet<_> = array(&description.0["tags"]).map(|tag| tag["name"].as_str()).collect();
    let mut ids = BTreeSet::new();
    for operation in description.operations() {
        assert!(known.contains(&operation.object["tags"][0].as_str()), "{}", operation.path);
        assert!(ids.insert(operation.object["operationId"].as_str()), "{} is there twice", operation.path);
    }
}

#[tokio::test]
async fn every_reference_leads_somewhere_and_everything_shared_is_used() {
    for demo in [true, false] {
        let app = App::start_with(Options { demo: Some(demo), ..Options::default() }).await;
        let description = Description::of(&app).await;
        let mut used = BTreeSet::new();
        visit(&description.0, &mut |object| {
            if let Some(reference) = object["$ref"].as_str() {
                description.resolve(object);
                used.insert(reference.to_owned());
            }
        });
        for kind in ["schemas", "parameters", "headers", "responses"] {
            for (name, _) in fields(&description.0["components"][kind]) {
                assert!(used.contains(&format!("#/components/{kind}/{name}")), "nobody needs the {kind} {name}");
            }
        }
    }
}

#[tokio::test]
async fn every_schema_is_one_and_every_example_fits_its_own() {
    let description = Description::of(&App::start().await).await;
    visit(&description.0, &mut |object| {
        for name in ["schema", "itemSchema"] {
            if object[name].is_object() {
                jsonschema::meta::validate(&object[name]).unwrap_or_else(|error| panic!("{error}: {object}"));
            }
        }
        if object["schema"].is_object() {
            let examples = fields(&object["examples"]).map(|(_, example)| &example["value"]);
            for example in examples.chain(Some(&object["example"]).filter(|example| !example.is_null())) {
                description.assert_valid(&object["schema"], example);
            }
        }
        for example in array(&object["examples"]) {
            description.assert_valid(object, example);
        }
    });
    for (_, schema) in fields(&description.0["components"]["schemas"]) {
        jsonschema::meta::validate(schema).unwrap_or_else(|error| panic!("{error}: {schema}"));
    }
}

#[tokio::test]
async fn every_address_of_the_server_is_described() {
    let described: BTreeSet<_> = {
        let description = Description::of(&App::start().await).await;
        fields(&description.0["paths"]).map(|(path, _)| path.to_owned()).collect()
    };
    let constants = include_str!("../../src/wire/paths.rs").lines().filter_map(|line| {
        let (_, value) = line.strip_prefix("pub const ")?.split_once("= \"")?;
        Some(value.trim_end_matches("\";")).filter(|value| value.starts_with('/'))
    });
    let constants: Vec<_> = constants.filter(|path| !NOT_DESCRIBED.contains(path)).collect();
    assert!(constants.len() > 15 && constants.contains(&paths::HUB), "{constants:?}");
    for path in constants {
        assert!(described.contains(path), "{path} is described neither for the hub nor for the demo");
    }
    // A router can't list its addresses, so its source is searched for them.
    let server = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/server"));
    let routes = routes(&server.join("http")) + routes(&server.join("demo/routes"));
    // `/` is the hub's or the demo's, and the figures are for operators.
    assert_eq!(routes - 2, described.len() - FILES.len(), "{described:#?}");
}

#[tokio::test]
async fn every_address_takes_the_methods_that_are_described_and_no_other() {
    let app = App::start().await;
    let description = Description::of(&app).await;
    for (path, methods) in fields(&description.0["paths"]).filter(|(path, _)| !FILES.contains(path)) {
        let answer = app.request(Method::DELETE, &path.replace(['{', '}'], "")).answer().await;
        answer.problem(405);
        let allowed = answer.header("allow");
        let allowed: BTreeSet<_> = allowed.split(',').map(|method| method.trim().to_owned()).collect();
        let mut described: BTreeSet<_> = fields(methods).map(|(method, _)| method.to_ascii_uppercase()).collect();
        if described.contains("GET") {
            described.insert("HEAD".into());
        }
        assert_eq!(allowed, described, "{path}");
    }
}

#[tokio::test]
async fn every_example_that_needs_no_token_is_answered_as_described() {
    let app = App::start_with(open_to_all()).await;
    let description = Description::of(&app).await;
    let operations = description.operations();
    let open: Vec<_> = operations.iter().filter(|operation| operation.is_open()).collect();
    let examples = open
        .iter()
        .flat_map(|operation| description.examples(operation).into_iter().map(move |example| (operation, example)));
    let (streams, documents): (Vec<_>, Vec<_>) =
        examples.partition(|(operation, example)| is_stream(&description, operation, example.accept.as_deref()));
    assert!(streams.len() >= 9 && documents.len() >= 15, "{} and {}", streams.len(), documents.len());
    // The streams first, so that they receive what is published afterwards.
    let mut listeners = Vec::new();
    for (operation, example) in streams {
        listeners.push((operation, example.request(&app).open().await));
    }
    for (operation, example) in documents {
        description.assert_describes(operation, &example.request(&app).answer().await);
    }
    for (operation, mut listener) in listeners {
        description.assert_describes_event(operation, &listener.event().await);
    }
}

#[tokio::test]
async fn every_event_of_a_stream_is_as_described() {
    let app = App::start_with(open_to_all()).await;
    let description = Description::of(&app).await;
    let message = app.post_message("Hello").await;
    let stream = description.operation("GET", "/stream");
    let burst = app.open(&message.stream).await.rest().await;
    assert_eq!(burst.len(), 4);
    for event in &burst {
        description.assert_describes_event(&stream, event);
    }
    let done = app.stream(&message.stream).header("last-event-id", &burst[3].id).answer().await;
    description.assert_describes(&stream, done.assert_status(204));
    for (path, query) in
        [("/api/messages", "?last_event_id=unknown"), (paths::HUB, "?match=messages&gap=1&last_event_id=x")]
    {
        let operation = description.operation("GET", path);
        let mut listener = app.open(&format!("{path}{query}")).await;
        let events = listener.take(2).await;
        assert_eq!((&*events[0].event, &*events[1].event), ("gap", "message"), "{path}");
        for event in &events {
            description.assert_describes_event(&operation, event);
        }
        let preceding = header(&listener.headers, "mercure-last-event-id");
        assert_eq!(preceding, if path == paths::HUB { "earliest" } else { "" });
    }
}

#[tokio::test]
async fn a_request_without_the_token_that_it_needs_is_refused_as_described() {
    let app = App::start_with(Options { anonymous: Some(false), ..Options::default() }).await;
    let description = Description::of(&app).await;
    let operations = description.operations();
    let closed = operations.iter().filter(|operation| !operation.object["security"].is_null());
    let mut count = 0;
    for operation in closed {
        for example in description.examples(operation) {
            let answer = example.request(&app).answer().await;
            answer.problem(401);
            description.assert_describes(operation, &answer);
            count += 1;
        }
    }
    assert!(count >= 10, "{count}");
}

#[tokio::test]
async fn every_refusal_is_as_described() {
    let app = App::start_with(Options { max_body: Some(4096), max_message: Some(64), ..open_to_all() }).await;
    let description = Description::of(&app).await;
    let (hub, long) = (paths::HUB, "x".repeat(5000));
    let update = |body: &str| (FORM, body.to_owned());
    let none = || (TEXT, String::new());
    for (method, path, query, (media_type, body), status) in [
        ("POST", "/api/messages", "", (JSON, "{".into()), 400),
        ("POST", "/api/messages", "", (JSON, long.clone()), 413),
        ("POST", "/api/messages", "", (TEXT, "Hello".into()), 415),
        ("POST", "/api/messages", "", (JSON, r#"{"message":" "}"#.into()), 422),
        ("GET", "/api/messages", "?limit=%ff", none(), 400),
        ("GET", "/api/messages", "?limit=201", none(), 400),
        ("GET", "/api/messages", "?before=nobody", none(), 400),
        ("POST", "/publish", "", (FORM, "message=%ff".into()), 400),
        ("POST", "/publish", "", (TEXT, long.clone()), 413),
        ("POST", "/publish", "", ("image/png", "x".into()), 415),
        ("POST", "/publish", "", (TEXT, "x".repeat(65)), 422),
        ("GET", "/stream", "?message=nobody", none(), 404),
        ("GET", "/stream", "?message=%ff", none(), 400),
        ("GET", "/counter", "?last_event_id=%ff", none(), 400),
        ("GET", hub, "", none(), 400),
        ("GET", hub, "?match=%ff", none(), 400),
        ("GET", hub, "?MATCH=a", none(), 400),
        ("QUERY", hub, "", (FORM, "match_regex=a".into()), 400),
        ("QUERY", hub, "", (JSON, "{}".into()), 415),
        ("QUERY", hub, "", (FORM, long.clone()), 413),
        ("POST", hub, "", update("data=1"), 400),
        ("POST", hub, "", update("topic=/.well-known/mercure/x"), 400),
        ("POST", hub, "", update("topic=a&retry=soon"), 400),
        ("POST", hub, "", update(&"topic=a&".repeat(513)), 413),
        ("POST", hub, "", (TEXT, "topic=a".into()), 415),
    ] {
        let operation = description.operation(method, path);
        let request =
            app.request(operation.method.clone(), &format!("{path}{query}")).header("content-type", media_type);
        let answer = request.body(body).answer().await;
        answer.problem(status);
        description.assert_describes(&operation, &answer);
    }
    let published = |key: &'static str, body: &'static str| {
        let request = app.request(Method::POST, hub).header("content-type", FORM);
        request.header("idempotency-key", key).body(body).answer()
    };
    let operation = description.operation("POST", hub);
    for (key, body, status) in
        [("k", "topic=a", 200), ("k", "topic=a", 200), ("k", "topic=b", 422), (" ", "topic=a", 400)]
    {
        let answer = published(key, body).await;
        description.assert_describes(&operation, answer.assert_status(status));
    }
    let wrong = app.request(Method::GET, &format!("{hub}?match=a")).header("authorization", "Basic x").answer().await;
    assert!(wrong.header("www-authenticate").contains("invalid_request"), "{wrong:?}");
    wrong.problem(400);
    description.assert_describes(&description.operation("GET", hub), &wrong);
    for (path, body) in [(hub, "topic=a"), ("/api/messages", "message=a"), ("/publish", "message=a")] {
        let elsewhere = app.request(Method::POST, path).header("origin", "https://elsewhere.example");
        let elsewhere = elsewhere.header("content-type", FORM).body(body).answer().await;
        elsewhere.problem(403);
        description.assert_describes(&description.operation("POST", path), &elsewhere);
    }
}

#[tokio::test]
async fn too_many_streams_too_fast_publishing_and_another_host_are_refused_as_described() {
    let options = Options { rate_limit: Some(1), max_streams: Some(1), ..open_to_all() };
    let resource = Some("https://hub.example/.well-known/mercure".to_owned());
    let app = App::start_with(Options { resource, demo: Some(true), ..options }).await;
    let description = Description::of(&app).await;
    let submit = description.operation("POST", "/publish");
    let mut answer = app.post("/publish", TEXT, "Hello").await;
    for _ in 0..8 {
        description.assert_describes(&submit, &answer);
        answer = app.post("/publish", TEXT, "Hello").await;
    }
    answer.problem(429);
    let _open = app.open("/.well-known/mercure?match=a").await;
    let second = app.get("/.well-known/mercure?match=b").await;
    second.problem(429);
    description.assert_describes(&description.operation("GET", paths::HUB), &second);
    for operation in description.operations() {
        let misdirected = app.request(operation.method.clone(), operation.path).header("host", "elsewhere.example");
        let response = in_time(operation.path, misdirected.send()).await.expect("an answer");
        if [paths::PING, paths::LIVE, paths::READY].contains(&operation.path) {
            assert_eq!(response.status(), 200);
            continue;
        }
        let answer = crate::answer::Answer::read(response).await;
        answer.problem(421);
        description.assert_describes(&operation, &answer);
    }
    let absent = App::start_with(Options { presence: Some(false), ..Options::default() }).await;
    let answer = absent.get(paths::SUBSCRIPTIONS).await;
    answer.problem(404);
    description.assert_describes(&description.operation("GET", paths::SUBSCRIPTIONS), &answer);
}

/// Options that allow everything that can be allowed without a token.
fn open_to_all() -> Options {
    Options { anonymous: Some(true), publish_without_token: Some(true), ..Options::default() }
}

/// Whether the requested representation is a stream.
fn is_stream(description: &Description, operation: &crate::description::Operation<'_>, accept: Option<&str>) -> bool {
    let response = &operation.object["responses"]["200"];
    let content = &description.resolve(response)["content"];
    let media_type = accept.or_else(|| fields(content).map(|(media_type, _)| media_type).next());
    media_type == Some("text/event-stream")
}

/// How many routes the source files in a folder add.
fn routes(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let count = |path: std::path::PathBuf| match path.extension().and_then(|extension| extension.to_str()) {
        Some("rs") => fs::read_to_string(path).expect("a text").matches(".route(").count(),
        _ if path.is_dir() => routes(&path),
        _ => 0,
    };
    entries.map(count).sum()
}

/// Calls `seen` with every object of a document.
fn visit(value: &Value, seen: &mut impl FnMut(&Value)) {
    if value.is_object() {
        seen(value);
    }
    fields(value).map(|(_, value)| value).chain(array(value)).for_each(|value| visit(value, seen));
}
