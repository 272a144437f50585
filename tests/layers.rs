//! The rules of the house, held by reading the source: which room may name which, and who alone may name a
//! crate, and which files may name one another. The two tables below are the rules; the README has the map.

use std::collections::HashSet;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A room (a folder, or a file that stands alone) and the rooms it may name beside itself.
const ROOMS: [(&str, &[&str]); 21] = [
    ("wire", &[]),
    ("server/log", &["server/metrics", "wire"]),
    ("server/hub", &["server/metrics", "server/traces", "wire", "server/log"]),
    // What a token grants is read with the hub's matchers.
    ("server/auth", &["wire", "server/log", "server/hub"]),
    // It stands on the plumbing of http. A message is an update, so it speaks of the log's types too.
    ("server/demo", &["wire", "server/log", "server/hub", "server/settings", "server/http", "ui"]),
    ("ui", &["wire"]),
    // A client for any hub: it knows nothing of this one.
    ("server/cli/client", &["wire", "server/cli/outcome", "server/this_machine"]),
    ("server/cli/outcome", &[]),
    ("server/this_machine", &[]),
    ("server/cli/supervisor", &[]),
    // `server::Server` is what it serves.
    (
        "server/cli/serve",
        &["server", "server/log", "server/settings", "server/telemetry", "server/cli/outcome", "server/cli/supervisor"],
    ),
    // `server::Server` is what it checks.
    ("server/cli/config", &["server", "server/settings", "server/cli/outcome"]),
    ("server/cli/token", &["server/cli/outcome", "server/hub", "server/auth", "server/settings"]),
    ("server/cli", &["wire", "server/cli/outcome", "server/this_machine", "server/log", "server/settings"]),
    // The types of the options.
    (
        "server/settings",
        &["wire", "server/log", "server/hub", "server/auth", "server/net", "server/traces", "server/this_machine"],
    ),
    ("server/telemetry", &["server/settings"]),
    // Everybody counts.
    ("server/metrics", &[]),
    // Everybody may be traced.
    ("server/traces", &["server/this_machine"]),
    // Sockets: they know no route.
    ("server/net", &["server/metrics"]),
    // The hub's web API: it knows nothing of the demo.
    (
        "server/http",
        &[
            "server/metrics",
            "server/traces",
            "wire",
            "server/log",
            "server/hub",
            "server/auth",
            "server/net",
            "server/settings",
            "ui",
        ],
    ),
    // Puts the rooms together, and alone names the demo.
    (
        "server",
        &[
            "wire",
            "server/log",
            "server/hub",
            "server/auth",
            "server/demo",
            "server/net",
            "server/settings",
            "server/http",
            "server/traces",
        ],
    ),
];

/// A name and the only files and folders of `src` that may have it.
const NAMES: [(&str, &[&str]); 21] = [
    // Which half is built.
    ("feature", &["lib.rs", "ui/browser/mod.rs"]),
    // The browser.
    ("web_sys", &["ui/browser/"]),
    ("js_sys", &["ui/browser/"]),
    ("gloo_net", &["ui/browser/"]),
    ("wasm_bindgen", &["ui/browser/", "lib.rs"]),
    ("wasm_bindgen_futures", &["ui/browser/"]),
    // HTTP. The settings hold origins as the header values they will be.
    ("axum", &["server/http/", "server/demo/", "server/settings/"]),
    ("tower_http", &["server/http/"]),
    ("hyper", &["server/net/", "server/http/serving.rs"]),
    ("hyper_util", &["server/net/"]),
    ("leptos_axum", &["server/http/pages.rs"]),
    // The views.
    ("leptos", &["ui/", "lib.rs", "server/http/pages.rs", "server/demo/page.rs"]),
    // The server's own.
    ("tokio", &["server/", "main.rs"]),
    ("tracing", &["server/", "main.rs"]),
    ("redb", &["server/log/"]),
    ("tokio_rustls", &["server/net/"]),
    ("instant_acme", &["server/net/tls/"]),
    ("opentelemetry", &["server/traces/"]),
    ("opentelemetry_http", &["server/traces/"]),
    ("opentelemetry_otlp", &["server/traces/"]),
    ("opentelemetry_sdk", &["server/traces/"]),
];

