//! Schemas in words: the type of a value, its limits, and the fields of an object.

use serde_json::Value;

use super::document::{Document, entries, items, text};
use super::prose::{Escaped, inline, paragraphs};

/// Where a schema of the document stands on the page.
pub(super) fn anchor(name: &str) -> String {
    format!("schema-{name}")
}

/// What a value is, in a line: `integer, 1 to 200, 50 by default`.
pub(super) fn words(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()) {
        return format!("<a href=\"#{}\">{}</a>", anchor(name), Escaped(name));
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        return choices.iter().map(words).collect::<Vec<_>>().join(" or ");
    }
    let content = &schema["contentSchema"];
    let kind = match &schema["type"] {
        _ if !schema["const"].is_null() => value(&schema["const"]),
        _ if schema["enum"].is_array() => items(&schema["enum"]).map(value).collect::<Vec<_>>().join(" or "),
        _ if content["$ref"].is_string() => format!("JSON, {}", words(content)),
        _ if content.is_object() => "JSON".to_owned(),
        Value::String(kind) if kind == "array" => format!("array of {}", words(&schema["items"])),
        Value::String(kind) => kind.clone(),
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        _ => "anything".to_owned(),
    };
    std::iter::once(kind).chain(limits(schema)).collect::<Vec<_>>().join(", ")
}

fn limits(schema: &Value) -> Vec<String> {
    let mut limits = Vec::new();
    if let Some(format) = schema["format"].as_str() {
        limits.push(Escaped(format).to_string());
    }
    // Every limit of a text counts bytes of UTF-8 here: the schema, which can only count characters, allows no less.
    for (least, most, of) in
        [("minimum", "maximum", ""), ("minLength", "maxLength", " bytes"), ("minItems", "maxItems", " items")]
    {
        match (schema[least].as_u64(), schema[most].as_u64()) {
            (Some(least), Some(most)) => limits.push(format!("{least} to {most}{of}")),
            (Some(least), None) => limits.push(format!("{least} or more{of}")),
            (None, Some(most)) => limits.push(format!("at most {most}{of}")),
            (None, None) => {}
        }
    }
    if !schema["default"].is_null() && schema["default"] != "" {
        limits.push(format!("{} by default", value(&schema["default"])));
    }
    limits
}

fn value(value: &Value) -> String {
    format!("<code>{}</code>", Escaped(&value.to_string()))
}

/// What is said of a schema, or else of the one that it names: its description, and an example where it has one.
fn about(document: &Document, schema: &Value) -> String {
    let schema = if schema["description"].is_string() { schema } else { document.resolve(schema) };
    let example = items(&schema["examples"]).next();
    let example = example.map(|example| {
        let shown = example.as_str().map_or_else(|| example.to_string(), str::to_owned);
        format!("For example <code>{}</code>.", Escaped(&shown))
    });
    let about = Some(inline(text(schema, "description"))).filter(|about| !about.is_empty());
    about.into_iter().chain(example).collect::<Vec<_>>().join(" ")
}

/// The schema that others name: its description and its fields, or what it is.
fn article(document: &Document, name: &str, schema: &Value) -> String {
    let id = anchor(name);
    let body = match schema["properties"].is_object() {
        true => paragraphs(text(schema, "description")) + &fields(document, name, schema),
        false => format!("<p>{}</p><p>{}</p>", words(schema), about(document, schema)).replace("<p></p>", ""),
    };
    format!(
        "<article class=\"schema\" id=\"{id}\" aria-labelledby=\"{id}-title\">\
         <h3 id=\"{id}-title\"><a href=\"#{id}\">{}</a></h3>{body}</article>",
        Escaped(name)
    )
}

/// A table of an object's fields; those of JSON in a text follow it.
fn fields(document: &Document, name: &str, schema: &Value) -> String {
    let mut rows = String::new();
    push_rows(document, &mut rows, "", schema);
    table(&format!("Fields of {name}"), "Field", &rows)
}

fn push_rows(document: &Document, rows: &mut String, before: &str, schema: &Value) {
    for (name, field) in entries(&schema["properties"]) {
        let required = items(&schema["required"]).any(|required| required == name);
        *rows += &row(&format!("{before}{name}"), required, &words(field), &about(document, field));
        push_rows(document, rows, &format!("{before}{name} › "), &field["contentSchema"]);
    }
}

/// One thing that is sent or answered: its name and type, and what is said of it.
pub(super) fn row(name: &str, required: bool, kind: &str, about: &str) -> String {
    let needed = if required { " <span class=\"needed\">required</span>" } else { "" };
    format!(
        "<tr><th scope=\"row\"><code>{}</code>{needed}<span class=\"kind\">{kind}</span></th><td>{about}</td></tr>",
        Escaped(name)
    )
}

/// A table of [`row`]s.
pub(super) fn table(caption: &str, head: &str, rows: &str) -> String {
    format!(
        "<table><caption class=\"sr\">{}</caption><thead class=\"sr\"><tr><th scope=\"col\">{head}</th>\
         <th scope=\"col\">About</th></tr></thead><tbody>{rows}</tbody></table>",
        Escaped(caption)
    )
}

/// The articles of all schemas.
pub(super) fn articles(document: &Document) -> String {
    entries(document.at("/components/schemas")).map(|(name, schema)| article(document, name, schema)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_type_is_told_with_its_limits() {
        for (schema, said) in [
            (
                json!({ "type": "integer", "minimum": 1, "maximum": 200, "default": 50 }),
                "integer, 1 to 200, <code>50</code> by default",
            ),
            (json!({ "type": "string", "minLength": 1, "maxLength": 9 }), "string, 1 to 9 bytes"),
            (json!({ "type": ["string", "null"], "format": "uri" }), "string or null, uri"),
            (
                json!({ "type": "array", "maxItems": 3, "items": { "$ref": "#/components/schemas/A" } }),
                r##"array of <a href="#schema-A">A</a>, at most 3 items"##,
            ),
            (json!({ "enum": ["a", "b"] }), r#"<code>&quot;a&quot;</code> or <code>&quot;b&quot;</code>"#),
            (json!({ "anyOf": [{ "type": "string" }, { "const": true }] }), "string or <code>true</code>"),
            (json!({ "default": "" }), "anything"),
        ] {
            assert_eq!(words(&schema), said);
        }
    }

    #[test]
    fn the_fields_of_json_in_a_text_follow_it() {
        let schema = json!({
            "required": ["data"],
            "properties": { "data": { "contentSchema": { "properties": { "of": { "type": "integer" } } } } }
        });
        let fields = fields(&Document::new(&[]), "Event", &schema);
        assert!(fields.contains("<code>data</code> <span class=\"needed\">required</span>"), "{fields}");
        assert!(fields.contains("<code>data › of</code><span class=\"kind\">integer</span>"), "{fields}");
    }
}
