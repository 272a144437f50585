//! The server's own description as a client reads it: its operations, its example requests, and what it promises about
//! answers.

use jsonschema::{Draft, Validator};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, RequestBuilder};
use serde_json::{Map, Value, json};

use crate::answer::Answer;
use crate::app::{App, FORM};

/// An OpenAPI document.
pub(crate) struct Description(pub(crate) Value);

/// An operation of the document.
pub(crate) struct Operation<'a> {
    pub(crate) method: Method,
    pub(crate) path: &'a str,
    pub(crate) object: &'a Value,
}

/// An example request.
#[derive(Clone, Debug)]
pub(crate) struct Example {
    pub(crate) method: Method,
    pub(crate) address: String,
    pub(crate) accept: Option<String>,
    pub(crate) body: Option<(String, String)>,
}

impl Description {
    /// The description of a running server.
    pub(crate) async fn of(app: &App) -> Self {
        Self(app.get("/openapi.json").await.assert_status(200).json())
    }

    pub(crate) fn operations(&self) -> Vec<Operation<'_>> {
        let of_path = |(path, methods)| {
            let operation = move |(method, object): (&str, _)| {
                let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes()).expect("a method");
                Operation { method, path, object }
            };
            fields(methods).map(operation)
        };
        fields(&self.0["paths"]).flat_map(of_path).collect()
    }

    pub(crate) fn operation(&self, method: &str, path: &str) -> Operation<'_> {
        let object = &self.0["paths"][path][method.to_ascii_lowercase()];
        let (path, _) = fields(&self.0["paths"]).find(|(name, _)| *name == path).expect("a described path");
        Operation { method: Method::from_bytes(method.as_bytes()).expect("a method"), path, object }
    }

    /// The target of a `$ref`, or the object itself.
    pub(crate) fn resolve<'a>(&'a self, object: &'a Value) -> &'a Value {
        let Some(reference) = object["$ref"].as_str() else { return object };
        let pointer = reference.strip_prefix('#').expect("a reference within the document");
        self.0.pointer(pointer).unwrap_or_else(|| panic!("{reference} leads nowhere"))
    }

    /// A validator for values of a schema of this document.
    pub(crate) fn validator(&self, schema: &Value) -> Validator {
        let mut whole = schema.as_object().cloned().unwrap_or_default();
        whole.insert("components".into(), self.0["components"].clone());
        let options = jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true);
        options.build(&Value::Object(whole)).unwrap_or_else(|error| panic!("{error}: {schema}"))
    }

    #[track_caller]
    pub(crate) fn assert_valid(&self, schema: &Value, value: &Value) {
        let errors: Vec<_> = self.validator(schema).iter_errors(value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}\n{value}\n{schema}");
    }

    /// The description of an answer with this status, which must exist.
    #[track_caller]
    pub(crate) fn response(&self, operation: &Operation<'_>, status: u16) -> &Value {
        let response = &operation.object["responses"][status.to_string()];
        assert!(response.is_object(), "{} {} does not tell of {status}", operation.method, operation.path);
        // A reference borrows from the document, as the operation does.
        let pointer = format!("/paths/{}/{}", escaped(operation.path), operation.method.as_str().to_ascii_lowercase());
        self.resolve(self.0.pointer(&format!("{pointer}/responses/{status}")).expect("a response"))
    }

    /// Checks a complete answer: its status, headers, media type and content.
    #[track_caller]
    pub(crate) fn assert_describes(&self, operation: &Operation<'_>, answer: &Answer) {
        let response = self.response(operation, answer.status.as_u16());
        for (name, header) in fields(&response["headers"]) {
            let value = answer.header(name);
            // The challenge belongs to refusals because of the token, and the id to requests that resume.
            if !value.is_empty() || answer.status != 400 && name != "Mercure-Last-Event-ID" {
                let schema = &self.resolve(header)["schema"];
                let value = if schema["type"] == "integer" { value.parse().unwrap_or_default() } else { json!(value) };
                self.assert_valid(schema, &value);
                assert_ne!(value, "", "{name} is missing: {answer:?}");
            }
        }
        let media_type = answer.header("content-type");
        let media_type = media_type.split(';').next().unwrap_or_default();
        if media_type.is_empty() {
            assert_eq!((&response["content"], &*answer.body), (&Value::Null, ""), "{answer:?}");
            return;
        }
        let schema = &response["content"][media_type]["schema"];
        assert!(schema.is_object(), "{} {} promises no {media_type}: {answer:?}", operation.method, operation.path);
        let body = match media_type.ends_with("json") {
            true => serde_json::from_str(&answer.body).expect("JSON"),
            false => json!(answer.body),
        };
        self.assert_valid(schema, &body);
    }

    /// Checks an event of a stream: it and the JSON in it must match one of the described schemas.
    #[track_caller]
    pub(crate) fn assert_describes_event(&self, operation: &Operation<'_>, event: &eventsource_stream::Event) {
        let item = &self.response(operation, 200)["content"]["text/event-stream"]["itemSchema"];
        let mut fields = Map::from_iter([("data".to_owned(), json!(event.data))]);
        let named = [("id", &event.id), ("event", &event.event)].into_iter();
        let named = named.filter(|(name, value)| !value.is_empty() && (*name != "event" || *value != "message"));
        fields.extend(named.map(|(name, value)| (name.to_owned(), json!(value))));
        let value = Value::Object(fields);
        let shapes = item["anyOf"].as_array().map_or_else(|| vec![item], |shapes| shapes.iter().collect());
        let fits = shapes.into_iter().map(|shape| self.resolve(shape)).any(|shape| {
            let content = &shape["properties"]["data"]["contentSchema"];
            let json = || serde_json::from_str(&event.data).is_ok_and(|json| self.validator(content).is_valid(&json));
            self.validator(shape).is_valid(&value) && (content.is_null() || json())
        });
        assert!(fits, "{value} is no {item}");
    }

    /// The example requests of an operation: one for each body and representation.
    pub(crate) fn examples(&self, operation: &Operation<'_>) -> Vec<Example> {
        let (mut address, mut query) = (operation.path.to_owned(), form_urlencoded::Serializer::new(String::new()));
        for parameter in array(&operation.object["parameters"]).map(|parameter| self.resolve(parameter)) {
            let name = parameter["name"].as_str().expect("a name");
            for value in texts(&parameter["example"]) {
                if parameter["in"] == "path" {
                    let value = utf8_percent_encode(&value, NON_ALPHANUMERIC).to_string();
                    address = address.replace(&format!("{{{name}}}"), &value);
                } else {
                    assert_eq!(parameter["in"], "query", "an example in a header");
                    query.append_pair(name, &value);
                }
            }
        }
        let query = query.finish();
        if !query.is_empty() {
            address += &format!("?{query}");
        }
        let bodies = fields(&operation.object["requestBody"]["content"]).flat_map(|(media_type, content)| {
            fields(&content["examples"]).map(move |(_, example)| (media_type, &example["value"]))
        });
        let bodies = bodies.map(|(media_type, value)| Some((media_type.to_owned(), encoded(media_type, value))));
        let bodies: Vec<_> = bodies.chain(operation.object["requestBody"].is_null().then_some(None)).collect();
        let success = fields(&operation.object["responses"]).find(|(status, _)| status.starts_with('2'));
        let content = success.map_or(&Value::Null, |(_, response)| &self.resolve(response)["content"]);
        let accepts: Vec<_> = fields(content).map(|(media_type, _)| media_type.to_owned()).collect();
        let example = |accept: &String, body: &Option<_>| Example {
            method: operation.method.clone(),
            address: address.clone(),
            accept: (accepts.len() > 1).then(|| accept.clone()),
            body: body.clone(),
        };
        accepts.iter().flat_map(|accept| bodies.iter().map(move |body| example(accept, body))).collect()
    }
}

