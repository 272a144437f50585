//! How many connections are open, in all and of each client.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::client::client_key;
use crate::server::metrics::CONNECTIONS;

/// The connections that are open.
pub(super) struct OpenConnections {
    state: Mutex<OpenState>,
    /// Clients are told apart by a hash of their address: that takes half of the room, and two that have the same share a
    /// limit, which nobody can bring about.
    hasher: RandomState,
    tracker: TaskTracker,
}

#[derive(Default)]
struct OpenState {
    open: usize,
    clients: HashMap<u64, u32, BuildHasherDefault<Hashed>>,
}

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AtLimit {
    /// There are as many as may be.
    Server,
    /// The client has as many as it may have.
    Client,
}

/// Counts a connection for as long as it is open.
pub(super) struct OpenConnection {
    all: Arc<OpenConnections>,
    client: Option<u64>,
    _tracked: TaskTrackerToken,
}

/// Of what is a hash already.
#[derive(Default)]
struct Hashed(u64);

impl OpenConnections {
    pub(super) fn new() -> Self {
        Self { state: Mutex::default(), hasher: RandomState::new(), tracker: TaskTracker::new() }
    }

    /// Counts one more connection where there are fewer than `max`, and of this client, where it has a limit of its own,
    /// fewer than `max_per_client`.
    pub(super) fn admit(
        self: &Arc<Self>,
        client: Option<IpAddr>,
        max: usize,
        max_per_client: u32,
    ) -> Result<OpenConnection, AtLimit> {
        let client = client.map(|address| self.hasher.hash_one(client_key(address)));
        let mut state = self.state();
        if state.open >= max {
            return Err(AtLimit::Server);
        }
        if let Some(client) = client {
            let count = state.clients.get(&client).copied().unwrap_or_default();
            if count >= max_per_client {
                return Err(AtLimit::Client);
            }
            state.clients.insert(client, count + 1);
        }
        state.open += 1;
        CONNECTIONS.open.increment(1);
        Ok(OpenConnection { all: self.clone(), client, _tracked: self.tracker.token() })
    }

    /// Ready when none is open any more: no further ones are admitted.
    pub(super) async fn ended(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    pub(super) fn len(&self) -> usize {
        self.state().open
    }

    fn state(&self) -> MutexGuard<'_, OpenState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        CONNECTIONS.open.decrement(1);
        let mut state = self.all.state();
        state.open -= 1;
        let Some(client) = self.client else { return };
        if let Some(count) = state.clients.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                state.clients.remove(&client);
            }
        }
    }
}

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_a_limit_and_all_have_one_together() {
        let all = Arc::new(OpenConnections::new());
        let admit = |address: &str| all.admit(Some(address.parse().expect("an address")), 3, 2);
        let first = [admit("2001:db8::1").expect("room"), admit("2001:db8::2").expect("room")];
        assert_eq!(admit("2001:db8::3").err(), Some(AtLimit::Client), "one customer has a whole /64");
        let other = admit("192.0.2.1").expect("room");
        assert_eq!(admit("192.0.2.2").err(), Some(AtLimit::Server));
        drop((first, other));
        assert_eq!(all.len(), 0);
        assert!(all.state().clients.is_empty(), "nothing is left of them");
    }

    #[test]
    fn who_has_no_limit_of_its_own_is_counted_with_all() {
        let all = Arc::new(OpenConnections::new());
        let open = [all.admit(None, 2, 1).expect("room"), all.admit(None, 2, 1).expect("room")];
        assert_eq!(all.admit(None, 2, 1).err(), Some(AtLimit::Server));
        drop(open);
        let same = || all.admit(Some(IpAddr::from([192, 0, 2, 1])), 2, u32::MAX);
        assert!(same().is_ok() && same().is_ok());
    }
}
