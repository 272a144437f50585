//! A trusted issuer and its keys, which are never mixed with another's.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jsonwebtoken::Algorithm;
use tracing::info;
use url::Url;

use super::fetch::Document;
use super::key::Key;
use super::remote::Remote;
use super::{AuthError, IssuerOptions, KeySource, Role, TokenError, key_file};

/// Keys that were read together. A newer set of the same source has another number.
pub(super) struct KeySet {
    number: u64,
    keys: Vec<Key>,
}

impl KeySet {
    pub(super) fn new(keys: Vec<Key>) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Arc::new(Self { number: NEXT.fetch_add(1, Ordering::Relaxed), keys })
    }

    /// Its number, which no other set has.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Finds the key that made the signature. `id` is a hint: the key that has it is tried first.
    fn verify(&self, signed: &Signed<'_>) -> Result<(), TokenError> {
        let named = |key: &&Key| signed.key_id.is_some_and(|id| key.has_id(id));
        let mut fitting = self.keys.iter().filter(|key| key.fits(signed.algorithm)).peekable();
        if fitting.peek().is_none() {
            return Err(TokenError::NoKey);
        }
        let (first, others): (Vec<_>, Vec<_>) = fitting.partition(named);
        let made = |key: &&Key| key.verify(signed.algorithm, signed.message, signed.signature);
        if first.iter().chain(&others).any(made) { Ok(()) } else { Err(TokenError::Signature) }
    }
}

/// What a signature is checked with.
#[derive(Clone, Copy)]
pub(super) struct Signed<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<&'a str>,
    pub(super) message: &'a str,
    /// In base64url.
    pub(super) signature: &'a str,
}

/// Where an issuer's keys for one use are.
#[derive(Clone)]
enum Keys {
    Nowhere,
    Read(Arc<KeySet>),
    Remote(Arc<Remote>),
}

/// A trusted issuer.
pub(super) struct Issuer {
    pub(super) name: Box<str>,
    publisher: Keys,
    subscriber: Keys,
}

impl Issuer {
    /// The keys for a use, as they are now.
    pub(super) async fn keys(&self, role: Role) -> Result<Arc<KeySet>, TokenError> {
        match self.of(role) {
            Keys::Nowhere => Err(TokenError::Use(role)),
            Keys::Read(keys) => Ok(keys.clone()),
            Keys::Remote(remote) => remote.keys().await.ok_or(TokenError::KeysUnavailable),
        }
    }

    /// Checks a signature, and answers the number of the keys it was checked with.
    pub(super) async fn verify(&self, role: Role, signed: &Signed<'_>) -> Result<u64, TokenError> {
        let mut keys = self.keys(role).await?;
        if let (Keys::Remote(remote), Some(id)) = (self.of(role), signed.key_id)
            && !keys.keys.iter().any(|key| key.has_id(id))
            && let Some(newer) = remote.refetched().await
        {
            keys = newer;
        }
        keys.verify(signed)?;
        Ok(keys.number)
    }

    fn of(&self, role: Role) -> &Keys {
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
    opened: HashMap<&'a KeySource, Keys>,
}

impl<'a> Opener<'a> {
    pub(super) fn new(data: &'a Path, may_generate: bool) -> Self {
        Self { data, may_generate, opened: HashMap::new() }
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
            KeySource::File(path) => Keys::Read(KeySet::new(key_file::read(path)?)),
            KeySource::Generated => Keys::Read(KeySet::new(self.generated()?)),
            KeySource::Url { url, internal } => Keys::Remote(remote(url, *internal)?),
        };
        self.opened.insert(source, keys.clone());
        Ok(keys)
    }

    fn generated(&self) -> Result<Vec<Key>, AuthError> {
        let path = key_file::generated(self.data);
        if self.may_generate && key_file::generate(self.data)? {
            info!(
                file = %path.display(),
                "made a key for tokens, since none was set: `tidings token --help` says how to make tokens with it"
            );
        }
        if !self.may_generate && !path.exists() {
            return Err(AuthError::NoKey { path });
        }
        key_file::read(&path)
    }
}

fn remote(url: &Url, internal: bool) -> Result<Arc<Remote>, AuthError> {
    // What stands around the address may be secret.
    let name = format!("{}{}", url.origin().ascii_serialization(), url.path());
    match Document::new(url.clone(), internal) {
        Ok(document) => Ok(Remote::new(name, Box::new(document))),
        Err(reason) => Err(AuthError::Url { url: name, reason }),
    }
}
