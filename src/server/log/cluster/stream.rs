//! The stream in JetStream, as far as this program needs it.

use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::{Compression, Config, DiscardPolicy, Info, Republish, StorageType};
use async_nats::jetstream::{self, Context};
use async_nats::{Client, HeaderMap, Request, StatusCode, Subscriber, header};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::json;
use thiserror::Error;
use tokio::time::timeout;

use super::ClusterOptions;
use super::epochs::Epochs;
use crate::server::log::{AppendError, Retention};

/// How long one question to JetStream may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long JetStream knows the ids of messages.
pub(super) const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);
/// The stream keeps as much as a node, and at least this: so long a node may be away.
const MIN_AGE: Duration = Duration::from_secs(60 * 60);
const MIN_BYTES: u64 = 64 << 20;
/// How many messages, and how many bytes of them, one question for stored messages asks for.
const FETCH_MESSAGES: u64 = 512;
const FETCH_BYTES: u64 = 4 << 20;

/// Beside the nodes' names for them in the stream's metadata: the epochs, and by what a node sees that it has the
/// cluster's secret.
const EPOCHS: &str = "tidings.epochs";
const CHECK: &str = "tidings.check";

/// What an error of JetStream means: it has no message at this sequence number (10037), there is no such stream (10059).
const NO_MESSAGE: u64 = 10037;
const NO_STREAM: u64 = 10059;

/// The stream.
#[derive(Clone)]
pub(super) struct Stream {
    client: Client,
    context: Context,
    name: String,
    subject: String,
    live_subject: String,
    now_subject: String,
    config: Config,
}

/// Why JetStream has not done what it was asked for.
#[derive(Clone, Debug, Error)]
pub(super) enum StreamError {
    /// Nobody answers: no connection, no leader, or too slow.
    #[error("{0}")]
    Away(String),
    /// It says no.
    #[error("{0}")]
    Refused(String),
    /// This node must not go on.
    #[error("{0}")]
    Unfit(String),
}

/// Why a message is not in the stream, or may be.
#[derive(Clone, Debug)]
pub(super) enum PublishError {
    /// It is not in the stream; it may work later.
    NotNow(String),
    /// Nobody knows.
    Unknown(String),
    /// There is no room for it.
    Full(String),
    /// It has more than these bytes.
    TooLarge(usize),
    /// It will never be taken.
    Refused(String),
}

/// A message that is in the stream now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) sequence: u64,
    /// Whether it was there already.
    pub(super) is_repeat: bool,
}

/// A message of the stream.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) sequence: u64,
    pub(super) at: DateTime<Utc>,
    /// The id that its publisher gave it.
    pub(super) id: Option<Box<str>>,
    pub(super) payload: Bytes,
}

/// JetStream's answer to a publish.
#[derive(Deserialize)]
struct Acknowledgement {
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    duplicate: bool,
    error: Option<ApiError>,
}

#[derive(Deserialize)]
struct ApiError {
    code: u64,
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

/// JetStream's answer to a question for one message.
#[derive(Deserialize)]
struct MessageAnswer {
    message: Option<RawMessage>,
    error: Option<ApiError>,
}

#[derive(Deserialize)]
struct RawMessage {
    seq: u64,
    #[serde(default)]
    data: String,
    time: DateTime<Utc>,
}

impl Stream {
    /// The stream that these options name.
    pub(super) fn new(client: Client, options: &ClusterOptions, retention: &Retention) -> Self {
        let mut context = jetstream::new(client.clone());
        context.set_timeout(PATIENCE);
        Self {
            context,
            name: options.stream.clone(),
            subject: options.subject(),
            live_subject: options.live_subject(),
            now_subject: options.now_subject(),
            config: config(options, retention),
            client,
        }
    }

    /// The version of the server that this node is connected to; empty while it is to none.
    pub(super) fn server_version(&self) -> String {
        self.client.try_server_info().map(|info| info.version).unwrap_or_default()
    }

    /// What the stream's leader says of it; makes the stream where there is none.
    pub(super) async fn open(&self) -> Result<Info, StreamError> {
        if let Some(info) = self.look().await? {
            self.check(&info.config)?;
            return Ok(info);
        }
        let response: Response<Info> = self.ask("STREAM.CREATE", &self.config).await?;
        match response {
            Response::Ok(info) => {
                tracing::info!(
                    stream = self.name,
                    replicas = info.config.num_replicas,
                    "the cluster's stream was made"
                );
                Ok(info)
            }
            Response::Err { error } => Err(StreamError::Refused(format!(
                "the stream {} can't be made: {error}. It needs {} NATS servers with JetStream (--cluster-replicas)",
                self.name, self.config.num_replicas
            ))),
        }
    }

