//! Who may do what: tokens, the keys that verify them, and what they grant.
//!
//! [`Auth`] is the door. It holds the keys of every trusted issuer, verifies tokens with them, and remembers which
//! tokens have been revoked. It knows no HTTP: where a token stands in a request is not its business.
//!
//! A token is read (`compact`), checked (`check`) with its issuer's keys (`issuer`, which come from `key_file` or
//! `remote`), and what it grants is read from its `details`.

mod address;
mod cache;
mod check;
mod compact;
mod details;
mod fetch;
mod inspect;
mod issuer;
mod jwk;
mod key;
mod key_file;
mod legacy;
mod options;
mod remote;
mod revoked;
mod sign;
#[cfg(test)]
mod tests;
mod tickets;
mod token;

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use thiserror::Error;

pub use details::{DETAIL_TYPE, DetailError};
pub use inspect::Inspection;
pub use key::KeyError;
pub use options::{AuthOptions, IssuerOptions, KeySource};
pub use sign::{Claims, SigningKey};
pub use tickets::TICKET_LIFETIME;
pub use token::{Role, Token, TokenError};

use super::hub::Patterns;
use cache::{Cache, Fingerprint, Verified};
use check::{Checked, Findings};
use compact::Compact;
use issuer::{Issuer, Opener};
use revoked::Revoked;
use tickets::Tickets;

/// Verifies tokens. Shared by all requests.
pub struct Auth {
    options: AuthOptions,
    patterns: Arc<Patterns>,
    issuers: Vec<Issuer>,
    cache: Cache,
    revoked: Revoked,
    tickets: Tickets,
}