#[test]
fn every_room_names_only_the_rooms_it_may() {
    let breaches: Vec<_> = sources().iter().flat_map(|(file, text)| rooms_breached(file, text)).collect();
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

#[test]
fn every_name_stands_only_where_it_may() {
    let breaches: Vec<_> = sources().iter().flat_map(|(file, text)| names_breached(file, text)).collect();
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

#[test]
fn no_files_name_one_another_in_a_circle() {
    let sources = sources();
    let modules: Vec<_> = sources.iter().map(|(file, _)| module_of(file)).collect();
    let named: Vec<_> = sources.iter().map(|(file, text)| files_named(file, text, &modules)).collect();
    let circle = circle(&named).map(|circle| circle.iter().map(|&n| sources[n].0.as_str()).collect::<Vec<_>>());
    assert_eq!(circle, None);
}

#[test]
fn a_circle_is_found_wherever_it_is() {
    assert_eq!(circle(&[vec![1, 2], vec![2], vec![]]), None);
    assert_eq!(circle(&[vec![1], vec![2, 3], vec![3], vec![1]]), Some(vec![1, 2, 3]));
    let modules = ["a/mod.rs", "a/b.rs", "a/c/mod.rs", "a/c/d.rs"].map(module_of);
    assert_eq!(files_named("a/b.rs", "use super::{c::d::X, Y};\nuse super::c::Z;", &modules), [3, 2]);
    assert_eq!(files_named("a/mod.rs", "use b::X;\nuse self::c::d;", &modules), [3]);
}

#[test]
fn every_room_and_file_of_the_tables_is_there() {
    let src = Path::new(SRC);
    let is_there = |path: &str| src.join(path).exists() || src.join(format!("{path}.rs")).exists();
    let named = ROOMS.iter().flat_map(|(room, may)| may.iter().chain([room])).chain(NAMES.iter().flat_map(|n| n.1));
    let missing: Vec<_> = named.filter(|path| !is_there(path)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn a_breach_is_told_with_its_file_and_line() {
    let text = "use std::fmt;\nuse crate::{\n    server::{hub::Hub, log},\n    ui,\n};\n";
    assert_eq!(
        rooms_breached("server/log/memory.rs", text),
        ["src/server/log/memory.rs:3: server/log names server/hub", "src/server/log/memory.rs:4: server/log names ui"]
    );
    assert_eq!(names_breached("wire/x.rs", "fn a() {}\nuse axum::Json;\n"), ["src/wire/x.rs:2: names axum"]);
    let text = "#[cfg(not(feature = \"ssr\"))]\nmod a;\n";
    assert_eq!(names_breached("ui/docs.rs", text), ["src/ui/docs.rs:1: names feature"]);
}

#[test]
fn paths_are_found_wherever_they_stand() {
    let breached = |file, text| rooms_breached(file, text).len();
    assert_eq!(breached("server/log/mod.rs", "fn f(hub: &super::hub::Hub) {}"), 1);
    assert_eq!(breached("server/log/disk/mod.rs", "use super::super::hub::Hub;"), 1);
    assert_eq!(breached("wire/mod.rs", "mod tests {\n    use super::*;\n    use super::super::ui;\n}"), 1);
    assert_eq!(breached("ui/shell.rs", "type A = crate::server::log::Entry;"), 1);
    assert_eq!(breached("ui/shell.rs", "mod tests {\n    use super::super::super::wire::frame;\n}"), 0);
    assert_eq!(breached("server/hub/mod.rs", "use super::log::{Entry, Log};\nuse self::matcher::Matchers;"), 0);
    assert_eq!(breached("wire/mod.rs", "//! crate::server\n/* crate::ui */ const A: &str = \"crate::ui\";"), 0);
    assert_eq!(breached("server/log/mod.rs", "pub(in crate::server) const A: u8 = 1;"), 0);
    assert_eq!(breached("server/log/mod.rs", "pub(in crate::server) const A: crate::ui::A = 1;"), 1);
    assert_eq!(breached("wire/mod.rs", "const A: [char; 2] = ['\"', '\\''];\nuse crate::ui;"), 1);
}

const SRC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");

/// Every source file: its path below `src`, and its text.
fn sources() -> Vec<(String, String)> {
    let (mut folders, mut sources) = (vec![PathBuf::from(SRC)], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(SRC).expect("a path below src").to_string_lossy().replace('\\', "/");
                sources.push((name, fs::read_to_string(path).expect("a text")));
            }
        }
    }
    assert!(sources.len() > 30, "the source was not found");
    sources.sort();
    sources
}

fn rooms_breached(file: &str, text: &str) -> Vec<String> {
    let module = module_of(file);
    let Some((room, may)) = ROOMS.iter().find(|(room, _)| *room == room_of(&module)) else { return Vec::new() };
    let mut breaches = Vec::new();
    for (line, path) in paths(&module, text) {
        let named = room_of(&path);
        if !named.is_empty() && named != *room && !may.contains(&named) {
            breaches.push(format!("src/{file}:{line}: {room} names {named}"));
        }
    }
    breaches
}

fn names_breached(file: &str, text: &str) -> Vec<String> {
    let text = without_comments_and_strings(text);
    let words = text.lines().zip(1..).flat_map(|(line, number)| {
        let words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        words.map(move |word| (number, word)).collect::<Vec<_>>()
    });
    let breaches = words.filter(|(_, word)| {
        let rule = NAMES.iter().find(|(name, _)| name == word);
        rule.is_some_and(|(_, places)| !places.iter().any(|place| file.starts_with(place)))
    });
    breaches.map(|(line, name)| format!("src/{file}:{line}: names {name}")).collect()
}

/// The files whose items this one names, besides those of the folders it lies in: what belongs to a whole folder stands in
/// its `mod.rs`.
fn files_named(file: &str, text: &str, modules: &[Vec<String>]) -> Vec<usize> {
    let module = module_of(file);
    let file_of = |path: &[String]| {
        let holds = (0..modules.len()).filter(|&n| path.starts_with(&modules[n]));
        holds.max_by_key(|&n| modules[n].len()).filter(|&n| !module.starts_with(&modules[n]))
    };
    paths(&module, text).iter().filter_map(|(_, path)| file_of(path)).collect()
}

/// A circle among files of which each names these others.
fn circle(named: &[Vec<usize>]) -> Option<Vec<usize>> {
    fn walk(at: usize, named: &[Vec<usize>], way: &mut Vec<usize>, done: &mut HashSet<usize>) -> Option<Vec<usize>> {
        if let Some(begin) = way.iter().position(|&earlier| earlier == at) {
            return Some(way[begin..].to_vec());
        }
        if !done.insert(at) {
            return None;
        }
        way.push(at);
        let found = named[at].iter().find_map(|&next| walk(next, named, way, done));
        way.pop();
        found
    }
    let mut done = HashSet::new();
    (0..named.len()).find_map(|at| walk(at, named, &mut Vec::new(), &mut done))
}

/// The room a module or an item lies in; empty for the crate's root.
fn room_of(path: &[String]) -> &'static str {
    let path = path.join("/") + "/";
    let rooms = ROOMS.iter().map(|(room, _)| *room).filter(|room| path.starts_with(&format!("{room}/")));
    rooms.max_by_key(|room| room.len()).unwrap_or_default()
}

/// `server/hub/recent.rs` is the module `server::hub::recent`.
fn module_of(file: &str) -> Vec<String> {
    let path = file.trim_end_matches(".rs");
    let path = path.strip_suffix("mod").or(path.strip_suffix("lib")).unwrap_or(path);
    path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// Every path that begins with `crate`, `self` or `super`, from the crate's root on, with its line.
fn paths(module: &[String], text: &str) -> Vec<(usize, Vec<String>)> {
    let text = without_comments_and_strings(text);
    let tokens = tokens(&text);
    let word = |at: usize| tokens.get(at).map_or("", |(range, _)| &text[range.clone()]);
    // The modules that are open, written within the file, each with the depth of its braces.
    let (mut inner, mut depth): (Vec<(usize, String)>, usize) = (Vec::new(), 0);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match word(at) {
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                inner.retain(|(opened, _)| *opened <= depth);
            }
            "mod" if word(at + 2) == "{" => inner.push((depth + 1, word(at + 1).to_owned())),
            // Says who may name an item, and names nothing.
            "pub" if word(at + 1) == "(" && word(at + 2) == "in" => {
                while !matches!(word(at), ")" | "") {
                    at += 1;
                }
            }
            "crate" | "self" | "super" if word(at + 1) == "::" && (at == 0 || word(at - 1) != "::") => {
                let mut start: Vec<_> =
                    module.iter().cloned().chain(inner.iter().map(|(_, name)| name.clone())).collect();
                if word(at) == "crate" {
                    start.clear();
                }
                while matches!(word(at), "crate" | "self" | "super") && word(at + 1) == "::" {
                    if word(at) == "super" {
                        start.pop();
                    }
                    at += 2;
                }
                at = expand(&word, &|at| tokens[at].1, at, &start, &mut found);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Follows a path, which may fork in braces, and answers the place after it.
fn expand<'a>(
    word: &impl Fn(usize) -> &'a str,
    line: &impl Fn(usize) -> usize,
    mut at: usize,
    start: &[String],
    found: &mut Vec<(usize, Vec<String>)>,
) -> usize {
    let (mut path, begin) = (start.to_vec(), at);
    loop {
        if word(at) == "{" {
            at += 1;
            while !matches!(word(at), "}" | "") {
                at = if word(at) == "," { at + 1 } else { expand(word, line, at, &path, found) };
            }
            return at + 1;
        }
        path.push(word(at).to_owned());
        at += 1;
        if word(at) != "::" || word(at + 1) == "<" {
            break;
        }
        at += 1;
    }
    found.push((line(begin), path));
    if word(at) == "as" { at + 2 } else { at }
}

/// Words, `::` and single signs, each with its line.
fn tokens(text: &str) -> Vec<(Range<usize>, usize)> {
    let (mut tokens, mut line, mut at) = (Vec::new(), 1, 0);
    while let Some(c) = text[at..].chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let length = match c {
            _ if is_word(c) => text[at..].find(|c| !is_word(c)).unwrap_or(text.len() - at),
            ':' if text[at..].starts_with("::") => 2,
            _ => c.len_utf8(),
        };
        if !c.is_whitespace() {
            tokens.push((at..at + length, line));
        }
        line += usize::from(c == '\n');
        at += length;
    }
    tokens
}

/// The text with blanks in place of its comments and literals. Lines stay where they are.
fn without_comments_and_strings(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '"' => quoted(rest, '"'),
            '\'' if is_char(rest) => quoted(rest, '\''),
            'r' if raw_hashes(rest).is_some() && !code.ends_with(|c: char| c.is_alphanumeric() || c == '_') => {
                let hashes = raw_hashes(rest).unwrap_or_default();
                let close = format!("\"{}", "#".repeat(hashes));
                let begin = hashes + 2;
                rest[begin..].find(&close).map_or(rest.len(), |end| begin + end + close.len())
            }
            _ => {
                code.push(c);
                rest = &rest[c.len_utf8()..];
                continue;
            }
        };
        let (literal, after) = rest.split_at(length);
        code.extend(literal.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = after;
    }
    code
}

/// The length of a literal, its quotes included.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// A lifetime has no closing quote after one character.
fn is_char(text: &str) -> bool {
    let mut chars = text.chars().skip(1);
    match chars.next() {
        Some('\\') => true,
        _ => chars.next() == Some('\''),
    }
}

fn raw_hashes(text: &str) -> Option<usize> {
    let hashes = text[1..].bytes().take_while(|&byte| byte == b'#').count();
    text[1 + hashes..].starts_with('"').then_some(hashes)
}
