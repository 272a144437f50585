//! The messages: updates on one topic of the hub whose data is the message as JSON.

use std::sync::Arc;

use chrono::{SubsecRound, Utc};
use thiserror::Error;
use tracing::debug;
use uuid::Uuid;

use crate::server::hub::{Hub, Matchers, Start, Subscription, Wanted};
use crate::server::log::{AppendError, Cursor, Entry, Field, FieldError, ReadError, Topic, Update};
use crate::wire::message::{Message, MessageText, TOPIC};
use crate::wire::paths;

/// How many entries a list reads at once, at least.
const MIN_PAGE: usize = 100;

/// Publishes, finds, lists and follows messages. Cheap to clone.
#[derive(Clone)]
pub struct Messages {
    hub: Hub,
    topic: Topic,
    wanted: Arc<Wanted>,
}

/// Why a message was not published. No part of it is kept.
#[derive(Debug, Error)]
pub enum PublishError {
    /// The log did not append it.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// It could not be encoded as JSON.
    #[error("the message could not be encoded: {0}")]
    Encode(#[from] serde_json::Error),
    /// The id that was generated for it can't be an event id.
    #[error("the message's id is invalid: {0}")]
    Id(#[from] FieldError),
}

/// Where a page of messages ends.
#[derive(Clone, Copy, Debug)]
pub enum Before<'a> {
    /// At the newest message.
    Newest,
    /// Before the message with this id.
    Message(&'a str),
}

impl Messages {
    /// The messages of this hub.
    pub fn new(hub: Hub) -> Result<Self, FieldError> {
        let topic = Topic::parse(TOPIC)?;
        let matchers = Arc::new(Matchers::exact([topic.clone()]));
        Ok(Self { hub, wanted: Wanted::unlisted(matchers), topic })
    }

    /// Publishes a text as a message, and returns the message once it is durable.
    pub async fn publish(&self, text: MessageText) -> Result<Message, PublishError> {
        let id = Uuid::new_v4().to_string();
        let message = Message {
            stream: paths::burst(&id),
            message: text.into_string(),
            published_at: Utc::now().trunc_subsecs(3),
            id,
        };
        let update = Update {
            topics: vec![self.topic.clone()],
            data: serde_json::to_string(&message)?,
            id: Some(Field::parse(&message.id)?),
            event: None,
            retry: None,
            private: false,
            ttl: None,
        };
        self.hub.publish(update).await?;
        Ok(message)
    }

    /// The message with this id, if it is kept.
    pub async fn get(&self, id: &str) -> Result<Option<Message>, ReadError> {
        Ok(self.find(id).await?.map(|(_, message)| message))
    }

    /// At most `limit` messages, newest first. There are fewer only if no older ones are kept. `None` if the message to
    /// page back from is unknown.
    pub async fn list(&self, before: Before<'_>, limit: usize) -> Result<Option<Vec<Message>>, ReadError> {
        let mut before = match before {
            Before::Newest => None,
            Before::Message(id) => match self.find(id).await? {
                Some((cursor, _)) => Some(cursor),
                None => return Ok(None),
            },
        };
        let mut messages = Vec::new();
        // Publishers can put private updates and updates that are not messages on the topic: the list skips them.
        while messages.len() < limit {
            let entries = self.hub.log().read_before(before, &**self.wanted.matchers(), limit.max(MIN_PAGE)).await?;
            let Some(last) = entries.last() else { break };
            before = Some(last.cursor);
            messages.extend(entries.iter().filter(|entry| !entry.private).filter_map(|entry| decode(entry)));
        }
        messages.truncate(limit);
        Ok(Some(messages))
    }

    /// What a stream of the messages wants from the hub.
    pub fn wanted(&self) -> &Arc<Wanted> {
        &self.wanted
    }

    /// Where a stream of the messages begins.
    ///
    /// With `last_event_id`, with the messages after the one with this id; `earliest` asks for all that are kept. If the
    /// id is unknown, or retention has evicted messages after it, with a gap and the messages that are kept.
    pub async fn resume_point(&self, last_event_id: Option<&str>) -> Result<Start, ReadError> {
        Ok(match last_event_id {
            None => Start::Now,
            Some(paths::EARLIEST) => Start::After(self.hub.log().bounds().oldest.previous()),
            Some(id) => self.hub.log().locate(id).await?.map_or(Start::Lost, Start::After),
        })
    }

    /// The message with this id and its cursor, if it is kept.
    pub(super) async fn find(&self, id: &str) -> Result<Option<(Cursor, Message)>, ReadError> {
        let entry = self.hub.log().find(id).await?;
        let entry = entry.filter(|entry| !entry.private && entry.topics.contains(&self.topic));
        Ok(entry.and_then(|entry| Some((entry.cursor, decode(&entry)?))))
    }

    /// Subscribes to the messages, each as its entry in the log.
    pub(super) async fn subscribe(&self, start: Start) -> Subscription {
        if start == Start::Now {
            self.hub.catch_up().await;
        }
        self.hub.subscribe(self.wanted.matchers().clone(), start)
    }
}

/// The message in an entry; `None` if a publisher has put something else on the topic.
pub(super) fn decode(entry: &Entry) -> Option<Message> {
    serde_json::from_str(&entry.data())
        .inspect_err(|error| debug!(%error, id = %entry.id, "an update on the topic `messages` is not a message"))
        .ok()
}
