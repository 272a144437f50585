//! The tokens that were revoked before their time, until it is over. The list survives: each is a line of a file.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tracing::warn;

use super::{AuthError, RevokeError};

/// The file in the folder of the server's data.
const FILE: &str = "revoked.jsonl";

/// The tokens that are refused.
pub(super) struct Revoked {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    /// Maximum number of tokens.
    limit: usize,
    /// Until when; `None` for ever.
    refused: RwLock<HashMap<Hash, Option<DateTime<Utc>>>>,
    file: Mutex<Option<Appender>>,
}

/// Stands for an issuer and an id, however long they are.
type Hash = [u8; 32];

/// One line of the file.
#[derive(Serialize, Deserialize)]
struct Line {
    #[serde(rename = "iss")]
    issuer: String,
    #[serde(rename = "jti")]
    id: String,
    /// Left out where it is for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<DateTime<Utc>>,
}

/// The file's end. What could not be written whole is cut off before the next line.
struct Appender {
    file: File,
    whole: u64,
}

impl Revoked {
    /// Reads the list, and leaves out of the file who has expired, if it may be written.
    pub(super) fn open(data: &Path, limit: usize, may_write: bool, now: DateTime<Utc>) -> Result<Self, AuthError> {
        let path = data.join(FILE);
        let (lines, left_out) = read(&path, now)?;
        if left_out && may_write {
            rewrite(&path, &lines).map_err(|source| AuthError::Unwritable { path: path.clone(), source })?;
        }
        let refused = lines.iter().map(|line| (hash(&line.issuer, &line.id), line.until)).collect();
        let (refused, file) = (RwLock::new(refused), Mutex::new(None));
        Ok(Self { shared: Arc::new(Shared { path, limit, refused, file }) })
    }

    /// Whether this issuer's tokens with this id are refused.
    pub(super) fn contains(&self, issuer: &str, id: &str, now: DateTime<Utc>) -> bool {
        let refused = self.shared.refused.read().unwrap_or_else(PoisonError::into_inner);
        let refused = if refused.is_empty() { None } else { refused.get(&hash(issuer, id)) };
        refused.is_some_and(|until| until.is_none_or(|until| now < until))
    }

    /// Refuses them from now on, and answers when that is on disk.
    pub(super) async fn insert(
        &self,
        issuer: &str,
        id: &str,
        until: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Result<(), RevokeError> {
        let limit = self.shared.limit;
        if until.is_some_and(|until| until <= now) {
            return Err(RevokeError::Expired);
        }
        {
            let mut refused = self.shared.refused.write().unwrap_or_else(PoisonError::into_inner);
            if refused.len() >= limit {
                refused.retain(|_, until| until.is_none_or(|until| now < until));
            }
            if refused.len() >= limit && !refused.contains_key(&hash(issuer, id)) {
                return Err(RevokeError::TooMany { limit });
            }
            let refuse = refused.entry(hash(issuer, id)).or_insert(until);
            *refuse = later(*refuse, until);
        }
        let line = Line { issuer: issuer.into(), id: id.into(), until };
        let shared = self.shared.clone();
        let written = tokio::task::spawn_blocking(move || shared.append(&line))
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)));
        written.map_err(|source| RevokeError::File { path: self.shared.path.clone(), source })
    }
}

impl Shared {
    fn append(&self, line: &Line) -> io::Result<()> {
        let mut line = serde_json::to_vec(line)?;
        line.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let appender = match &mut *file {
            Some(appender) => appender,
            none => none.insert(Appender::open(&self.path)?),
        };
        appender.append(&line)
    }
}

impl Appender {
    fn open(path: &Path) -> io::Result<Self> {
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        // Its name must be on disk too.
        File::open(folder)?.sync_all()?;
        let whole = file.metadata()?.len();
        Ok(Self { file, whole })
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        self.file.set_len(self.whole)?;
        self.file.write_all(line)?;
        self.file.sync_data()?;
        self.whole += line.len() as u64;
        Ok(())
    }
}

