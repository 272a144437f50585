//! Tickets: each stands for a token, once and for a short time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::Token;

/// How long a ticket is good for.
pub const TICKET_LIFETIME: Duration = Duration::from_secs(30);

/// How many are open at once.
const LIMIT: usize = 100_000;

/// The open tickets, by their digests: how long a look takes tells nothing of a ticket.
#[derive(Default)]
pub(super) struct Tickets(Mutex<HashMap<[u8; 32], Open>>);

/// A token, and until when its ticket is good.
type Open = (Arc<Token>, Instant);

impl Tickets {
    pub(super) fn issue(&self, token: Arc<Token>) -> Option<String> {
        let ticket = BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= LIMIT {
            open.retain(|_, (_, until)| *until > Instant::now());
        }
        if open.len() >= LIMIT {
            return None;
        }
        open.insert(digest(&ticket), (token, Instant::now() + TICKET_LIFETIME));
        Some(ticket)
    }

    pub(super) fn redeem(&self, ticket: &str) -> Option<Arc<Token>> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (token, until) = open.remove(&digest(ticket))?;
        (until > Instant::now()).then_some(token)
    }
}

fn digest(ticket: &str) -> [u8; 32] {
    Sha256::digest(ticket).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_ticket_is_good_once_and_for_thirty_seconds() {
        let (id, rights) = ("".into(), Arc::default());
        let token = Arc::new(Token { issuer: "a".into(), subject: "b".into(), id, expires: None, rights });
        let tickets = Tickets::default();
        let [one, two] = [(); 2].map(|()| tickets.issue(token.clone()).expect("a ticket"));
        assert!(tickets.redeem("another").is_none());
        tokio::time::advance(TICKET_LIFETIME - Duration::from_millis(1)).await;
        assert!(tickets.redeem(&one).is_some() && tickets.redeem(&one).is_none());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(tickets.redeem(&two).is_none());
    }
}
