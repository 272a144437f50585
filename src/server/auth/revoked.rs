//! Which tokens are refused though nothing is wrong with them: a list in the data folder.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::Mutex;
use tracing::warn;

use super::AuthError;

/// The list's file in the data folder, one JSON object a line.
const FILE: &str = "revoked.jsonl";

/// How many revoked tokens are held.
const LIMIT: usize = 100_000;

/// Why a token could not be revoked.
#[derive(Debug, Error)]
pub enum RevokeError {
    /// There is no id.
    #[error("the token's id (its `jti`) is missing")]
    Id,
    /// The list is full.
    #[error("{limit} revoked tokens have not expired yet, and more can't be held: replace the issuer's key instead")]
    TooMany {
        /// How many can be held.
        limit: usize,
    },
    /// The list can't be written: the token is refused until the server stops, and perhaps not after it.
    #[error("{}: {source}: the token is refused until the server stops, then no more", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

#[derive(Serialize, Deserialize)]
struct Line {
    iss: Box<str>,
    jti: Box<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<DateTime<Utc>>,
}

type Id = (Box<str>, Box<str>);

/// The revoked tokens, by issuer and id.
pub(super) struct Revoked {
    path: PathBuf,
    ids: RwLock<HashMap<Id, Option<DateTime<Utc>>>>,
    /// One writer at a time.
    writing: Arc<Mutex<()>>,
}

impl Revoked {
    /// Reads the list. Those that have expired since are forgotten.
    pub(super) fn open(data: &Path) -> Result<Self, AuthError> {
        let path = data.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(AuthError::Unreadable { path, source }),
        };
        let mut ids = HashMap::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            // A line that was cut off by a crash was not acknowledged.
            let Ok(Line { iss, jti, until }) = serde_json::from_str(line) else {
                warn!(path = %path.display(), "a line of the list of revoked tokens can't be read");
                continue;
            };
            if until.is_none_or(|until| until > Utc::now()) {
                ids.insert((iss, jti), until);
            }
        }
        Ok(Self { path, ids: RwLock::new(ids), writing: Arc::default() })
    }

    pub(super) fn contains(&self, issuer: &str, id: &str) -> bool {
        let ids = self.ids.read().unwrap_or_else(PoisonError::into_inner);
        !ids.is_empty() && ids.contains_key(&(issuer.into(), id.into()))
    }

    pub(super) async fn add(&self, issuer: &str, id: &str, until: Option<DateTime<Utc>>) -> Result<(), RevokeError> {
        if id.is_empty() {
            return Err(RevokeError::Id);
        }
        {
            let mut ids = self.ids.write().unwrap_or_else(PoisonError::into_inner);
            if ids.len() >= LIMIT {
                ids.retain(|_, until| until.is_none_or(|until| until > Utc::now()));
            }
            if ids.len() >= LIMIT {
                return Err(RevokeError::TooMany { limit: LIMIT });
            }
            ids.insert((issuer.into(), id.into()), until);
        }
        let line = serde_json::to_string(&Line { iss: issuer.into(), jti: id.into(), until }).unwrap_or_default();
        let (path, turn) = (self.path.clone(), self.writing.clone().lock_owned().await);
        let written = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            append(&path, &line)
        });
        let written = written.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        written.map_err(|source| RevokeError::File { path: self.path.clone(), source })
    }
}

fn append(path: &Path, line: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let is_new = !path.try_exists()?;
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    // Whatever was left of a line that was cut off ends here.
    file.write_all(format!("{}{line}\n", if is_new { "" } else { "\n" }).as_bytes())?;
    file.sync_all()?;
    match path.parent().filter(|_| is_new) {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_revoked_token_stays_revoked_after_a_restart_until_it_has_expired() {
        let folder = tempfile::tempdir().expect("a folder");
        let list = Revoked::open(folder.path()).expect("a list");
        let soon = Utc::now() + chrono::TimeDelta::hours(1);
        list.add("a", "1", Some(soon)).await.expect("revoked");
        list.add("a", "2", None).await.expect("revoked");
        list.add("a", "old", Some(Utc::now())).await.expect("revoked");
        OpenOptions::new()
            .append(true)
            .open(&list.path)
            .and_then(|mut f| f.write_all(b"{\"iss\":"))
            .expect("a torn line");
        let list = Revoked::open(folder.path()).expect("a list");
        list.add("a", "3", None).await.expect("revoked");
        let list = Revoked::open(folder.path()).expect("a list");
        for (issuer, id, expected) in
            [("a", "1", true), ("a", "2", true), ("a", "3", true), ("a", "old", false), ("b", "1", false)]
        {
            assert_eq!(list.contains(issuer, id), expected, "{issuer} {id}");
        }
    }
}
