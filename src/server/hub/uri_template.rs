//! URI templates (RFC 6570) in reverse: which texts could a template expand to? Clients of the older protocol select
//! topics with them.
//!
//! A template is compiled to a regular expression that is matched in linear time. A variable may be a string, a list,
//! pairs or undefined, so `/books{/id}` matches `/books` too.

use std::fmt::Write;

use regex::{Regex, RegexBuilder};

/// Maximum number of variables: the regular expression grows with their square.
const MAX_VARIABLES: usize = 32;

/// Characters that need no encoding, and those that have a meaning in URIs (RFC 3986, sections 2.2 and 2.3).
const UNRESERVED: &str = r"A-Za-z0-9\-._~";
const RESERVED: &str = r":/?#\[\]@!$\&'()*+,;=";
/// One encoded byte, and one encoded character.
const ENCODED: &str = "%[0-9A-Fa-f]{2}";
const ENCODED_CHARACTER: &str = "%[0-7][0-9A-Fa-f]|%[CDcd][0-9A-Fa-f]%[89ABab][0-9A-Fa-f]\
    |%[Ee][0-9A-Fa-f](?:%[89ABab][0-9A-Fa-f]){2}|%[Ff][0-9A-Fa-f](?:%[89ABab][0-9A-Fa-f]){3}";

/// A compiled template.
#[derive(Debug)]
pub(super) struct UriTemplate(Regex);

/// How an expression is expanded (RFC 6570, appendix A).
#[derive(Clone, Copy)]
struct Operator {
    first: &'static str,
    separator: &'static str,
    /// Whether the variables' names are written too.
    named: bool,
    /// Whether the `=` is written before an empty value.
    equals: bool,
    /// Whether reserved characters stay as they are.
    reserved: bool,
}

struct Variable<'a> {
    name: &'a str,
    modifier: Modifier,
}

#[derive(Clone, Copy)]
enum Modifier {
    None,
    Explode,
    /// Maximum number of characters.
    Prefix(u16),
}

impl UriTemplate {
    /// Parses a template. Its compiled regular expression takes at most `size` bytes.
    pub(super) fn parse(template: &str, size: usize) -> Result<Self, String> {
        let mut regex = String::from(r"\A");
        let (mut rest, mut variables) = (template, 0);
        while let Some(at) = rest.find(['{', '}']) {
            write_literal(&mut regex, &rest[..at]);
            let Some(expression) = rest[at..].strip_prefix('{') else {
                return Err("a } without its {".into());
            };
            let (expression, after) = expression.split_once('}').ok_or("a { without its }")?;
            let (operator, list) = operator(expression)?;
            let list: Vec<_> = list.split(',').map(variable).collect::<Result<_, _>>()?;
            variables += list.len();
            if variables > MAX_VARIABLES {
                return Err(format!("it has more than {MAX_VARIABLES} variables"));
            }
            write_expression(&mut regex, operator, &list);
            rest = after;
        }
        write_literal(&mut regex, rest);
        regex.push_str(r"\z");
        let regex = RegexBuilder::new(&regex).size_limit(size).dfa_size_limit(size).build();
        regex.map(Self).map_err(|_| "it is too large".into())
    }