    /// What the stream's leader says of it; an error if there is no such stream.
    pub(super) async fn info(&self) -> Result<Info, StreamError> {
        self.look().await?.ok_or_else(|| StreamError::Refused(format!("the stream {} is gone", self.name)))
    }

    async fn look(&self) -> Result<Option<Info>, StreamError> {
        let response: Response<Info> = self.ask("STREAM.INFO", &json!({})).await?;
        match response {
            Response::Ok(info) => Ok(Some(info)),
            Response::Err { error } if error.error_code().0 == NO_STREAM => Ok(None),
            Response::Err { error } => Err(StreamError::Refused(error.to_string())),
        }
    }

    /// Whether a stream that somebody else has made is one that nodes can work with.
    fn check(&self, config: &Config) -> Result<(), StreamError> {
        let wanted = &self.config;
        let differs = [
            ("subjects", config.subjects != wanted.subjects),
            ("republish", config.republish != wanted.republish),
            ("allow_direct", !config.allow_direct),
            ("storage", config.storage != wanted.storage),
            ("retention", config.retention != wanted.retention),
        ];
        if let Some((name, _)) = differs.iter().find(|(_, differs)| *differs) {
            return Err(StreamError::Unfit(format!(
                "the stream {} was not made by tidings: its {name} is another than it needs. Name another one \
                 (--cluster-stream), or remove it",
                self.name
            )));
        }
        if config.metadata.get(CHECK) != wanted.metadata.get(CHECK) {
            return Err(StreamError::Unfit(
                "this node's secret is another than the cluster's: give all nodes the same (--cluster-secret-file)"
                    .into(),
            ));
        }
        Ok(())
    }

    /// The epochs that a stream of this configuration has had.
    pub(super) fn epochs(config: &Config) -> Result<Epochs, StreamError> {
        let Some(text) = config.metadata.get(EPOCHS) else { return Ok(Epochs::default()) };
        text.parse().map_err(|()| StreamError::Unfit(format!("the stream's metadata {EPOCHS} can't be read: {text}")))
    }

    /// Writes these epochs into the stream's metadata.
    pub(super) async fn set_epochs(&self, mut config: Config, epochs: &Epochs) -> Result<(), StreamError> {
        config.metadata.insert(EPOCHS.into(), epochs.to_string());
        let response: Response<Info> = self.ask("STREAM.UPDATE", &config).await?;
        match response {
            Response::Ok(_) => Ok(()),
            Response::Err { error } => Err(StreamError::Refused(format!("the epoch can't be raised: {error}"))),
        }
    }

    /// What comes into the stream from now on.
    pub(super) async fn live(&self) -> Result<Subscriber, StreamError> {
        self.subscribe(&self.live_subject).await
    }

    /// What nodes tell each other that is not kept.
    pub(super) async fn now(&self) -> Result<Subscriber, StreamError> {
        self.subscribe(&self.now_subject).await
    }

    async fn subscribe(&self, subject: &str) -> Result<Subscriber, StreamError> {
        let subscribed = self.client.subscribe(subject.to_owned()).await;
        subscribed.map_err(|error| StreamError::Away(error.to_string()))
    }

    /// Tells those nodes something that are there now.
    pub(super) async fn publish_now(&self, note: String) -> Result<(), AppendError> {
        let published = self.client.publish(self.now_subject.clone(), note.into()).await;
        published.map_err(|error| AppendError::Unavailable(error.to_string()))
    }

