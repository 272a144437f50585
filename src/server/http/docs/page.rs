//! The reference page: the document as HTML that needs no script.

use std::fmt::Write;

use axum::http::StatusCode;
use serde_json::Value;

use super::curl;
use super::document::{Document, Operation, entries, items, text};
use super::prose::{Escaped, inline, paragraphs};
use super::schema::{self, row, table, words};
use crate::wire::paths;
use crate::wire::problem;

/// The contents and the reference.
pub(super) fn body(document: &Document) -> String {
    let (mut contents, mut groups) = (String::new(), String::new());
    for tag in items(document.at("/tags")) {
        let operations = document.operations(text(tag, "name"));
        contents += &contents_of(tag, &operations);
        groups += &group(document, tag, &operations);
    }
    let schemas = schema::articles(document);
    let about = paragraphs(text(document.at("/info"), "description"));
    format!(
        "<nav class=\"contents\" aria-label=\"Contents\">{FILTER}<ul role=\"list\">{contents}\
         <li><a class=\"contents-group\" href=\"#data\">Data</a></li></ul></nav>\
         <main id=\"content\" class=\"reference\">\
         <div class=\"intro\"><h1>Every address, and what it answers</h1>{about}\
         <p>For programs: <a href=\"{}\">openapi.json</a>.</p></div>{groups}\
         <section class=\"group\" id=\"data\"><h2>Data</h2><p>What is sent and answered, by the names used above.</p>\
         {schemas}</section></main>",
        paths::OPENAPI
    )
}

/// Useless without a script, which also makes it visible.
const FILTER: &str = "<div class=\"filter needs-life with-script\"><label for=\"filter\">Filter</label>\
    <input id=\"filter\" type=\"search\" autocomplete=\"off\" spellcheck=\"false\" aria-describedby=\"filtered\">\
    <span id=\"filtered\" class=\"section-note\" role=\"status\"></span></div>";

fn contents_of(tag: &Value, operations: &[Operation<'_>]) -> String {
    let link = |operation: &Operation<'_>| {
        let Operation { method, path, .. } = operation;
        format!("<li><a href=\"#{}\">{}<span>{}</span></a></li>", operation.id(), self::method(method), path_of(path))
    };
    let (name, title) = (text(tag, "name"), text(tag, "summary"));
    let links: String = operations.iter().map(link).collect();
    format!(
        "<li><a class=\"contents-group\" href=\"#{name}\">{}</a><ul role=\"list\">{links}</ul></li>",
        Escaped(title)
    )
}

