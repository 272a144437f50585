//! Descriptions as HTML: of CommonMark what the document uses, paragraphs, `code`, **weight** and [links](address).

use std::fmt;

/// A text, with what HTML would take for markup escaped: for content and for quoted attributes.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(['&', '<', '>', '"']) {
            let (before, after) = rest.split_at(at);
            let entity = match after.as_bytes()[0] {
                b'&' => "&amp;",
                b'<' => "&lt;",
                b'>' => "&gt;",
                _ => "&quot;",
            };
            f.write_str(before)?;
            f.write_str(entity)?;
            rest = &after[1..];
        }
        f.write_str(rest)
    }
}

/// A text of paragraphs.
pub(super) fn paragraphs(text: &str) -> String {
    let paragraphs = text.split("\n\n").filter(|paragraph| !paragraph.is_empty());
    paragraphs.map(|paragraph| format!("<p>{}</p>", inline(paragraph))).collect()
}

/// A text that stands in a line.
pub(super) fn inline(text: &str) -> String {
    let (mut html, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(['`', '*', '[']) {
        html += &Escaped(&rest[..at]).to_string();
        rest = &rest[at..];
        let (marked, after) = marked(rest).unwrap_or_else(|| (rest[..1].to_owned(), &rest[1..]));
        html += &marked;
        rest = after;
    }
    html + &Escaped(rest).to_string()
}

/// What is marked at the beginning of a text, and what follows it.
fn marked(text: &str) -> Option<(String, &str)> {
    if let Some((code, after)) = text.strip_prefix('`').and_then(|rest| rest.split_once('`')) {
        return Some((format!("<code>{}</code>", Escaped(code)), after));
    }
    if let Some((strong, after)) = text.strip_prefix("**").and_then(|rest| rest.split_once("**")) {
        return Some((format!("<strong>{}</strong>", inline(strong)), after));
    }
    let (words, rest) = text.strip_prefix('[')?.split_once("](")?;
    let (address, after) = rest.split_once(')')?;
    Some((format!("<a href=\"{}\">{}</a>", Escaped(address), inline(words)), after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_marked_becomes_markup_and_nothing_else_does() {
        for (text, html) in [
            ("a `b < c` d", "a <code>b &lt; c</code> d"),
            ("`a*b`, *", "<code>a*b</code>, *"),
            ("**Now.** Then", "<strong>Now.</strong> Then"),
            (
                "see [this & that](https://example.com/?a=\"1\")!",
                r#"see <a href="https://example.com/?a=&quot;1&quot;">this &amp; that</a>!"#,
            ),
            ("[not a link], <b>, `open", "[not a link], &lt;b&gt;, `open"),
        ] {
            assert_eq!(inline(text), html);
        }
        assert_eq!(paragraphs("a\nb\n\nc"), "<p>a\nb</p><p>c</p>");
    }
}
