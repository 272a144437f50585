//! Keys in files: PEM, JWK, JWKS, or the raw bytes of a shared secret; and the secret that is made where there is none.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::Value;

use super::AuthError;
use super::jwk;
use super::key::{Key, KeyError};

/// The made secret's file in the folder of the server's data.
pub(super) const GENERATED: &str = "token.key";

/// Bytes of a file with keys.
const MAX_FILE: usize = 256 * 1024;
/// Random bytes of the secret that is made.
const SECRET: usize = 32;

const PEM: &str = "-----BEGIN ";

/// What a file of keys holds.
pub(super) enum Content<'a> {
    Pem(&'a str),
    Json(Value),
    /// A shared secret, without the one line end that editors and `echo` leave behind it.
    Secret(&'a [u8]),
}

/// The keys in a file that verify tokens.
pub(super) fn read(path: &Path) -> Result<Vec<Key>, AuthError> {
    let file = bytes(path)?;
    parse(&file).map_err(|source| AuthError::Key { path: path.into(), source })
}

/// What a file holds, for [`content`].
pub(super) fn bytes(path: &Path) -> Result<Vec<u8>, AuthError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes));
    read.map_err(|source| AuthError::Unreadable { path: path.into(), source })?;
    if bytes.len() > MAX_FILE {
        return Err(AuthError::Key { path: path.into(), source: KeyError::TooLarge { limit: MAX_FILE } });
    }
    Ok(bytes)
}

fn parse(file: &[u8]) -> Result<Vec<Key>, KeyError> {
    match content(file)? {
        Content::Pem(text) => blocks(text).map(Key::pem).collect(),
        Content::Json(document) => jwk::read(document),
        Content::Secret(secret) => Ok(vec![Key::secret(secret, Algorithm::HS256)?]),
    }
}

/// What the bytes of a file are, judged by how they begin.
pub(super) fn content(file: &[u8]) -> Result<Content<'_>, KeyError> {
    let text = std::str::from_utf8(file).ok();
    if let Some(text) = text.filter(|text| text.contains(PEM)) {
        return Ok(Content::Pem(text));
    }
    if let Some(text) = text.filter(|text| text.trim_start().starts_with('{')) {
        let syntax = |error: serde_json::Error| KeyError::Syntax { expected: "JWK", reason: error.to_string() };
        return serde_json::from_str(text).map(Content::Json).map_err(syntax);
    }
    let secret = file.strip_suffix(b"\n").map_or(file, |rest| rest.strip_suffix(b"\r").unwrap_or(rest));
    if secret.is_empty() { Err(KeyError::Empty) } else { Ok(Content::Secret(secret)) }
}

/// The blocks of a PEM file: each is a key.
pub(super) fn blocks(text: &str) -> impl Iterator<Item = &str> {
    let starts: Vec<_> = text.match_indices(PEM).map(|(at, _)| at).collect();
    let ends: Vec<_> = starts.iter().copied().skip(1).chain([text.len()]).collect();
    starts.into_iter().zip(ends).map(|(start, end)| &text[start..end])
}

/// What a block says it is.
pub(super) fn label(block: &str) -> Option<&str> {
    block.strip_prefix(PEM)?.split_once("-----").map(|(label, _)| label)
}

/// Where the made secret is.
pub(super) fn generated(data: &Path) -> PathBuf {
    data.join(GENERATED)
}

/// Makes the secret if there is none. Answers whether it has: of several that try at once, one does.
pub(super) fn generate(data: &Path) -> Result<bool, AuthError> {
    let path = generated(data);
    let explain = |source| AuthError::Unwritable { path: path.clone(), source };
    if path.try_exists().map_err(explain)? {
        return Ok(false);
    }
    fs::create_dir_all(data).map_err(explain)?;
    let secret = BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; SECRET]>());
    // Whoever sees the file sees the whole of it, so it gets its name when it is written.
    let draft = data.join(format!("{GENERATED}.{:016x}", rand::random::<u64>()));
    let written = write_draft(&draft, &secret).and_then(|()| match fs::hard_link(&draft, &path) {
        Ok(()) => File::open(data)?.sync_all().map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    });
    let _ = fs::remove_file(&draft);
    written.map_err(explain)
}

fn write_draft(draft: &Path, secret: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    writeln!(file, "{secret}")?;
    file.sync_all()
}
