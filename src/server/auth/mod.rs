//! Who may do what: tokens, the keys that verify them, and what they grant.
//!
//! [`Auth`] is the door. It holds the keys of every trusted issuer, verifies tokens with them, and remembers which
//! tokens have been revoked. It knows no HTTP: where a token stands in a request is not its business.

mod details;
mod jwk;
mod jwks;
mod key;
mod key_file;
pub mod mint;
mod options;
mod revoked;
mod tickets;
mod token;
mod verify;

use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use thiserror::Error;
use tracing::info;

pub use details::{DETAIL_TYPE, DetailError};
pub use key::KeyError;
pub use options::{AuthOptions, IssuerOptions, KeySource};
pub use revoked::RevokeError;
pub use tickets::TICKET_LIFETIME;
pub use token::{Role, Token, TokenError};

use super::hub::Patterns;
use jwks::Published;
use key::Key;
use revoked::Revoked;
use tickets::Tickets;

/// Verifies tokens. Shared by all requests.
pub struct Auth {
    resource: Box<str>,
    issuers: Vec<Issuer>,
    legacy: bool,
    patterns: Arc<Patterns>,
    revoked: Revoked,
    tickets: Tickets,
}

/// One trusted issuer, and its keys for each use: never pooled with others'.
struct Issuer {
    name: Box<str>,
    publisher: Keys,
    subscriber: Keys,
}

/// Where the keys for one use are.
enum Keys {
    Fixed(Arc<[Key]>),
    Published(Arc<Published>),
}

/// Why the keys can't be used: each says which, and what to do.
#[derive(Debug, Error)]
pub enum AuthError {
    /// A file with keys can't be read.
    #[error("the key file {} can't be read: {source}. Give this user the right to read it, or name another file.", path.display())]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The made key, or the list of revoked tokens, can't be written.
    #[error("{} can't be written: {source}. Give this user the right to write to the data folder.", path.display())]
    Unwritable {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file holds no key that can be used.
    #[error("the key file {}: {source}", path.display())]
    Key {
        /// Which one.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyError,
    },
    /// Keys can't be fetched at all.
    #[error("the keys at {url}: {reason}")]
    Fetch {
        /// Their address.
        url: String,
        /// Why.
        reason: String,
    },
}

impl Auth {
    /// Reads every key. Where a source is [`KeySource::Generated`] and there is none yet, it is made.
    ///
    /// It reads and writes files: call it before anybody is served.
    pub fn open(options: AuthOptions, patterns: Arc<Patterns>) -> Result<Arc<Self>, AuthError> {
        let issuer = |issuer: &IssuerOptions| {
            let publisher = Keys::open(&issuer.publisher, &options)?;
            // One document serves both uses, and is fetched once.
            let subscriber = match (&publisher, issuer.publisher == issuer.subscriber) {
                (Keys::Published(published), true) => Keys::Published(published.clone()),
                _ => Keys::open(&issuer.subscriber, &options)?,
            };
            Ok(Issuer { name: issuer.issuer.as_str().into(), publisher, subscriber })
        };
        let issuers = options.issuers.iter().map(issuer).collect::<Result<_, _>>()?;
        Ok(Arc::new(Self {
            issuers,
            revoked: Revoked::open(&options.data)?,
            tickets: Tickets::default(),
            resource: options.resource.into(),
            legacy: options.legacy,
            patterns,
        }))
    }

    /// Checks a token for a use. It waits only where keys must be fetched, and for some seconds at most.
    pub async fn verify(&self, token: &str, role: Role) -> Result<Arc<Token>, TokenError> {
        let token = self.check(token, role).await?;
        match self.revoked.contains(&token.issuer, &token.id) {
            true => Err(TokenError::Revoked),
            false => Ok(Arc::new(token)),
        }
    }

    /// Refuses the tokens of this issuer with this id from now on, until they have expired: for ever, if it isn't
    /// known when. Answers when that is on disk.
    pub async fn revoke(&self, issuer: &str, id: &str, until: Option<DateTime<Utc>>) -> Result<(), RevokeError> {
        self.revoked.add(issuer, id, until).await
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
        let is_good =
            token.expires.is_none_or(|at| at > Utc::now()) && !self.revoked.contains(&token.issuer, &token.id);
        is_good.then_some(token)
    }
}

impl Keys {
    fn open(source: &KeySource, options: &AuthOptions) -> Result<Self, AuthError> {
        Ok(match source {
            KeySource::Generated => {
                let path = key_file::generated(&options.data);
                if key_file::generate(&options.data)? {
                    info!(path = %path.display(), "a key for tokens was made; `tidings token --help` says how to sign with it");
                }
                Self::Fixed(key_file::read(&path)?.into())
            }
            KeySource::File(path) => Self::Fixed(key_file::read(path)?.into()),
            KeySource::Url { url, internal } => Self::Published(Published::new(url.clone(), *internal)?),
            KeySource::Nowhere => Self::Fixed([].into()),
        })
    }
}
