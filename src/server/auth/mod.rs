//! Who may do what: tokens, the keys that verify them, and what they grant.
//!
//! [`Auth`] is the entry point. It holds the keys of every trusted issuer, verifies tokens with them, and remembers the
//! revoked ones. It knows no HTTP: credentials are found in requests elsewhere.
//!
//! A token is parsed (`compact_jws`) and checked (`check`) with its issuer's keys (`issuer`). Its rights are parsed from its
//! `details`. Keys come from a file (`key_file`: `pem`, `jwk`, a secret) or are fetched (`remote`).

mod address;
mod cache;
mod check;
mod compact_jws;
mod details;
mod fetch;
mod inspect;
mod issuer;
mod jwk;
mod key;
mod key_error;
mod key_file;
mod key_form;
mod key_set;
mod legacy;
mod options;
mod pem;
mod remote;
mod revoked;
mod sign;
#[cfg(test)]
mod tests;
mod ticket_key;
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
pub use key_error::{KeyError, KeyForm};
pub use options::{AuthOptions, IssuerOptions, KeySource};
pub use remote::KEYS_RETRY_AFTER;
pub use sign::{Claims, SigningKey};
pub use tickets::{TICKET_LIFETIME, Ticket, TicketError};
pub use token::{Role, Token, TokenError};

use super::hub::Patterns;
use super::log::Clock;
use cache::{Cache, Fingerprint, Verified};
use check::{Checked, Findings};
use compact_jws::CompactJws;
use issuer::{Issuer, Opener};
use revoked::Revoked;
use tickets::Tickets;

/// Maximum number of verified tokens in each of the cache's two generations.
const CACHE_GENERATION: usize = 5000;
/// Maximum number of revoked tokens that are remembered.
const MAX_REVOKED: usize = 100_000;
/// Maximum number of used tickets that are remembered.
const MAX_USED_TICKETS: usize = 100_000;

/// Verifies tokens. Shared by all requests.
pub struct Auth {
    options: AuthOptions,
    patterns: Arc<Patterns>,
    clock: Clock,
    issuers: Vec<Issuer>,
    cache: Cache,
    revoked: Revoked,
    tickets: Tickets,
}

/// Why the keys or the list of revoked tokens can't be used. Each names the file or address and says what to do.
#[derive(Debug, Error)]
pub enum AuthError {
    /// A file can't be read.
    #[error("{} can't be read: {source}. Give this user the right to read it, or name another file", path.display())]
    Unreadable {
        /// Its path, address or name.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A file can't be written.
    #[error("{} can't be written: {source}. Give this user the right to write to its folder", path.display())]
    Unwritable {
        /// Its path, address or name.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A file contains no key that can be used.
    #[error("the key file {}: {source}", path.display())]
    Key {
        /// Its path, address or name.
        path: PathBuf,
        /// The reason.
        source: KeyError,
    },
    /// There is no generated key yet.
    #[error(
        "there is no {} yet. The server makes it when it first starts: run this where the server runs, name its data \
         folder with --data, or make the key with `tidings token --make-key`",
        path.display()
    )]
    NoKey {
        /// The file that it will be in.
        path: PathBuf,
    },
    /// A `jwks-url` is not allowed.
    #[error("jwks-url {url}: {reason}")]
    Url {
        /// Its path, address or name.
        url: String,
        /// The reason.
        reason: String,
    },
    /// An issuer is set twice.
    #[error("the issuer {issuer} is set twice: write its keys to one file, or publish them at one jwks-url")]
    Twice {
        /// Its path, address or name.
        issuer: String,
    },
    /// The generated key differs from the cluster's.
    #[error(
        "{} differs from the cluster's key, which is derived from its secret. Move the file away, and the server creates it \
         anew; or set the same key on all nodes (--publisher-key-file, --subscriber-key-file)",
        path.display()
    )]
    NotShared {
        /// The file.
        path: PathBuf,
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
        /// The reason.
        reason: String,
    },
}

/// Why a token could not be revoked.
#[derive(Debug, Error)]
pub enum RevokeError {
    /// The issuer isn't trusted.
    #[error("the issuer is not trusted")]
    Issuer,
    /// The id is empty.
    #[error("the token's id (its `jti`) is missing")]
    Id,
    /// It has expired already.
    #[error("the token has already expired")]
    Expired,
    /// The list is full.
    #[error("{limit} revoked tokens are remembered, which is the limit: replace the issuer's key instead")]
    TooMany {
        /// The maximum.
        limit: usize,
    },
    /// The list can't be written. The token is refused, but perhaps not after a restart.
    #[error("{} can't be written: {source}. The token is refused until the server stops", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
}

impl Auth {
    /// Reads all keys, and generates the key of [`KeySource::Generated`] if there is none. Tokens and tickets expire by
    /// `clock`, the wall clock.
    ///
    /// It blocks on files: call it before the server accepts connections.
    pub fn open(options: AuthOptions, patterns: Arc<Patterns>, clock: Clock) -> Result<Arc<Self>, AuthError> {
        Self::open_to(options, patterns, clock, true).map(Arc::new)
    }

