//! Who may do what: tokens, the keys that verify them, and what they grant.
//!
//! [`Auth`] is the door. It holds the keys of every trusted issuer, verifies tokens with them, and remembers which
//! tokens have been revoked. It knows no HTTP: where a token stands in a request is not its business.

mod details;
mod key;
mod options;
mod token;

use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use thiserror::Error;

pub use details::DetailError;
pub use options::{AuthOptions, IssuerOptions, KeySource};
pub use token::{Role, Token, TokenError};

use super::hub::Patterns;

/// Verifies tokens. Shared by all requests.
pub struct Auth {
    options: AuthOptions,
    patterns: Arc<Patterns>,
}

/// Why the keys can't be used: each says which, and what to do.
#[derive(Debug, Error)]
pub enum AuthError {
    /// A file can't be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
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
    #[error("{}: {source}: the token is refused until the server stops, then no more", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

#[expect(clippy::todo, unused_variables, reason = "the bodies follow")]
impl Auth {
    /// Reads every key. Where a source is [`KeySource::Generated`] and there is none yet, it is made.
    ///
    /// It reads and writes files: call it before anybody is served.
    pub fn open(options: AuthOptions, patterns: Arc<Patterns>) -> Result<Arc<Self>, AuthError> {
        Ok(Arc::new(Self { options, patterns }))
    }

    /// Checks a token for a use. It waits only where keys must be fetched, and for some seconds at most.
    pub async fn verify(&self, token: &str, role: Role) -> Result<Arc<Token>, TokenError> {
        todo!()
    }

    /// Refuses the tokens of this issuer with this id from now on, until they have expired: for ever, if it isn't
    /// known when. Answers when that is on disk.
    pub async fn revoke(&self, issuer: &str, id: &str, until: Option<DateTime<Utc>>) -> Result<(), RevokeError> {
        todo!()
    }

    /// The trusted issuers; the first one is the hub's own.
    pub fn issuers(&self) -> impl Iterator<Item = &str> {
        self.options.issuers.iter().map(|issuer| &*issuer.issuer)
    }

    /// A ticket that stands for a token, once and for 30 s; `None` if too many are open.
    pub fn issue_ticket(&self, token: Arc<Token>) -> Option<String> {
        todo!()
    }

    /// The token a ticket stands for, if it is still good; the ticket is used up.
    pub fn redeem_ticket(&self, ticket: &str) -> Option<Arc<Token>> {
        todo!()
    }
}
