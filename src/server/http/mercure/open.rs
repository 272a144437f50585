//! The hub's open streams: how many each client has, and how to end those of somebody.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::{AbortHandle, AbortRegistration};
use slab::Slab;

use crate::server::auth::Token;
use crate::server::hub::Matcher;

/// Knows the open streams.
pub(super) struct OpenStreams {
    limit: Option<usize>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    streams: Slab<Stream>,
    clients: HashMap<Client, usize>,
}

struct Stream {
    token: Option<Arc<Token>>,
    matchers: Arc<[Matcher]>,
    end: AbortHandle,
}

/// Who is counted as one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Client {
    Subject(Box<str>, Box<str>),
    Network(IpAddr),
}

/// One open stream: counted while it lives.
pub(super) struct OpenStream {
    open: Arc<OpenStreams>,
    client: Client,
    key: usize,
}

/// Which streams to end: those of the token's holder, with the token's id, or with a matcher that matches the topic.
#[derive(Clone, Copy, Debug)]
pub(super) enum Whose<'a> {
    Subject { issuer: &'a str, subject: &'a str },
    Token { issuer: &'a str, id: &'a str },
    Topic(&'a str),
}

impl OpenStreams {
    pub(super) fn new(limit: Option<usize>) -> Arc<Self> {
        Arc::new(Self { limit, state: Mutex::default() })
    }

    /// Counts a stream, and gives what ends it; `None` if its client has as many as it may.
    pub(super) fn enter(
        self: &Arc<Self>,
        token: Option<Arc<Token>>,
        network: IpAddr,
        matchers: Arc<[Matcher]>,
    ) -> Option<(OpenStream, AbortRegistration)> {
        let client = match &token {
            Some(token) if !token.subject.is_empty() => Client::Subject(token.issuer.clone(), token.subject.clone()),
            _ => Client::Network(network),
        };
        let mut state = self.state();
        let count = state.clients.entry(client.clone()).or_default();
        if self.limit.is_some_and(|limit| *count >= limit) {
            return None;
        }
        *count += 1;
        let (end, registration) = AbortHandle::new_pair();
        let key = state.streams.insert(Stream { token, matchers, end });
        Some((OpenStream { open: self.clone(), client, key }, registration))
    }

    /// Ends the streams of somebody; answers how many.
    pub(super) fn end(&self, whose: Whose<'_>) -> usize {
        let state = self.state();
        let ended = state.streams.iter().filter(|(_, stream)| stream.is_of(whose));
        ended.map(|(_, stream)| stream.end.abort()).count()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream {
    fn is_of(&self, whose: Whose<'_>) -> bool {
        let token = self.token.as_deref();
        match whose {
            Whose::Subject { issuer, subject } => {
                token.is_some_and(|token| *token.issuer == *issuer && *token.subject == *subject)
            }
            Whose::Token { issuer, id } => token.is_some_and(|token| *token.issuer == *issuer && *token.id == *id),
            Whose::Topic(topic) => self.matchers.iter().any(|matcher| matcher.matches(topic)),
        }
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut state = self.open.state();
        drop(state.streams.try_remove(self.key));
        if let Some(count) = state.clients.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                state.clients.remove(&self.client);
            }
        }
    }
}
