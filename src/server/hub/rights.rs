//! What a token grants: who may publish and read what (Mercure, "Authorization Details").

use serde_json::{Map, Value};

use super::{Candidate, Matcher};
use crate::server::log::Topic;

/// What somebody may do; nothing by default.
#[derive(Clone, Debug, Default)]
pub struct Rights {
    grants: Vec<Grant>,
}

/// One authorization detail: what may be done with the topics that match.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Updates may be published.
    pub publish: bool,
    /// Private updates may be read.
    pub subscribe: bool,
    /// Streams may be ended and tokens revoked: our own, which other hubs ignore.
    pub revoke: bool,
    /// Which topics.
    pub topics: Vec<Matcher>,
    /// What presence tells others of this subscriber.
    pub payload: Option<Map<String, Value>>,
}

impl Rights {
    /// The sum of these grants.
    pub fn new(grants: Vec<Grant>) -> Self {
        Self { grants }
    }

    /// The grants, in their token's order.
    pub fn grants(&self) -> &[Grant] {
        &self.grants
    }

    /// Whether an update with these topics may be published: each of them must be granted.
    pub fn may_publish(&self, topics: &[Topic]) -> bool {
        topics.iter().all(|topic| {
            let topic = Candidate::new(topic.as_str());
            self.grants.iter().any(|grant| grant.publish && grant.matches(&topic))
        })
    }

    /// Whether a private update with these topics may be read: one of them must be granted.
    pub fn may_read(&self, topics: &[Topic]) -> bool {
        topics.iter().any(|topic| self.may_subscribe(topic.as_str()))
    }

    /// As [`Rights::may_read`], for topics that are compared with other patterns too.
    pub(super) fn may_read_any_of(&self, topics: &[Candidate<'_>]) -> bool {
        topics.iter().any(|topic| self.grants.iter().any(|grant| grant.subscribe && grant.matches(topic)))
    }

    /// Whether reading this topic is granted.
    pub fn may_subscribe(&self, topic: &str) -> bool {
        self.may_read_any_of(&[Candidate::new(topic)])
    }

    /// Whether any private update may be read.
    pub(super) fn may_read_private(&self) -> bool {
        self.grants.iter().any(|grant| grant.subscribe)
    }

    /// Whether private updates on topics below this path may be read: true where that can't be ruled out.
    pub(super) fn may_read_below(&self, path: &str) -> bool {
        let may_match = |grant: &Grant| grant.topics.iter().any(|matcher| matcher.may_match_below(path));
        self.grants.iter().any(|grant| grant.subscribe && may_match(grant))
    }

    /// Whether streams may be ended and tokens revoked: only with a grant for every topic.
    pub fn may_revoke(&self) -> bool {
        self.grants.iter().any(|grant| grant.revoke && grant.topics.iter().any(Matcher::is_everything))
    }

    /// What presence tells of a subscription: the payload of the first grant to subscribe that matches the matcher's
    /// own text, taken as a topic. So a grant for every topic that stands last is the default.
    pub fn payload(&self, matcher: &Matcher) -> Option<&Map<String, Value>> {
        let mut grants = self.grants.iter().filter(|grant| grant.subscribe);
        grants.find(|grant| grant.matches(&Candidate::new(matcher.text())))?.payload.as_ref()
    }
}

impl Grant {
    fn matches(&self, topic: &Candidate<'_>) -> bool {
        self.topics.iter().any(|matcher| matcher.matches(topic))
    }
}
