//! Tickets: each stands for a token in a URL, for a client that can't send a header, as a browser's `EventSource`.
//!
//! A ticket is the token itself, sealed with a key of the data folder, so that open ones cost no memory and a restart
//! loses none. It opens one stream within half a minute: whoever finds it in a log comes too late. An `EventSource`
//! that reconnects has nothing else to send, so the browser that opened the stream gets a proof to keep in a cookie,
//! and with it the ticket is good again for as long as the token is.

use std::collections::{HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use thiserror::Error;
use tokio::time::Instant;
use tracing::warn;

use super::compact_jws::CompactJws;
use super::ticket_key::{TicketId, TicketKey};
use super::{AuthError, Token, TokenError, key_file};

/// How long a ticket that wasn't used is good for.
pub const TICKET_LIFETIME: Duration = Duration::from_secs(30);

/// Maximum difference between the clocks of two nodes.
const CLOCK_SKEW: TimeDelta = TimeDelta::seconds(5);

/// The file of the key in the data folder.
const FILE: &str = "ticket.key";

/// Maximum number of proofs that one browser keeps: of the tokens that it used last.
const MAX_PROOFS: usize = 8;

/// Separates the proofs in a cookie.
const SEPARATOR: &str = ".";

/// What a ticket stands for. The caller opens a stream for it, and then redeems it.
#[derive(Debug)]
pub struct Ticket {
    /// The token, verified.
    pub token: Arc<Token>,
    pub(super) seal: Seal,
}

/// What is known of a ticket beside its token.
#[derive(Debug)]
pub(super) struct Seal {
    id: TicketId,
    proof: String,
    /// Whether it may be used without a proof.
    is_young: bool,
    /// Whether the client has proved that it has opened a stream with this token before.
    is_reconnect: bool,
}

/// Why a ticket is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TicketError {
    /// It was not issued here, or with a key that is gone.
    #[error("it is not a ticket of this server")]
    Unknown,
    /// It was used, or is too old to be used for the first time.
    #[error(
        "it was used before, or is older than {} s. A browser that keeps the cookie it was given reconnects with it for \
         as long as the token is valid; otherwise ask for a new ticket",
        TICKET_LIFETIME.as_secs()
    )]
    Spent,
    /// The used ones of the last half minute are all that can be remembered.
    #[error("{limit} tickets were used in the last {} s, and no more can be remembered: try again then", TICKET_LIFETIME.as_secs())]
    TooMany {
        /// How many can be remembered.
        limit: usize,
    },
    /// The token has no canonical form, or the cryptographic library fails.
    #[error("its token can't be sealed")]
    Unsealed,
    /// The token that it stands for is refused.
    #[error("its token is refused: {0}")]
    Token(#[from] TokenError),
}

/// Issues tickets and tells whether they are good.
pub(super) struct Tickets {
    path: PathBuf,
    /// Read when the server starts, or made for the first ticket.
    key: OnceLock<TicketKey>,
    /// Whether other nodes issue tickets with the same key.
    is_shared: bool,
    /// Names this process: what an earlier one saw used nobody knows.
    process: [u8; 8],
    started: Instant,
    /// Maximum number of used tickets that are remembered.
    limit: usize,
    used: Mutex<UsedTickets>,
}

/// The tickets that were used lately: the older ones need a proof in any case.
#[derive(Default)]
struct UsedTickets {
    ids: HashSet<TicketId>,
    /// In the order of their use.
    order: VecDeque<(Instant, TicketId)>,
}

/// What is sealed.
struct Content {
    process: [u8; 8],
    /// When it was issued, since the process started.
    uptime: Duration,
    /// When it was issued, by the wall clock.
    issued: DateTime<Utc>,
    token: String,
}

impl Tickets {
    /// Reads the key, if there is one; or derives it from a secret that all nodes of a cluster share.
    pub(super) fn open(data: &Path, shared: Option<&[u8; 32]>, limit: usize) -> Result<Self, AuthError> {
        let path = data.join(FILE);
        let secret = match shared {
            Some(shared) => Some(key_file::derived_secret(shared, "tickets").into_bytes()),
            None if path.exists() => Some(key_file::read_secret(&path)?),
            None => None,
        };
        let key = secret.and_then(|secret| TicketKey::new(&secret)).map_or_else(OnceLock::new, OnceLock::from);
        let process = rand::random();
        Ok(Self {
            path,
            key,
            is_shared: shared.is_some(),
            process,
            started: Instant::now(),
            limit,
            used: Mutex::default(),
        })
    }

    /// A ticket for a token, which was verified.
    pub(super) async fn issue(&self, token: &str, now: DateTime<Utc>) -> Result<String, TicketError> {
        if self.used().count(Instant::now()) >= self.limit {
            return Err(TicketError::TooMany { limit: self.limit });
        }
        let (process, uptime) = (self.process, self.started.elapsed());
        let content = Content { process, uptime, issued: now, token: token.into() };
        let content = content.to_bytes().ok_or(TicketError::Unsealed)?;
        let key = self.key().await.ok_or(TicketError::Unsealed)?;
        key.seal(content).ok_or(TicketError::Unsealed)
    }