impl Operation<'_> {
    /// Whether it can be used without a token on a server that allows everything it can.
    pub(crate) fn is_open(&self) -> bool {
        let ways = self.object["security"].as_array();
        ways.is_none_or(|ways| ways.iter().any(|way| way.as_object().is_some_and(Map::is_empty)))
    }
}

impl Example {
    pub(crate) fn request(&self, app: &App) -> RequestBuilder {
        let mut request = app.request(self.method.clone(), &self.address);
        if let Some(accept) = &self.accept {
            request = request.header("accept", accept);
        }
        match &self.body {
            Some((media_type, body)) => request.header("content-type", media_type).body(body.clone()),
            None => request,
        }
    }
}

/// The fields of an object; empty if it is missing.
pub(crate) fn fields(object: &Value) -> impl Iterator<Item = (&str, &Value)> {
    object.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

/// The items of an array; empty if it is missing.
pub(crate) fn array(array: &Value) -> impl Iterator<Item = &Value> {
    array.as_array().into_iter().flatten()
}

/// The strings of a value that is a string or an array of strings.
fn texts(value: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    match value {
        Value::Null => Vec::new(),
        Value::Array(values) => values.iter().map(text).collect(),
        value => vec![text(value)],
    }
}

fn encoded(media_type: &str, value: &Value) -> String {
    if media_type == FORM {
        let pairs = fields(value).flat_map(|(name, value)| texts(value).into_iter().map(move |value| (name, value)));
        return form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    }
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A name in a JSON pointer (RFC 6901, 3).
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