/// The lines of those who have not expired, one of each, and whether any were left out.
fn read(path: &Path, now: DateTime<Utc>) -> Result<(Vec<Line>, bool), AuthError> {
    let unreadable = |source| AuthError::Unreadable { path: path.into(), source };
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), false)),
        opened => opened.map_err(unreadable)?,
    };
    let (mut file, mut text, mut number, mut left_out) = (BufReader::new(file), Vec::new(), 0, false);
    let mut lines = HashMap::new();
    while file.read_until(b'\n', &mut text).map_err(unreadable)? > 0 {
        number += 1;
        if text.pop() != Some(b'\n') {
            // Nobody was told that this one is revoked: the write was interrupted.
            warn!(file = %path.display(), line = number, "the last line is torn and left out");
            left_out = true;
            break;
        }
        if text.trim_ascii().is_empty() {
            left_out = true;
            text.clear();
            continue;
        }
        let line: Line = serde_json::from_slice(&text).map_err(|error| AuthError::Revoked {
            path: path.into(),
            line: number,
            reason: error.to_string(),
        })?;
        text.clear();
        if line.until.is_some_and(|until| until <= now) {
            left_out = true;
            continue;
        }
        match lines.entry(hash(&line.issuer, &line.id)) {
            Entry::Vacant(entry) => {
                entry.insert(line);
            }
            Entry::Occupied(mut entry) => {
                entry.get_mut().until = later(entry.get().until, line.until);
                left_out = true;
            }
        }
    }
    Ok((lines.into_values().collect(), left_out))
}

/// For ever is later than any time.
fn later(one: Option<DateTime<Utc>>, other: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
    one.zip(other).map(|(one, other)| one.max(other))
}