    /// The token that a ticket stands for, which the caller has to verify, and what else is known of the ticket.
    /// `proofs` is the value of the client's cookie.
    pub(super) fn read(
        &self,
        ticket: &str,
        proofs: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<(String, Seal), TicketError> {
        let key = self.key.get().ok_or(TicketError::Unknown)?;
        let (id, content) = key.unseal(ticket).ok_or(TicketError::Unknown)?;
        let content = Content::from_bytes(&content).ok_or(TicketError::Unknown)?;
        let proof = key.proof(&content.token);
        let is_young = self.is_young(&content, now);
        let is_reconnect = proofs.is_some_and(|proofs| contains(proofs, &proof));
        if !is_reconnect && (!is_young || self.used().ids.contains(&id)) {
            return Err(TicketError::Spent);
        }
        Ok((content.token, Seal { id, proof, is_young, is_reconnect }))
    }

    /// Uses a ticket up. Of several clients that redeem it at once, one does.
    pub(super) fn redeem(&self, seal: &Seal) -> Result<(), TicketError> {
        if !seal.is_young {
            return Ok(());
        }
        let now = Instant::now();
        let mut used = self.used();
        if used.ids.contains(&seal.id) {
            return if seal.is_reconnect { Ok(()) } else { Err(TicketError::Spent) };
        }
        if used.count(now) >= self.limit {
            return Err(TicketError::TooMany { limit: self.limit });
        }
        used.ids.insert(seal.id);
        used.order.push_back((now, seal.id));
        Ok(())
    }

    /// Whether a ticket may be used without a proof, if it was not used yet. Both clocks count: one stands still while the
    /// machine sleeps, and the other can be set back.
    fn is_young(&self, content: &Content, now: DateTime<Utc>) -> bool {
        let age = self.started.elapsed().saturating_sub(content.uptime);
        let age_by_wall_clock = now - content.issued;
        let is_young = age_by_wall_clock < TimeDelta::from_std(TICKET_LIFETIME).unwrap_or_default();
        if content.process != self.process {
            // Another node's uptime can't be compared.
            return self.is_shared && is_young && age_by_wall_clock > -CLOCK_SKEW;
        }
        is_young && age < TICKET_LIFETIME
    }

    async fn key(&self) -> Option<&TicketKey> {
        if let Some(key) = self.key.get() {
            return Some(key);
        }
        let path = self.path.clone();
        let made = tokio::task::spawn_blocking(move || {
            key_file::make_secret(&path, None)?;
            key_file::read_secret(&path)
        });
        let secret = match made.await.ok()? {
            Ok(secret) => secret,
            Err(error) => {
                warn!(%error, "the tickets' key can't be kept: tickets are refused after a restart");
                rand::random::<[u8; 32]>().to_vec()
            }
        };
        let key = TicketKey::new(&secret)?;
        Some(self.key.get_or_init(|| key))
    }

    fn used(&self) -> MutexGuard<'_, UsedTickets> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// The name to claim in a cluster before the ticket is redeemed; `None` if this use doesn't count.
    pub fn name(&self) -> Option<String> {
        let is_used_up = self.seal.is_young && !self.seal.is_reconnect;
        is_used_up.then(|| format!("ticket {}", BASE64_URL_SAFE_NO_PAD.encode(self.seal.id)))
    }

    /// The new value of the cookie with which this client can reconnect, from the value that it has now.
    pub fn proofs(&self, known: Option<&str>) -> String {
        let mut proofs = vec![&*self.seal.proof];
        for proof in known.unwrap_or_default().split(SEPARATOR) {
            let is_proof = proof.len() == self.seal.proof.len() && proof.bytes().all(is_base64url);
            if is_proof && proof != self.seal.proof && proofs.len() < MAX_PROOFS {
                proofs.push(proof);
            }
        }
        proofs.join(SEPARATOR)
    }
}

fn contains(proofs: &str, proof: &str) -> bool {
    let is_same = |known: &str| verify_slices_are_equal(known.as_bytes(), proof.as_bytes()).is_ok();
    proofs.split(SEPARATOR).any(is_same)
}

fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

impl UsedTickets {
    /// How many are remembered, without those that are too old to be used without a proof.
    fn count(&mut self, now: Instant) -> usize {
        while let Some((_, id)) = self.order.front().filter(|(used, _)| now - *used >= TICKET_LIFETIME) {
            self.ids.remove(id);
            self.order.pop_front();
        }
        self.ids.len()
    }
}

impl Content {
    /// `None` if the token is not one.
    fn to_bytes(&self) -> Option<Vec<u8>> {
        let mut bytes = self.process.to_vec();
        bytes.extend(u64::try_from(self.uptime.as_millis()).ok()?.to_be_bytes());
        bytes.extend(self.issued.timestamp_millis().to_be_bytes());
        bytes.extend(CompactJws::pack(&self.token)?);
        Some(bytes)
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (process, rest) = bytes.split_first_chunk()?;
        let (uptime, rest) = rest.split_first_chunk()?;
        let (issued, rest) = rest.split_first_chunk()?;
        Some(Self {
            process: *process,
            uptime: Duration::from_millis(u64::from_be_bytes(*uptime)),
            issued: DateTime::from_timestamp_millis(i64::from_be_bytes(*issued))?,
            token: CompactJws::unpack(rest)?,
        })
    }
}
