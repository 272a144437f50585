//! The file with headers for the endpoint. Its values are secret: no error, no log line and no `Debug` has them.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use thiserror::Error;

/// Maximum size of the file, in bytes.
const MAX_FILE: usize = 64 * 1024;

/// A file with headers that can't be used.
#[derive(Debug, Error)]
#[error("{}: {problem}", path.display())]
pub struct HeadersError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: HeadersProblem,
}

/// What is wrong with a file of headers.
#[derive(Debug, Error)]
pub enum HeadersProblem {
    /// It can't be read.
    #[error("it can't be read: {0}")]
    Unreadable(#[from] io::Error),
    /// It is too large.
    #[error("it has more than {MAX_FILE} bytes: write one header in each line, `Name: value`")]
    TooLarge,
    /// A line is not a header.
    #[error("line {0} is not a header: write `Name: value`, in ASCII")]
    Line(usize),
}

/// Reads the headers: one in each line. Empty lines, and lines that begin with `#`, are skipped.
pub(super) fn read(path: &Path) -> Result<HeaderMap, HeadersError> {
    bytes(path).and_then(|bytes| parse(&bytes)).map_err(|problem| HeadersError { path: path.into(), problem })
}

fn bytes(path: &Path) -> Result<Vec<u8>, HeadersProblem> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_FILE { Err(HeadersProblem::TooLarge) } else { Ok(bytes) }
}

fn parse(bytes: &[u8]) -> Result<HeaderMap, HeadersProblem> {
    let mut headers = HeaderMap::new();
    for (line, number) in bytes.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii).zip(1..) {
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let (name, value) = parse_line(line).ok_or(HeadersProblem::Line(number))?;
        headers.append(name, value);
    }
    Ok(headers)
}

fn parse_line(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    let name = HeaderName::from_bytes(line[..colon].trim_ascii()).ok()?;
    let value = std::str::from_utf8(line[colon + 1..].trim_ascii()).ok()?;
    let mut value = HeaderValue::from_str(value).ok().filter(|value| value.to_str().is_ok())?;
    value.set_sensitive(true);
    Some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_a_header_in_each_line() {
        let headers = parse(b"# for the vendor\nAuthorization: Bearer s3cret\r\n\nx-team:a:b\n").expect("headers");
        assert_eq!(headers["authorization"], "Bearer s3cret");
        assert_eq!(headers["x-team"], "a:b");
        assert!(!format!("{headers:?}").contains("s3cret"));
    }

    #[test]
    fn what_is_not_a_header_is_named_by_its_line_and_not_shown() {
        for text in ["ok: 1\nBearer s3cret", "ok: 1\ns3cret é: x", "ok: 1\na: s3cret é"] {
            let problem = parse(text.as_bytes()).expect_err(text).to_string();
            assert!(problem.starts_with("line 2 ") && !problem.contains("s3cret"), "{problem}");
        }
        let missing = read(Path::new("/nowhere/headers")).expect_err("no file").to_string();
        assert!(missing.starts_with("/nowhere/headers: it can't be read: "), "{missing}");
    }
}
