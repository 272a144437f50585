//! What is kept of ACME in the data folder: the account, the certificate, and how orders have gone.

use std::fs;
use std::io;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use instant_acme::AccountCredentials;
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::server::net::tls::PemFiles;
use crate::server::net::tls::files::replace;

pub(super) struct AcmeFolder(PathBuf);

/// How orders have gone.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Attempts {
    /// How many have failed since the last one that did not.
    pub(super) failures: u32,
    /// When the next one may be made; `None` for at once.
    pub(super) again: Option<DateTime<Utc>>,
}

/// An account, and whose it is.
#[derive(Serialize, Deserialize)]
struct StoredAccount<T> {
    directory: String,
    credentials: T,
}

impl AcmeFolder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The account at this directory, if there is one.
    pub(super) fn account(&self, directory: &str) -> Option<AccountCredentials> {
        let text = fs::read(self.0.join("account.json")).ok()?;
        let stored: StoredAccount<AccountCredentials> = serde_json::from_slice(&text).ok()?;
        (stored.directory == directory).then_some(stored.credentials)
    }

    pub(super) fn write_account(&self, directory: &str, credentials: &AccountCredentials) -> io::Result<()> {
        let stored = StoredAccount { directory: directory.into(), credentials };
        self.write("account.json", &serde_json::to_string(&stored)?)
    }

    pub(super) fn write_certificate(&self, chain: &str, key: &str) -> io::Result<()> {
        let PemFiles { certificate, key: key_file } = super::files(&self.0);
        fs::create_dir_all(&self.0)?;
        // The key first: a certificate without its key could not be used after a crash.
        replace(&key_file, key, 0o600)?;
        replace(&certificate, chain, 0o644)
    }

    pub(super) fn attempts(&self) -> Attempts {
        let text = fs::read(self.0.join("attempts.json")).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Notes how orders have gone.
    pub(super) fn note(&self, attempts: &Attempts) {
        let written = serde_json::to_string(attempts).map_err(io::Error::from);
        if let Err(error) = written.and_then(|text| self.write("attempts.json", &text)) {
            warn!(%error, "how orders of certificates have gone could not be noted");
        }
    }

    fn write(&self, name: &str, text: &str) -> io::Result<()> {
        fs::create_dir_all(&self.0)?;
        replace(&self.0.join(name), text, 0o600)
    }
}
