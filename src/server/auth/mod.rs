//! Who may do what: tokens, the keys that verify them, and what they grant.
//!
//! [`Auth`] is the door. It holds the keys of every trusted issuer, verifies tokens with them, and remembers which
//! tokens have been revoked. It knows no HTTP: where a token stands in a request is not its business.
//!
//! A token is read (`compact`), checked (`check`) with its issuer's keys (`issuer`), and what it grants is read from
//! its `details`. Keys come from a file (`key_file`: `pem`, `jwk`, a secret) or are fetched (`remote`).

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
use compact::Compact;
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
    #[error(
        "there is no {} yet. The server makes it when it first starts: run this where the server runs, name its data \
         folder with --data, or make the key with `tidings token --make-key`",
        path.display()
    )]
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
    /// Reads every key. Where a source is [`KeySource::Generated`] and there is none yet, it is made. `clock` is the
    /// wall clock: what expires does so by it.
    ///
    /// It reads and writes files: call it before anybody is served.
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
        let mut opener = Opener::new(&options.data, may_write, clock.clone());
        let issuers = options.issuers.iter().map(|issuer| opener.open(issuer)).collect::<Result<_, _>>()?;
        let revoked = Revoked::open(&options.data, MAX_REVOKED, may_write, clock())?;
        let tickets = Tickets::open(&options.data, MAX_USED_TICKETS)?;
        let cache = Cache::new(CACHE_GENERATION);
        Ok(Self { options, patterns, clock, issuers, cache, revoked, tickets })
    }

    /// Checks a token for a use. It waits only where keys must be fetched, and for some seconds at most.
    pub async fn verify(&self, token: &str, role: Role) -> Result<Arc<Token>, TokenError> {
        let now = (self.clock)();
        let fingerprint = cache::fingerprint(token, role);
        if let Some(known) = self.known(&fingerprint, role).await? {
            self.still_valid(&known)?;
            return Ok(known);
        }
        let compact = Compact::parse(token)?;
        let checked = self.check(&compact, role, now, &mut Findings::First).await?;
        let Checked { token, issuer, keys } = checked.ok_or(TokenError::Signature)?;
        let token = Arc::new(token);
        self.cache.insert(fingerprint, Verified { token: token.clone(), issuer, keys });
        Ok(token)
    }

    /// Whether a token that was verified has neither expired nor been revoked since. It never waits.
    ///
    /// Who opens a stream for a token asks once more when the stream can be found by a revocation. The wall clock
    /// decides, which jumps when the machine wakes or the clock is set: who holds a stream open asks every few seconds.
    pub fn still_valid(&self, token: &Token) -> Result<(), TokenError> {
        let now = (self.clock)();
        token.not_expired(now)?;
        self.not_revoked(&token.issuer, &token.id, now)
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

    /// Refuses the tokens of this issuer with this id from now on, until they have expired: for ever, if it isn't
    /// known when. Answers when that is on disk.
    pub async fn revoke(&self, issuer: &str, id: &str, until: Option<DateTime<Utc>>) -> Result<(), RevokeError> {
        if !self.issuers().any(|trusted| trusted == issuer) {
            return Err(RevokeError::Issuer);
        }
        if id.is_empty() {
            return Err(RevokeError::Id);
        }
        self.revoked.insert(issuer, id, until, (self.clock)()).await
    }

    /// The trusted issuers; the first one is the hub's own.
    pub fn issuers(&self) -> impl Iterator<Item = &str> {
        self.issuers.iter().map(|issuer| &*issuer.name)
    }

    /// A ticket that stands for this token, which has been verified, for [`TICKET_LIFETIME`].
    pub async fn issue_ticket(&self, token: &str) -> Result<String, TicketError> {
        self.tickets.issue(token, (self.clock)()).await
    }

    /// What a ticket stands for. The ticket is not used up: [`Auth::redeem`] does that when its stream is open.
    /// `proofs` is the cookie that the client has, if any: see [`Ticket::proofs`].
    pub async fn ticket(&self, ticket: &str, proofs: Option<&str>) -> Result<Ticket, TicketError> {
        let (token, seal) = self.tickets.read(ticket, proofs, (self.clock)())?;
        let token = self.verify(&token, Role::Subscriber).await?;
        Ok(Ticket { token, seal })
    }

    /// Uses a ticket up: it opens no second stream without a proof. Of several clients that present it at once, one is
    /// accepted. It never waits.
    pub fn redeem(&self, ticket: &Ticket) -> Result<(), TicketError> {
        self.tickets.redeem(&ticket.seal)
    }
}
