//! Tickets: each stands for a verified token, once and for a moment. Who can't send a header, as a browser's
//! `EventSource`, sends one in the address: it is worth nothing when it turns up in a log.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::Token;

/// How long a ticket is good.
pub const TICKET_LIFETIME: Duration = Duration::from_secs(30);

/// Tickets that may be open at once.
const MAX_OPEN: usize = if cfg!(test) { 100 } else { 100_000 };

/// The tickets that are open. They are found by their hashes, so that how long the search takes tells nothing of one.
#[derive(Default)]
pub(super) struct Tickets {
    open: Mutex<Open>,
}

type Hash = [u8; 32];

#[derive(Default)]
struct Open {
    tokens: HashMap<Hash, (Arc<Token>, Instant)>,
    /// In the order of their ends; some are redeemed already.
    ends: VecDeque<(Instant, Hash)>,
}

impl Tickets {
    /// A new ticket; `None` if too many are open.
    pub(super) fn issue(&self, token: Arc<Token>) -> Option<String> {
        let ticket = BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        let now = Instant::now();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.forget_ended(now);
        if open.tokens.len() >= MAX_OPEN {
            return None;
        }
        let end = now + TICKET_LIFETIME;
        open.tokens.insert(hash(&ticket), (token, end));
        open.ends.push_back((end, hash(&ticket)));
        Some(ticket)
    }

    /// What a ticket stands for, if it is open; it is so no more.
    pub(super) fn redeem(&self, ticket: &str) -> Option<Arc<Token>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let (token, end) = open.tokens.remove(&hash(ticket))?;
        (Instant::now() < end).then_some(token)
    }
}

impl Open {
    fn forget_ended(&mut self, now: Instant) {
        while let Some((_, hash)) = self.ends.front().filter(|(end, _)| *end <= now) {
            self.tokens.remove(hash);
            self.ends.pop_front();
        }
        if self.ends.len() >= 2 * MAX_OPEN {
            self.ends.retain(|(_, hash)| self.tokens.contains_key(hash));
        }
    }
}

fn hash(ticket: &str) -> Hash {
    Sha256::digest(ticket).into()
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn token() -> Arc<Token> {
        let rights = Arc::default();
        Arc::new(Token { issuer: "i".into(), subject: "s".into(), id: "1".into(), expires: None, rights })
    }

    #[tokio::test(start_paused = true)]
    async fn a_ticket_is_good_once_and_for_half_a_minute() {
        let tickets = Tickets::default();
        let [once, late, never] = [(); 3].map(|()| tickets.issue(token()).expect("a ticket"));
        advance(TICKET_LIFETIME - Duration::from_millis(1)).await;
        assert!(tickets.redeem(&once).is_some_and(|token| &*token.subject == "s"));
        assert!(tickets.redeem(&once).is_none());
        advance(Duration::from_millis(1)).await;
        assert!(tickets.redeem(&late).is_none());
        tickets.issue(token()).expect("a ticket");
        assert_eq!(tickets.open.lock().expect("a lock").tokens.len(), 1, "{never} is forgotten by itself");
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_tickets_are_open_than_may_be_and_redeemed_ones_leave_nothing() {
        let tickets = Tickets::default();
        for _ in 0..10 * MAX_OPEN {
            let ticket = tickets.issue(token()).expect("a ticket");
            tickets.redeem(&ticket).expect("a token");
        }
        assert!(tickets.open.lock().expect("a lock").ends.len() <= 2 * MAX_OPEN);
        for _ in 0..MAX_OPEN {
            tickets.issue(token()).expect("a ticket");
        }
        assert!(tickets.issue(token()).is_none());
        advance(TICKET_LIFETIME).await;
        assert!(tickets.issue(token()).is_some());
    }

    #[tokio::test]
    async fn a_ticket_has_256_random_bits_and_nothing_else_is_one() {
        let tickets = Tickets::default();
        let [one, other] = [(); 2].map(|()| tickets.issue(token()).expect("a ticket"));
        assert_eq!((one.len(), one == other), (43, false));
        assert!(tickets.redeem("").is_none() && tickets.redeem(&one[1..]).is_none());
    }
}