/// Why the keys can't be used: each says which, and what to do.
#[derive(Debug, Error)]
pub enum AuthError {
    /// A file can't be read.
    #[error("{} can't be read: {source}. Give this user the right to read it, or name another file", path.display())]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file can't be written.
    #[error("{} can't be written: {source}. Give this user the right to write to its folder", path.display())]
    Unwritable {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file holds no key that can be used.
    #[error("the key file {}: {source}", path.display())]
    Key {
        /// Which one.
        path: PathBuf,
        /// What is wrong.
        source: KeyError,
    },
    /// There is no generated key, and none may be made.
    #[error("there is no {} yet: `tidings token`, or the server when it first starts, makes it", path.display())]
    NoKey {
        /// Where it will be.
        path: PathBuf,
    },
    /// An address may not be fetched from.
    #[error("jwks-url {url}: {reason}")]
    Url {
        /// Which one.
        url: String,
        /// Why.
        reason: String,
    },
    /// Two tables are of the same issuer.
    #[error("the issuer {issuer} is set twice: write its keys to one file, or publish them at one jwks-url")]
    Twice {
        /// Which one.
        issuer: String,
    },
    /// The list of revoked tokens is damaged.
    #[error(
        "{}, line {line}: {reason}. It holds the tokens that were revoked: mend the line, or remove it if that token \
         may be accepted again",
        path.display()
    )]
    Revoked {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

/// Why a token could not be revoked.
#[derive(Debug, Error)]
pub enum RevokeError {
    /// Nobody trusts this issuer's tokens anyway.
    #[error("the issuer is none of the trusted ones")]
    Issuer,
    /// There is no id.
    #[error("the token's id (its `jti`) is missing")]
    Id,
    /// It has expired already.
    #[error("the token has expired already")]
    Expired,
    /// The list is full.
    #[error("{limit} revoked tokens have not expired yet, and more can't be held: replace the issuer's key instead")]
    TooMany {
        /// How many can be held.
        limit: usize,
    },
    /// The list can't be written: the token is refused until the server stops, and perhaps not after it.
    #[error("{} can't be written: {source}. The token is refused until the server stops", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl Auth {
    /// Reads every key. Where a source is [`KeySource::Generated`] and there is none yet, it is made.
    ///
    /// It reads and writes files: call it before anybody is served.
    pub fn open(options: AuthOptions, patterns: Arc<Patterns>) -> Result<Arc<Self>, AuthError> {
        Self::open_to(options, patterns, true).map(Arc::new)
    }

    fn open_to(options: AuthOptions, patterns: Arc<Patterns>, may_write: bool) -> Result<Self, AuthError> {
        let mut names = HashSet::new();
        if let Some(twice) = options.issuers.iter().find(|issuer| !names.insert(&issuer.issuer)) {
            return Err(AuthError::Twice { issuer: twice.issuer.clone() });
        }
        let mut opener = Opener::new(&options.data, may_write);
        let issuers = options.issuers.iter().map(|issuer| opener.open(issuer)).collect::<Result<_, _>>()?;
        let revoked = Revoked::open(&options.data, may_write)?;
        Ok(Self { options, patterns, issuers, cache: Cache::default(), revoked, tickets: Tickets::default() })
    }

    /// Checks a token for a use. It waits only where keys must be fetched, and for some seconds at most.
    pub async fn verify(&self, token: &str, role: Role) -> Result<Arc<Token>, TokenError> {
        self.verify_at(token, role, Utc::now()).await
    }

    async fn verify_at(&self, token: &str, role: Role, now: DateTime<Utc>) -> Result<Arc<Token>, TokenError> {
        let fingerprint = cache::fingerprint(token, role);
        if let Some(known) = self.known(&fingerprint, role).await? {
            known.not_expired(now)?;
            self.not_revoked(&known.issuer, &known.id, now)?;
            return Ok(known);
        }
        let compact = Compact::parse(token)?;
        let checked = self.check(&compact, role, now, &mut Findings::First).await?;
        let Checked { token, issuer, keys } = checked.ok_or(TokenError::Signature)?;
        let token = Arc::new(token);
        self.cache.insert(fingerprint, Verified { token: token.clone(), issuer, keys });
        Ok(token)
    }

    /// A token that has been verified with the keys that its issuer still has.
    async fn known(&self, fingerprint: &Fingerprint, role: Role) -> Result<Option<Arc<Token>>, TokenError> {
        let Some(Verified { token, issuer, keys }) = self.cache.get(fingerprint) else { return Ok(None) };
        let Some(issuer) = self.issuers.get(issuer) else { return Ok(None) };
        if issuer.keys(role).await?.number() == keys {
            return Ok(Some(token));
        }
        self.cache.forget(fingerprint);
        Ok(None)
    }

    /// Whether a token that was verified is still neither expired nor revoked.
    pub fn still_valid(&self, token: &Token) -> Result<(), TokenError> {
        let now = Utc::now();
        token.not_expired(now).and_then(|()| self.not_revoked(&token.issuer, &token.id, now))
    }

    /// Refuses the tokens of this issuer with this id from now on, until they have expired: for ever, if it isn't
    /// known when. Answers when that is on disk.
    pub async fn revoke(&self, issuer: &str, id: &str, until: Option<DateTime<Utc>>) -> Result<(), RevokeError> {
        if !self.issuers().any(|trusted| trusted == issuer) {
            return Err(RevokeError::Issuer);
        }
        if id.is_empty() {
            return Err(RevokeError::Id);
        }
        self.revoked.insert(issuer, id, until).await
    }

    /// The trusted issuers; the first one is the hub's own.
    pub fn issuers(&self) -> impl Iterator<Item = &str> {
        self.issuers.iter().map(|issuer| &*issuer.name)
    }

    /// A ticket that stands for a token, once and for 30 s; `None` if too many are open.
    pub fn issue_ticket(&self, token: Arc<Token>) -> Option<String> {
        self.tickets.issue(token)
    }

    /// The token a ticket stands for, if it is still good; the ticket is used up.
    pub fn redeem_ticket(&self, ticket: &str) -> Option<Arc<Token>> {
        let token = self.tickets.redeem(ticket)?;
        self.still_valid(&token).ok()?;
        Some(token)
    }
}