fn rewrite(path: &Path, lines: &[Line]) -> io::Result<()> {
    let draft = path.with_extension("new");
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    let mut out = io::BufWriter::new(file);
    for line in lines {
        serde_json::to_writer(&mut out, line)?;
        out.write_all(b"\n")?;
    }
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    fs::rename(&draft, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// The length keeps an issuer and an id apart.
fn hash(issuer: &str, id: &str) -> Hash {
    Sha256::new()
        .chain_update((issuer.len() as u64).to_le_bytes())
        .chain_update(issuer)
        .chain_update(id)
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    const LIMIT: usize = 100;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a folder")
    }

    fn open(folder: &tempfile::TempDir) -> Revoked {
        Revoked::open(folder.path(), LIMIT, true, Utc::now()).expect("a list")
    }

    fn lines(folder: &tempfile::TempDir) -> usize {
        fs::read_to_string(folder.path().join(FILE)).expect("a file").lines().count()
    }

    #[tokio::test]
    async fn what_is_revoked_stays_so_when_it_is_opened_again_until_it_has_expired() {
        let (folder, now) = (folder(), Utc::now());
        let revoked = open(&folder);
        let (soon, later) = (now + TimeDelta::minutes(1), now + TimeDelta::hours(1));
        for (issuer, id, until) in [("i", "1", Some(soon)), ("i", "2", Some(later)), ("other", "3", None)] {
            revoked.insert(issuer, id, until, Utc::now()).await.expect("an entry");
        }
        for revoked in [&revoked, &open(&folder)] {
            let is = |issuer, id, at| revoked.contains(issuer, id, at);
            assert!(is("i", "1", now) && is("i", "2", now) && is("other", "3", now));
            assert!(!is("i", "1", soon) && is("i", "2", soon) && is("other", "3", now + TimeDelta::weeks(1000)));
            assert!(!is("other", "1", now) && !is("i", "3", now) && !is("", "i1", now));
        }
    }

    #[tokio::test]
    async fn the_file_is_for_its_owner_alone_and_forgets_who_has_expired_when_it_is_opened() {
        use std::os::unix::fs::PermissionsExt;
        let folder = folder();
        let revoked = open(&folder);
        revoked.insert("i", "1", Some(Utc::now() + TimeDelta::milliseconds(20)), Utc::now()).await.expect("an entry");
        for _ in 0..3 {
            revoked.insert("i", "2", None, Utc::now()).await.expect("an entry");
        }
        let mode = fs::metadata(folder.path().join(FILE)).expect("a file").permissions().mode();
        assert_eq!((mode & 0o777, lines(&folder)), (0o600, 4));
        while revoked.contains("i", "1", Utc::now()) {
            tokio::task::yield_now().await;
        }
        Revoked::open(folder.path(), LIMIT, false, Utc::now()).expect("a list");
        assert_eq!(lines(&folder), 4, "who only looks changes nothing");
        assert!(open(&folder).contains("i", "2", Utc::now()));
        assert_eq!(lines(&folder), 1);
    }

    #[tokio::test]
    async fn to_revoke_again_for_a_shorter_time_changes_nothing() {
        let (folder, now) = (folder(), Utc::now());
        let (soon, late) = (now + TimeDelta::minutes(1), now + TimeDelta::hours(1));
        let revoked = open(&folder);
        for (id, until) in [("1", Some(late)), ("1", Some(soon)), ("2", None), ("2", Some(soon))] {
            revoked.insert("i", id, until, Utc::now()).await.expect("an entry");
        }
        for revoked in [&revoked, &open(&folder)] {
            assert!(revoked.contains("i", "1", soon) && revoked.contains("i", "2", late));
            assert!(!revoked.contains("i", "1", late));
        }
    }

    #[tokio::test]
    async fn a_torn_last_line_is_left_out_and_any_other_damage_is_told() {
        let folder = folder();
        open(&folder).insert("i", "1", None, Utc::now()).await.expect("an entry");
        let path = folder.path().join(FILE);
        let whole = fs::read_to_string(&path).expect("a file");
        fs::write(&path, format!("{whole}{}", &whole[..20])).expect("a file");
        let revoked = open(&folder);
        revoked.insert("i", "2", None, Utc::now()).await.expect("an entry");
        assert!(open(&folder).contains("i", "1", Utc::now()) && open(&folder).contains("i", "2", Utc::now()));
        fs::write(&path, format!("{}\n{whole}", &whole[..20])).expect("a file");
        let error = Revoked::open(folder.path(), LIMIT, true, Utc::now()).err().expect("an error").to_string();
        assert!(error.contains("revoked.jsonl, line 1"), "{error}");
    }

    #[tokio::test]
    async fn no_more_are_held_than_may_be_but_the_expired_make_room() {
        let folder = folder();
        let revoked = open(&folder);
        let until = Utc::now() + TimeDelta::milliseconds(500);
        for id in 0..LIMIT {
            let until = Some(until).filter(|_| id < 3);
            revoked.shared.refused.write().expect("a lock").insert(hash("i", &id.to_string()), until);
        }
        if Utc::now() < until {
            let error = revoked.insert("i", "more", None, Utc::now()).await.expect_err("a refusal");
            assert!(matches!(error, RevokeError::TooMany { .. }) || Utc::now() >= until, "{error}");
        }
        revoked.insert("i", "7", None, Utc::now()).await.expect("one that is held already");
        while Utc::now() < until {
            tokio::task::yield_now().await;
        }
        revoked.insert("i", "more", None, Utc::now()).await.expect("an entry");
        assert!(revoked.contains("i", "more", Utc::now()));
    }

    #[tokio::test]
    async fn a_time_that_is_over_is_refused() {
        let error = open(&folder()).insert("i", "1", Some(Utc::now()), Utc::now()).await.expect_err("a refusal");
        assert!(matches!(error, RevokeError::Expired), "{error}");
    }

    #[tokio::test]
    async fn what_cant_be_written_is_refused_all_the_same_and_said() {
        let folder = folder();
        let revoked = open(&folder);
        fs::create_dir(folder.path().join(FILE)).expect("a folder in its place");
        let error = revoked.insert("i", "1", None, Utc::now()).await.expect_err("an error");
        assert!(error.to_string().contains(FILE), "{error}");
        assert!(revoked.contains("i", "1", Utc::now()));
    }
}