    /// Whether the template can expand to this text.
    pub(super) fn matches(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

fn operator(expression: &str) -> Result<(Operator, &str), String> {
    let simple = Operator { first: "", separator: ",", named: false, equals: false, reserved: false };
    let operator = match expression.as_bytes().first() {
        Some(b'+') => Operator { reserved: true, ..simple },
        Some(b'#') => Operator { first: "#", reserved: true, ..simple },
        Some(b'.') => Operator { first: ".", separator: ".", ..simple },
        Some(b'/') => Operator { first: "/", separator: "/", ..simple },
        Some(b';') => Operator { first: ";", separator: ";", named: true, ..simple },
        Some(b'?') => Operator { first: "?", separator: "&", named: true, equals: true, ..simple },
        Some(b'&') => Operator { first: "&", separator: "&", named: true, equals: true, ..simple },
        Some(b'=' | b',' | b'!' | b'@' | b'|') => return Err("it has an operator that is reserved".into()),
        _ => return Ok((simple, expression)),
    };
    Ok((operator, &expression[1..]))
}

fn variable(text: &str) -> Result<Variable<'_>, String> {
    let (name, modifier) = match (text.strip_suffix('*'), text.split_once(':')) {
        (Some(name), _) => (name, Modifier::Explode),
        (None, Some((name, length))) => {
            let length = Some(length).filter(|length| !length.starts_with(['0', '+']) && length.len() <= 4);
            let length = length.and_then(|length| length.parse().ok()).ok_or("a length must be from 1 to 9999")?;
            (name, Modifier::Prefix(length))
        }
        (None, None) => (text, Modifier::None),
    };
    let is_name =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_%".contains(&b));
    if !name.split('.').all(is_name) {
        return Err("a variable's name has letters, digits, _ and single dots".into());
    }
    Ok(Variable { name, modifier })
}

fn write_literal(regex: &mut String, text: &str) {
    for c in text.chars() {
        let literal = regex::escape(c.encode_utf8(&mut [0; 4]));
        if c.is_ascii_graphic() && !"\"<>\\^`|".contains(c) {
            regex.push_str(&literal);
        } else {
            // Expanded it is encoded, but nobody is kept from writing it as it is.
            let encoded: String = c.to_string().bytes().fold(String::new(), |mut encoded, byte| {
                let _ = write!(encoded, "%{byte:02X}");
                encoded
            });
            let _ = write!(regex, "(?:{literal}|(?i:{encoded}))");
        }
    }
}

/// Any of the variables may be undefined, and is then left out with its separator.
fn write_expression(regex: &mut String, operator: Operator, variables: &[Variable<'_>]) {
    let separator = regex::escape(operator.separator);
    let values: Vec<_> = variables.iter().map(|variable| value(operator, variable)).collect();
    regex.push_str("(?:");
    for (at, value) in values.iter().enumerate() {
        let _ = write!(regex, "{}{}{value}", if at > 0 { "|" } else { "" }, regex::escape(operator.first));
        for later in &values[at + 1..] {
            let _ = write!(regex, "(?:{separator}{later})?");
        }
    }
    regex.push_str(")?");
}

/// What can stand for one defined variable.
fn value(operator: Operator, variable: &Variable<'_>) -> String {
    let reserved = if operator.reserved { RESERVED } else { "" };
    // A list's values are separated by commas; exploded pairs have their equals signs.
    let any = format!("(?:[{UNRESERVED}{reserved},]|{ENCODED})");
    let pairs = format!("(?:[{UNRESERVED}{reserved}=]|{ENCODED})");
    let separator = regex::escape(operator.separator);
    match (operator.named, variable.modifier) {
        (false, Modifier::None) => format!("{any}*"),
        (false, Modifier::Explode) => format!("{pairs}*(?:{separator}{pairs}*)*"),
        (true, Modifier::Explode) => format!("{pairs}+(?:{separator}{pairs}+)*"),
        (false, Modifier::Prefix(length)) => {
            format!("(?:[{UNRESERVED}{reserved}]|{ENCODED_CHARACTER}){{0,{length}}}")
        }
        (true, modifier) => {
            let name = regex::escape(variable.name);
            let (unit, most) = match modifier {
                Modifier::Prefix(length) => (format!("(?:[{UNRESERVED}]|{ENCODED_CHARACTER})"), length.to_string()),
                _ => (any, String::new()),
            };
            match operator.equals {
                true => format!("{name}={unit}{{0,{most}}}"),
                false => format!("{name}(?:={unit}{{1,{most}}})?"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn template(text: &str) -> Result<UriTemplate, String> {
        UriTemplate::parse(text, 256 * 1024)
    }

    #[track_caller]
    fn check(text: &str, matched: &[&str], others: &[&str]) {
        let template = template(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        for topic in matched {
            assert!(template.matches(topic), "{text} can expand to {topic}");
        }
        for topic in others {
            assert!(!template.matches(topic), "{text} can't expand to {topic}");
        }
    }

    /// RFC 6570, section 1.2 and 3.2, with its own values.
    #[test]
    fn the_standards_own_expansions_are_matched() {
        check("{var}", &["value"], &["va/lue", "a b"]);
        check("{hello}", &["Hello%20World%21"], &["Hello World!", "Hello%2"]);
        check("{+path}/here", &["/foo/bar/here"], &["/foo/bar/there"]);
        check("X{#var}", &["X#value", "X"], &["Xvalue"]);
        check("map?{x,y}", &["map?1024,768"], &["map?1024/768"]);
        check("{x,hello,y}", &["1024,Hello%20World%21,768"], &[]);
        check("{#path,x}/here", &["#/foo/bar,1024/here"], &[]);
        check("X{.x,y}", &["X.1024.768", "X.1024"], &["X1024"]);
        check("{/var,x}/here", &["/value/1024/here", "/here"], &["value/1024/here", "/a/b/c/here"]);
        check("{;x,y,empty}", &[";x=1024;y=768;empty", ";y=768"], &[";y=768;x=1024", ";empty="]);
        check("{?x,y}", &["?x=1024&y=768", "?y=768", "?x=", ""], &["?", "?y=768&x=1", "&x=1", "?z=1"]);
        check("?fixed=yes{&x}", &["?fixed=yes&x=1024", "?fixed=yes"], &["?fixed=yes&y=1"]);
        check("{var:3}", &["val", "v", ""], &["valu"]);
        check("{semi:1}", &["%3B"], &["%3B%3B"]);
        check("{list}", &["red,green,blue"], &["red/green"]);
        check("{list*}", &["red,green,blue"], &["red/green"]);
        check("{keys*}", &["semi=%3B,dot=.,comma=%2C"], &[]);
        check("{+keys*}", &["semi=;,dot=.,comma=,"], &[]);
        check("{/list*}", &["/red/green/blue"], &["red/green"]);
        check("{/list*,path:4}", &["/red/green/blue/%2Ffoo"], &[]);
        check("{;list*}", &[";list=red;list=green"], &["list=red"]);
        check("{?keys*}", &["?semi=%3B&dot=.&comma=%2C"], &["?semi=;"]);
        check("{?var:3}", &["?var=val"], &["?var=valu"]);
    }

    #[test]
    fn only_the_whole_text_counts_and_case_does() {
        let books = "https://example.com/books/{id}";
        check(
            books,
            &["https://example.com/books/1", "https://example.com/books/"],
            &[
                "https://example.com/books/1/2",
                "https://example.com/books/1\n",
                "https://EXAMPLE.com/books/1",
                "see https://example.com/books/1",
                "https://example.com/books/1?a=b",
            ],
        );
        check("https://example.com/a.b", &["https://example.com/a.b"], &["https://example.com/axb"]);
    }

    #[test]
    fn what_is_written_as_it_is_may_be_encoded_or_not() {
        check("/café/{x}", &["/café/1", "/caf%C3%A9/1", "/caf%c3%a9/1"], &["/cafe/1"]);
    }

    #[test]
    fn what_is_no_template_or_too_large_a_one_is_refused() {
        let many = format!("{{{}}}", vec!["a"; 33].join(","));
        let large = "{a:9999}{b:9999}".repeat(8);
        for text in [
            "{",
            "}",
            "a}b{c}",
            "{}",
            "{+}",
            "{a b}",
            "{a:0}",
            "{a:10000}",
            "{a:x}",
            "{a:+1}",
            "{=a}",
            "{a..b}",
            "{a,}",
            "{a{b}}",
            &many,
            &large,
        ] {
            assert!(template(text).is_err(), "{text}");
        }
    }

    /// One expression of a template and what it expands to, made by the standard's own rules.
    fn expressions() -> impl Strategy<Value = (String, String)> {
        let operators = prop::sample::select(vec!["", "+", "#", ".", "/", ";", "?", "&"]);
        let value = prop::option::of(prop_oneof![
            3 => "[a-z0-9 /é,]{0,6}".prop_map(|value| vec![value]),
            1 => prop::collection::vec("[a-z0-9 /é,]{1,4}", 2..4),
        ]);
        let modifier = prop::sample::select(vec!["", "*", ":3"]);
        let variables = prop::collection::vec((value, modifier), 1..5);
        (operators, variables).prop_map(|(sign, variables)| expand(sign, &variables))
    }

    fn expand(sign: &str, variables: &[(Option<Vec<String>>, &str)]) -> (String, String) {
        let names: Vec<_> = variables.iter().enumerate().map(|(n, (_, modifier))| format!("v{n}{modifier}")).collect();
        let written = format!("{{{sign}{}}}", names.join(","));
        let (operator, _) = operator(&written[1..]).expect("an operator");
        let encode = |text: &str| {
            let kept = |c: char| {
                c.is_ascii_alphanumeric() || "-._~".contains(c) || operator.reserved && ":/?#[]@!$&'()*+,;=".contains(c)
            };
            let each = |c: char| match kept(c) {
                true => c.to_string(),
                false => c.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect(),
            };
            text.chars().map(each).collect::<String>()
        };
        let named = |name: &str, value: String| match (operator.named, value.is_empty() && !operator.equals) {
            (false, _) => value,
            (true, true) => name.to_owned(),
            (true, false) => format!("{name}={value}"),
        };
        let mut parts: Vec<String> = Vec::new();
        for (n, (value, modifier)) in variables.iter().enumerate() {
            let Some(values) = value else { continue };
            let name = format!("v{n}");
            match (values.as_slice(), *modifier) {
                ([one], ":3") => parts.push(named(&name, encode(&one.chars().take(3).collect::<String>()))),
                ([one], _) => parts.push(named(&name, encode(one))),
                // A list has no beginning that could be cut out.
                (_, ":3") => {}
                (many, "*") => parts.extend(many.iter().map(|value| named(&name, encode(value)))),
                (many, _) => {
                    let list: Vec<_> = many.iter().map(|value| encode(value)).collect();
                    parts.push(named(&name, list.join(",")));
                }
            }
        }
        let expanded = if parts.is_empty() { String::new() } else { operator.first.to_owned() };
        (written, expanded + &parts.join(operator.separator))
    }

    proptest! {
        #[test]
        fn a_template_matches_whatever_it_expands_to(parts in prop::collection::vec((expressions(), "[a-z/]{0,4}"), 0..4)) {
            let written: String = parts.iter().map(|((written, _), literal)| format!("{written}{literal}")).collect();
            let expanded: String = parts.iter().map(|((_, expanded), literal)| format!("{expanded}{literal}")).collect();
            let template = template(&written).expect("a template");
            prop_assert!(template.matches(&expanded), "{written} expands to {expanded}");
        }

        #[test]
        fn a_text_without_braces_matches_itself_alone(text in "[^{}]{0,20}", other in "[^{}%]{0,20}") {
            let template = template(&text).expect("a template");
            prop_assert!(template.matches(&text));
            prop_assert_eq!(template.matches(&other), text == other);
        }
    }
}