fn group(document: &Document, tag: &Value, operations: &[Operation<'_>]) -> String {
    let (name, title) = (text(tag, "name"), text(tag, "summary"));
    let about = paragraphs(text(tag, "description"));
    let operations: String = operations.iter().map(|operation| article(document, operation)).collect();
    format!("<section class=\"group\" id=\"{name}\"><h2>{}</h2>{about}{operations}</section>", Escaped(title))
}

fn article(document: &Document, operation: &Operation<'_>) -> String {
    let (id, object) = (operation.id(), operation.object);
    let mut html = format!(
        "<article class=\"operation\" id=\"{id}\" aria-labelledby=\"{id}-title\"><h3 id=\"{id}-title\">\
         <a href=\"#{id}\">{}<code>{}</code></a></h3><p class=\"operation-summary\">{}</p>",
        method(&operation.method),
        path_of(operation.path),
        inline(text(object, "summary"))
    );
    html += &paragraphs(text(object, "description"));
    html += &access(object);
    for (title, part) in [
        ("Parameters", parameters(document, operation)),
        ("Body", body_of(object)),
        ("Answers", answers(document, operation)),
        ("From a terminal", commands(document, operation)),
    ] {
        if !part.is_empty() {
            _ = write!(html, "<h4>{title}</h4>{part}");
        }
    }
    html + "</article>"
}

fn method(method: &str) -> String {
    format!("<span class=\"method\" data-method=\"{method}\">{method}</span> ")
}

/// A path that may wrap after each slash.
fn path_of(path: &str) -> String {
    Escaped(path).to_string().replace('/', "/<wbr>")
}

/// Who may use the operation; empty if no token is involved.
fn access(object: &Value) -> String {
    let Some(ways) = object["security"].as_array() else { return String::new() };
    let granting = ways.iter().flat_map(|way| items(&way["token"])).next().and_then(Value::as_str);
    let token = granting.map_or("a token".to_owned(), |right| format!("a token that grants <code>{right}</code>"));
    let by = |name: &str| ways.iter().any(|way| way[name].is_array());
    let places = [("token", "the header <code>Authorization</code>"), ("cookie", "the cookie"), ("ticket", "a ticket")];
    let places: Vec<_> = places.into_iter().filter(|(name, _)| by(name)).map(|(_, place)| place).collect();
    let is_none = |way: &Value| way.as_object().is_some_and(serde_json::Map::is_empty);
    let need = match ways.iter().position(is_none) {
        None => format!("Needs {token}"),
        Some(0) => format!("Open to all where the operator allows it; otherwise, and for more, {token}"),
        Some(_) => format!("Needs {token}, unless the operator allows all"),
    };
    format!("<p class=\"access\">{need}: in {}.</p>", places.join(", or "))
}

fn parameters(document: &Document, operation: &Operation<'_>) -> String {
    let mut rows = String::new();
    for parameter in items(&operation.object["parameters"]).map(|parameter| document.resolve(parameter)) {
        let kind = format!("{}, {}", text(parameter, "in"), words(&parameter["schema"]));
        let about = inline(text(parameter, "description"));
        rows += &row(text(parameter, "name"), parameter["required"] == true, &kind, &about);
    }
    let caption = format!("Parameters of {} {}", operation.method, operation.path);
    if rows.is_empty() { rows } else { table(&caption, "Parameter", &rows) }
}

fn body_of(object: &Value) -> String {
    let content = entries(&object["requestBody"]["content"]);
    let one = |(media_type, content): (&str, &Value)| {
        format!("<li><code>{}</code>: {}</li>", Escaped(media_type), words(&content["schema"]))
    };
    let all: String = content.map(one).collect();
    if all.is_empty() { all } else { format!("<ul class=\"content\" role=\"list\">{all}</ul>") }
}

fn answers(document: &Document, operation: &Operation<'_>) -> String {
    let mut rows = String::new();
    for (status, response) in entries(&operation.object["responses"]) {
        let whole = document.resolve(response);
        // A description beside a reference takes precedence over the one that it refers to.
        let about = response["description"].as_str().unwrap_or_else(|| text(whole, "description"));
        let title = status.parse().ok().and_then(|status| StatusCode::from_u16(status).ok()?.canonical_reason());
        _ = write!(
            rows,
            "<tr data-status=\"{}\"><th scope=\"row\"><code>{status}</code> <span class=\"kind\">{}</span></th>\
             <td>{}{}{}</td></tr>",
            &status[..1],
            title.unwrap_or_default(),
            inline(about),
            headers(document, &whole["headers"]),
            contents(&whole["content"])
        );
    }
    table(&format!("Answers of {} {}", operation.method, operation.path), "Status", &rows)
}

fn headers(document: &Document, headers: &Value) -> String {
    let one = |(name, header): (&str, &Value)| {
        let about = inline(text(document.resolve(header), "description"));
        format!("<li><code>{}</code>: {about}</li>", Escaped(name))
    };
    let all: String = entries(headers).map(one).collect();
    if all.is_empty() { all } else { format!("<ul class=\"content\" role=\"list\">{all}</ul>") }
}

fn contents(content: &Value) -> String {
    let one = |(media_type, content): (&str, &Value)| {
        if media_type == problem::MEDIA_TYPE {
            return format!("<li><q>{}</q></li>", Escaped(text(&content["example"], "detail")));
        }
        let what = match content["itemSchema"].is_object() {
            true => format!("events: {}", words(&content["itemSchema"])),
            false => words(&content["schema"]),
        };
        format!("<li><code>{}</code>: {what}</li>", Escaped(media_type))
    };
    let all: String = entries(content).map(one).collect();
    if all.is_empty() { all } else { format!("<ul class=\"content\" role=\"list\">{all}</ul>") }
}

fn commands(document: &Document, operation: &Operation<'_>) -> String {
    let line = |command: &curl::Command| {
        let about = Escaped(&command.about);
        format!(
            "<li class=\"line\"><span class=\"line-about\">{about}</span><code class=\"line-command\">{}</code>\
             <button type=\"button\" class=\"button-small needs-life with-script\"><span>Copy</span>\
             <span class=\"sr\"> the command: {about}</span></button></li>",
            Escaped(&command.line)
        )
    };
    let lines: String = curl::commands(document, operation).iter().map(line).collect();
    format!("<ul class=\"lines\" role=\"list\">{lines}</ul>")
}