    fn open_to(
        options: AuthOptions,
        patterns: Arc<Patterns>,
        clock: Clock,
        may_write: bool,
    ) -> Result<Self, AuthError> {
        let mut names = HashSet::new();
        if let Some(twice) = options.issuers.iter().find(|issuer| !names.insert(&issuer.issuer)) {
            return Err(AuthError::Twice { issuer: twice.issuer.clone() });
        }
        let mut opener = Opener::new(&options.data, may_write, options.shared.as_ref(), clock.clone());
        let issuers = options.issuers.iter().map(|issuer| opener.open(issuer)).collect::<Result<_, _>>()?;
        let revoked = Revoked::open(&options.data, MAX_REVOKED, may_write, clock())?;
        let tickets = Tickets::open(&options.data, options.shared.as_ref(), MAX_USED_TICKETS)?;
        let cache = Cache::new(CACHE_GENERATION);
        Ok(Self { options, patterns, clock, issuers, cache, revoked, tickets })
    }

    /// Verifies a token for a role. It waits only for keys that must be fetched, a few seconds at most.
    pub async fn verify(&self, token: &str, role: Role) -> Result<Arc<Token>, TokenError> {
        let now = (self.clock)();
        let fingerprint = cache::fingerprint(token, role);
        if let Some(known) = self.known(&fingerprint, role).await? {
            self.still_valid(&known)?;
            return Ok(known);
        }
        let compact = CompactJws::parse(token)?;
        let checked = self.check(&compact, role, now, &mut Findings::First).await?;
        let Checked { token, issuer, keys } = checked.ok_or(TokenError::Signature)?;
        let token = Arc::new(token);
        self.cache.insert(fingerprint, Verified { token: token.clone(), issuer, keys });
        Ok(token)
    }

    /// Fails if a token that was verified has expired or been revoked since. It never blocks.
    ///
    /// Call it again when a stream has been registered: the token may have been revoked just before. While a stream is
    /// open, call it every few seconds: the wall clock jumps when the machine wakes or its clock is set.
    pub fn still_valid(&self, token: &Token) -> Result<(), TokenError> {
        let now = (self.clock)();
        token.not_expired(now)?;
        self.not_revoked(&token.issuer, &token.id, now)
    }

    /// The cached token, if its issuer still has the keys that verified it.
    async fn known(&self, fingerprint: &Fingerprint, role: Role) -> Result<Option<Arc<Token>>, TokenError> {
        let Some(Verified { token, issuer, keys }) = self.cache.get(fingerprint) else { return Ok(None) };
        let Some(issuer) = self.issuers.get(issuer) else { return Ok(None) };
        if issuer.keys(role).await?.number() == keys {
            return Ok(Some(token));
        }
        self.cache.forget(fingerprint);
        Ok(None)
    }

    /// Revokes the token of this issuer with this id until it expires, or for ever if `until` is `None`. Returns when
    /// that is on disk.
    pub async fn revoke(&self, issuer: &str, id: &str, until: Option<DateTime<Utc>>) -> Result<(), RevokeError> {
        if !self.issuers().any(|trusted| trusted == issuer) {
            return Err(RevokeError::Issuer);
        }
        if id.is_empty() {
            return Err(RevokeError::Id);
        }
        self.revoked.insert(issuer, id, until, (self.clock)()).await
    }

    /// Reads all key files again: tokens are checked with the new keys from now on, and streams that are open go on. It
    /// blocks on files.
    pub fn reload(&self) {
        self.issuers.iter().for_each(issuer::Issuer::reload);
    }

    /// The issuers whose keys can't be fetched.
    pub fn failing_issuers(&self) -> Vec<&str> {
        self.issuers.iter().filter(|issuer| issuer.is_failing()).map(|issuer| &*issuer.name).collect()
    }

    /// The names of the trusted issuers. The first is the hub's own.
    pub fn issuers(&self) -> impl Iterator<Item = &str> {
        self.issuers.iter().map(|issuer| &*issuer.name)
    }

    /// Issues a ticket for a token, which the caller has verified. It is good for [`TICKET_LIFETIME`].
    pub async fn issue_ticket(&self, token: &str) -> Result<String, TicketError> {
        self.tickets.issue(token, (self.clock)()).await
    }

    /// Verifies a ticket and its token, and leaves the ticket unused: call [`Auth::redeem`] when its stream is open.
    /// `proofs` is the client's cookie, if it has one: see [`Ticket::proofs`].
    pub async fn ticket(&self, ticket: &str, proofs: Option<&str>) -> Result<Ticket, TicketError> {
        let (token, seal) = self.tickets.read(ticket, proofs, (self.clock)())?;
        let token = self.verify(&token, Role::Subscriber).await?;
        Ok(Ticket { token, seal })
    }

    /// Marks a ticket as used: without a proof it opens no second stream. If several clients present it at once, one
    /// succeeds. It never blocks.
    pub fn redeem(&self, ticket: &Ticket) -> Result<(), TicketError> {
        self.tickets.redeem(&ticket.seal)
    }
}
