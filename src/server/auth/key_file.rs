//! Keys in files: PEM, JWK, JWKS or a shared secret in one line of text; and the secrets that this program makes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::Value;

use super::key::{Key, check_secret};
use super::key_error::KeyError;
use super::{AuthError, jwk, key_form, pem};

/// The made secret's file in the folder of the server's data.
pub(super) const GENERATED: &str = "token.key";

/// Bytes of a file with keys.
const MAX_FILE: usize = 256 * 1024;
/// Random bytes of the secret that is made.
const SECRET: usize = 32;

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
        Content::Pem(text) => pem::blocks(text).map(pem::public_key).collect(),
        Content::Json(document) => jwk::read(document),
        Content::Secret(secret) => Ok(vec![Key::secret(secret, Algorithm::HS256)?]),
    }
}

/// What the bytes of a file are. They are a shared secret only if they can be nothing else.
pub(super) fn content(file: &[u8]) -> Result<Content<'_>, KeyError> {
    let text = std::str::from_utf8(file).ok();
    if let Some(text) = text.filter(|text| pem::is_pem(text)) {
        return Ok(Content::Pem(text));
    }
    if let Some(text) = text.filter(|text| text.trim_start().starts_with('{')) {
        let syntax = |error: serde_json::Error| KeyError::Syntax { expected: "JWK", reason: error.to_string() };
        return serde_json::from_str(text).map(Content::Json).map_err(syntax);
    }
    let secret = without_line_end(file);
    if secret.is_empty() {
        return Err(KeyError::Empty);
    }
    match key_form::recognize(file) {
        Some(form) => Err(KeyError::Form(form)),
        None => Ok(Content::Secret(secret)),
    }
}

/// The file without the one line end that editors and `echo` leave behind.
fn without_line_end(file: &[u8]) -> &[u8] {
    let Some(line) = file.strip_suffix(b"\n") else { return file };
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The secret in a file that this program has made.
pub(super) fn read_secret(path: &Path) -> Result<Vec<u8>, AuthError> {
    let file = bytes(path)?;
    let secret = without_line_end(&file);
    check_secret(secret, Algorithm::HS256).map_err(|source| AuthError::Key { path: path.into(), source })?;
    Ok(secret.to_vec())
}

/// Where the made secret is.
pub(super) fn generated(data: &Path) -> PathBuf {
    data.join(GENERATED)
}

/// Derives a secret from one that the nodes of a cluster share, in base64url.
pub(super) fn derived_secret(shared: &[u8; 32], purpose: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, shared);
    BASE64_URL_SAFE_NO_PAD.encode(hmac::sign(&key, purpose.as_bytes()))
}

/// Makes a secret in a file if there is none: this one, or a random one. Answers whether it has: of several that try at
/// once, one does.
pub(super) fn make_secret(path: &Path, secret: Option<&str>) -> Result<bool, AuthError> {
    let explain = |source| AuthError::Unwritable { path: path.into(), source };
    if path.try_exists().map_err(explain)? {
        return Ok(false);
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(explain)?;
    let random = || BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; SECRET]>());
    let secret = secret.map_or_else(random, str::to_owned);
    // Whoever sees the file sees the whole of it, so it gets its name when it is written.
    let draft = path.with_extension(format!("{:016x}", rand::random::<u64>()));
    let written = write_new(&draft, &secret).and_then(|()| match fs::hard_link(&draft, path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        // This file system has no hard links.
        Err(_) => match write_new(path, &secret) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        },
    });
    let _ = fs::remove_file(&draft);
    let made = written.map_err(explain)?;
    if made {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(explain)?;
    }
    Ok(made)
}

fn write_new(path: &Path, secret: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{secret}")?;
    file.sync_all()
}