    /// Puts a message into the stream, unless there is one with this id already.
    pub(super) async fn publish(&self, id: &str, payload: Bytes) -> Result<Taken, PublishError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::NATS_MESSAGE_ID, id);
        let request = Request::new().payload(payload).headers(headers).timeout(Some(PATIENCE));
        let answer = self.client.send_request(self.subject.clone(), request).await;
        let answer = answer.map_err(|error| match error.kind() {
            RequestErrorKind::NoResponders => PublishError::NotNow("the stream has no leader".into()),
            RequestErrorKind::MaxPayloadExceeded => PublishError::TooLarge(self.client.max_payload()),
            RequestErrorKind::TimedOut => PublishError::Unknown("the stream did not answer in time".into()),
            _ => PublishError::Unknown(error.to_string()),
        })?;
        let answer: Acknowledgement = serde_json::from_slice(&answer.payload)
            .map_err(|error| PublishError::Unknown(format!("the stream's answer can't be read: {error}")))?;
        match answer.error {
            None => Ok(Taken { sequence: answer.seq, is_repeat: answer.duplicate }),
            // Insufficient resources, and what a store of a stream says when it is full.
            Some(ApiError { err_code: 10023 | 10047 | 10077, description, .. }) => Err(PublishError::Full(description)),
            Some(ApiError { code: 503, description, .. }) => Err(PublishError::NotNow(description)),
            Some(ApiError { code: 500, description, .. }) => Err(PublishError::Unknown(description)),
            Some(ApiError { description, .. }) => Err(PublishError::Refused(description)),
        }
    }

    /// The message at this sequence number, as the stream's leader has it.
    pub(super) async fn get(&self, sequence: u64) -> Result<Option<Stored>, StreamError> {
        let answer: MessageAnswer = self.ask("STREAM.MSG.GET", &json!({ "seq": sequence })).await?;
        match (answer.message, answer.error) {
            (Some(message), _) => {
                let payload = BASE64_STANDARD.decode(message.data).unwrap_or_default().into();
                Ok(Some(Stored { sequence: message.seq, at: message.time, id: None, payload }))
            }
            (None, Some(error)) if error.err_code == NO_MESSAGE => Ok(None),
            (None, error) => Err(StreamError::Refused(error.map_or_else(String::new, |error| error.description))),
        }
    }

    /// The messages from this sequence number on, in order, as many as come at a time. Any of the stream's servers may
    /// answer, also one that does not have the newest yet.
    pub(super) async fn fetch(&self, from: u64) -> Result<Vec<Stored>, StreamError> {
        let away = |error: &dyn std::fmt::Display| StreamError::Away(error.to_string());
        let inbox = self.client.new_inbox();
        let mut answers = self.client.subscribe(inbox.clone()).await.map_err(|error| away(&error))?;
        let question = json!({ "seq": from, "batch": FETCH_MESSAGES, "max_bytes": FETCH_BYTES });
        let subject = format!("$JS.API.DIRECT.GET.{}", self.name);
        let asked = self.client.publish_with_reply(subject, inbox, question.to_string().into()).await;
        asked.map_err(|error| away(&error))?;
        let mut messages = Vec::new();
        loop {
            let answer = timeout(PATIENCE, answers.next()).await;
            let answer = answer.map_err(|_| away(&"the stream did not answer in time"))?;
            let Some(answer) = answer else { return Err(away(&"the connection is closed")) };
            match answer.status {
                Some(StatusCode::NO_RESPONDERS) => return Err(away(&"the stream has no leader")),
                // The batch's end, or nothing from there on.
                Some(_) => return Ok(messages),
                None => messages.extend(stored(answer)),
            }
        }
    }

    async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        what: &str,
        question: &(impl serde::Serialize + Sync),
    ) -> Result<T, StreamError> {
        let answer = self.context.request(format!("{what}.{}", self.name), question).await;
        answer.map_err(|error| {
            StreamError::Away(match error.kind() {
                jetstream::context::RequestErrorKind::NoResponders => {
                    "JetStream does not answer: is it enabled?".into()
                }
                _ => error.to_string(),
            })
        })
    }
}

/// A message of the stream with the headers that tell of it; `None` without them.
pub(super) fn stored(message: async_nats::Message) -> Option<Stored> {
    let headers = message.headers?;
    let text = |name: &str| headers.get(name).map(async_nats::HeaderValue::as_str);
    Some(Stored {
        sequence: text("Nats-Sequence")?.parse().ok()?,
        at: text("Nats-Time-Stamp")?.parse().ok()?,
        id: text("Nats-Msg-Id").map(Box::from),
        payload: message.payload,
    })
}

/// The stream as a node makes it.
fn config(options: &ClusterOptions, retention: &Retention) -> Config {
    let check = options.secret.key("check");
    let check: String = check[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    Config {
        name: options.stream.clone(),
        description: Some("The log of a tidings cluster".into()),
        subjects: vec![options.subject()],
        storage: StorageType::File,
        num_replicas: options.replicas,
        discard: DiscardPolicy::Old,
        max_age: retention.all.age.map(|age| age.max(MIN_AGE)).unwrap_or_default(),
        max_bytes: retention.all.bytes.and_then(|bytes| i64::try_from(bytes.max(MIN_BYTES)).ok()).unwrap_or(-1),
        max_messages: -1,
        max_messages_per_subject: -1,
        max_message_size: -1,
        max_consumers: -1,
        duplicate_window: DUPLICATE_WINDOW,
        allow_direct: true,
        republish: Some(Republish {
            source: options.subject(),
            destination: options.live_subject(),
            headers_only: false,
        }),
        compression: Some(Compression::None),
        metadata: [(EPOCHS.into(), Epochs::default().to_string()), (CHECK.into(), check)].into(),
        ..Config::default()
    }
}
