//! A trusted issuer and its keys, which are never mixed with another's.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use tracing::{error, info};
use url::Url;

use super::fetch::Document;
use super::key_set::{KeySet, Signed};
use super::remote::Remote;
use super::{AuthError, IssuerOptions, KeySource, Role, TokenError, key_file};
use crate::server::log::Clock;

/// Where an issuer's keys for one use are.
#[derive(Clone)]
enum Keys {
    Nowhere,
    Read(Arc<KeyFile>),
    Remote(Arc<Remote>),
}

/// Keys from a file, which may be read again.
struct KeyFile {
    path: PathBuf,
    keys: RwLock<Arc<KeySet>>,
}

impl KeyFile {
    fn open(path: PathBuf) -> Result<Arc<Self>, AuthError> {
        let keys = RwLock::new(KeySet::new(key_file::read(&path)?));
        Ok(Arc::new(Self { path, keys }))
    }

    fn keys(&self) -> Arc<KeySet> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn reload(&self) -> Result<(), AuthError> {
        let keys = KeySet::new(key_file::read(&self.path)?);
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }
}

/// A trusted issuer.
pub(super) struct Issuer {
    pub(super) name: Box<str>,
    publisher: Keys,
    subscriber: Keys,
}

impl Issuer {
    /// Reads its key files again. Keys that can't be used leave those before as they are.
    pub(super) fn reload(&self) {
        for role in [Role::Publisher, Role::Subscriber] {
            let Keys::Read(file) = self.source(role) else { continue };
            if let Err(error) = file.reload() {
                error!(%error, "a key file can't be used: the keys before stay");
            }
        }
    }

    /// Whether the last fetch of any of its keys failed.
    pub(super) fn is_failing(&self) -> bool {
        let sources = [Role::Publisher, Role::Subscriber].map(|role| self.source(role));
        sources.iter().any(|source| matches!(source, Keys::Remote(remote) if remote.is_failing()))
    }

    /// The keys for a use, as they are now.
    pub(super) async fn keys(&self, role: Role) -> Result<Arc<KeySet>, TokenError> {
        match self.source(role) {
            Keys::Nowhere => Err(TokenError::Use(role)),
            Keys::Read(file) => Ok(file.keys()),
            Keys::Remote(remote) => remote.keys().await.ok_or(TokenError::KeysUnavailable),
        }
    }

    /// Checks a signature, and answers the number of the keys it was checked with.
    pub(super) async fn verify(&self, role: Role, signed: &Signed<'_>) -> Result<u64, TokenError> {
        let mut keys = self.keys(role).await?;
        let Keys::Remote(remote) = self.source(role) else {
            keys.verify(signed)?;
            return Ok(keys.number());
        };
        if signed.key_id.is_some_and(|id| !keys.has_id(id))
            && let Some(newer) = remote.refetched().await
        {
            keys = newer;
        }
        match keys.verify(signed) {
            Ok(()) => Ok(keys.number()),
            // The set that can't be fetched may contain its key.
            Err(_) if remote.is_failing() && !signed.key_id.is_some_and(|id| keys.has_id(id)) => {
                Err(TokenError::KeysUnavailable)
            }
            Err(error) => Err(error),
        }
    }

    fn source(&self, role: Role) -> &Keys {
        match role {
            Role::Publisher => &self.publisher,
            Role::Subscriber => &self.subscriber,
        }
    }
}

/// Opens the issuers' keys: each source once, however many name it.
pub(super) struct Opener<'a> {
    data: &'a Path,
    /// Whether the generated key may be made.
    may_generate: bool,
    shared: Option<&'a [u8; 32]>,
    clock: Clock,
    opened: HashMap<&'a KeySource, Keys>,
}

impl<'a> Opener<'a> {
    /// The generated key is derived from `shared`, if that is given.
    pub(super) fn new(data: &'a Path, may_generate: bool, shared: Option<&'a [u8; 32]>, clock: Clock) -> Self {
        Self { data, may_generate, shared, clock, opened: HashMap::new() }
    }

    pub(super) fn open(&mut self, options: &'a IssuerOptions) -> Result<Issuer, AuthError> {
        Ok(Issuer {
            name: options.issuer.as_str().into(),
            publisher: self.keys(&options.publisher)?,
            subscriber: self.keys(&options.subscriber)?,
        })
    }

    fn keys(&mut self, source: &'a KeySource) -> Result<Keys, AuthError> {
        if let Some(keys) = self.opened.get(source) {
            return Ok(keys.clone());
        }
        let keys = match source {
            KeySource::Nowhere => Keys::Nowhere,
            KeySource::File(path) => Keys::Read(KeyFile::open(path.clone())?),
            KeySource::Generated => Keys::Read(KeyFile::open(self.generated()?)?),
            KeySource::Url { url, internal } => Keys::Remote(self.remote(url, *internal)?),
        };
        self.opened.insert(source, keys.clone());
        Ok(keys)
    }

    /// The file of the generated key, which is made where that is allowed.
    fn generated(&self) -> Result<PathBuf, AuthError> {
        let path = key_file::generated(self.data);
        let shared = self.shared.map(|shared| key_file::derived_secret(shared, "tokens"));
        if self.may_generate && key_file::make_secret(&path, shared.as_deref())? {
            info!(
                file = %path.display(),
                "made a key for tokens, since none was set: `tidings token --help` says how to make tokens with it"
            );
        }
        if !self.may_generate && !path.exists() {
            return Err(AuthError::NoKey { path });
        }
        if let Some(shared) = shared
            && key_file::read_secret(&path)? != shared.as_bytes()
        {
            return Err(AuthError::NotShared { path });
        }
        Ok(path)
    }

    fn remote(&self, url: &Url, internal: bool) -> Result<Arc<Remote>, AuthError> {
        // Credentials and the query may be secret.
        let name = format!("{}{}", url.origin().ascii_serialization(), url.path());
        match Document::new(url.clone(), internal) {
            Ok(document) => Ok(Remote::new(name, Box::new(document), self.clock.clone())),
            Err(reason) => Err(AuthError::Url { url: name, reason }),
        }
    }
}
