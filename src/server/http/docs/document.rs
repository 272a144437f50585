//! The OpenAPI document, assembled from the files in `openapi/`: version 3.2, which can describe streams and `QUERY`.
//!
//! In these files a description may be an array of lines, since JSON has no multi-line strings; they are joined here. The
//! version is the program's.

use serde_json::Value;

/// In the order of the page: the groups of addresses, then the parts that they share.
const PARTS: [&str; 8] = [
    include_str!("openapi/document.json"),
    include_str!("openapi/hub.json"),
    include_str!("openapi/presence.json"),
    include_str!("openapi/tokens.json"),
    include_str!("openapi/server.json"),
    include_str!("openapi/schemas.json"),
    include_str!("openapi/parameters.json"),
    include_str!("openapi/responses.json"),
];

/// The OpenAPI document.
pub(super) struct Document(Value);

/// One operation of it.
pub(super) struct Operation<'a> {
    /// In upper case.
    pub(super) method: String,
    pub(super) path: &'a str,
    /// Its Operation Object.
    pub(super) object: &'a Value,
}

impl Document {
    /// The hub's document with `more` parts merged into it. Each part lists the groups that it adds in its `tags`.
    pub(super) fn new(more: &[&str]) -> Self {
        let (mut document, mut tags) = (Value::Null, Vec::new());
        for part in PARTS.iter().chain(more) {
            let mut part: Value = serde_json::from_str(part).expect("JSON, which a test reads");
            if let Some(Value::Array(groups)) = part.get_mut("tags").map(Value::take) {
                tags.extend(groups);
            }
            merge(&mut document, part);
        }
        document["tags"] = tags.into();
        join_lines(&mut document);
        document["info"]["version"] = env!("CARGO_PKG_VERSION").into();
        Self(document)
    }

    pub(super) fn to_json(&self) -> String {
        format!("{:#}\n", self.0)
    }

    /// The part at this JSON pointer.
    pub(super) fn at(&self, pointer: &str) -> &Value {
        self.0.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// The object itself, or what its `$ref` names.
    pub(super) fn resolve<'a>(&'a self, object: &'a Value) -> &'a Value {
        match object["$ref"].as_str() {
            Some(reference) => self.at(reference.trim_start_matches('#')),
            None => object,
        }
    }

    /// The operations of a tag, in their order.
    pub(super) fn operations(&self, tag: &str) -> Vec<Operation<'_>> {
        let mut operations = Vec::new();
        for (path, methods) in entries(self.at("/paths")) {
            for (method, object) in entries(methods) {
                if items(&object["tags"]).any(|name| name == tag) {
                    operations.push(Operation { method: method.to_ascii_uppercase(), path, object });
                }
            }
        }
        operations
    }
}

impl<'a> Operation<'a> {
    /// Its name, which is also its anchor on the page.
    pub(super) fn id(&self) -> &'a str {
        text(self.object, "operationId")
    }
}

/// The text of a field; empty where there is none.
pub(super) fn text<'a>(object: &'a Value, name: &str) -> &'a str {
    object[name].as_str().unwrap_or_default()
}

/// The items of an array; none where it isn't there.
pub(super) fn items(array: &Value) -> impl Iterator<Item = &Value> {
    array.as_array().into_iter().flatten()
}

/// The fields of an object, in their order; none where it isn't there.
pub(super) fn entries(object: &Value) -> impl Iterator<Item = (&str, &Value)> {
    object.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

fn merge(into: &mut Value, part: Value) {
    match (into, part) {
        (Value::Object(into), Value::Object(part)) => {
            for (name, value) in part {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, part) => *into = part,
    }
}

fn join_lines(value: &mut Value) {
    match value {
        Value::Object(fields) => fields.iter_mut().for_each(|(name, value)| match value {
            Value::Array(lines) if name == "description" => *value = joined(lines),
            value => join_lines(value),
        }),
        Value::Array(items) => items.iter_mut().for_each(join_lines),
        _ => {}
    }
}

fn joined(lines: &[Value]) -> Value {
    lines.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n").into()
}
