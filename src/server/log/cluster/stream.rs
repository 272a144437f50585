//! The requests to JetStream.

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

/// Timeout of a request.
const PATIENCE: Duration = Duration::from_secs(2);
/// For how long JetStream remembers message ids.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);
/// Minimum retention of the stream, however little a node keeps: a node may be away for this long.
const MIN_AGE: Duration = Duration::from_secs(60 * 60);
const MIN_BYTES: u64 = 64 << 20;
/// Maximum number and bytes of messages in the answer to one fetch.
const FETCH_MESSAGES: u64 = 512;
const FETCH_BYTES: u64 = 4 << 20;

/// The stream's metadata: its epochs, and a key derived from the cluster's secret, by which a node checks its own.
const EPOCHS: &str = "tidings.epochs";
const CHECK: &str = "tidings.check";

/// JetStream's error codes for a missing message and for a missing stream.
const NO_MESSAGE: u64 = 10037;
const NO_STREAM: u64 = 10059;

/// Access to the stream.
#[derive(Clone)]
pub(super) struct Stream {
    client: Client,
    context: Context,
    name: String,
    subject: String,
    live_subject: String,
    broadcast_subject: String,
    report_subject: String,
    creates: bool,
    config: Config,
}

/// Why a request failed.
#[derive(Clone, Debug, Error)]
pub(super) enum StreamError {
    /// No connection, no leader, or a timeout.
    #[error("{0}")]
    Unavailable(String),
    /// JetStream or the store has refused it.
    #[error("{0}")]
    Rejected(String),
    /// An operator has to act.
    #[error("{0}")]
    Fatal(String),
}

/// Why a publish failed.
#[derive(Clone, Debug)]
pub(super) enum PublishError {
    /// The message is not in the stream; a later attempt may succeed.
    Unavailable(String),
    /// It is unknown whether the message is in the stream.
    Unknown(String),
    /// The stream is full.
    Full(String),
    /// The message is larger than this number of bytes.
    TooLarge(usize),
    /// The stream does not accept the message.
    Rejected(String),
}

/// The acknowledgement of a publish.
#[derive(Clone, Copy, Debug)]
pub(super) struct PublishAck {
    pub(super) sequence: u64,
    /// Whether the stream already had a message with this id.
    pub(super) is_duplicate: bool,
}

/// A message of the stream.
#[derive(Clone, Debug)]
pub(super) struct StoredMessage {
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

/// JetStream's answer to a request for a message.
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
    /// Access to the stream that the options name.
    pub(super) fn new(client: Client, options: &ClusterOptions, retention: &Retention) -> Self {
        let mut context = jetstream::new(client.clone());
        context.set_timeout(PATIENCE);
        Self {
            context,
            name: options.stream.clone(),
            subject: options.subject(),
            live_subject: options.live_subject(),
            broadcast_subject: options.broadcast_subject(),
            report_subject: options.report_subject(),
            creates: options.creates_stream,
            config: config(options, retention),
            client,
        }
    }

    /// The version of the connected NATS server; empty without a connection.
    pub(super) fn server_version(&self) -> String {
        self.client.try_server_info().map(|info| info.version).unwrap_or_default()
    }

    /// The leader's information about the stream, which is created if it doesn't exist.
    pub(super) async fn open(&self) -> Result<Info, StreamError> {
        if let Some(info) = self.look().await? {
            self.check(&info.config)?;
            return Ok(info);
        }
        if !self.creates {
            return Err(StreamError::Fatal(format!("the stream {} doesn't exist: start a node first", self.name)));
        }
        let response: Response<Info> = self.ask("STREAM.CREATE", &self.config).await?;
        match response {
            Response::Ok(info) => {
                tracing::info!(stream = self.name, replicas = info.config.num_replicas, "created the cluster's stream");
                Ok(info)
            }
            Response::Err { error } => Err(StreamError::Rejected(format!(
                "the stream {} can't be created: {error}. It needs {} NATS servers with JetStream (--cluster-replicas)",
                self.name, self.config.num_replicas
            ))),
        }
    }

    /// The leader's information about the stream. It is an error if it doesn't exist.
    pub(super) async fn info(&self) -> Result<Info, StreamError> {
        self.look().await?.ok_or_else(|| StreamError::Rejected(format!("the stream {} is gone", self.name)))
    }

    async fn look(&self) -> Result<Option<Info>, StreamError> {
        let response: Response<Info> = self.ask("STREAM.INFO", &json!({})).await?;
        match response {
            Response::Ok(info) => Ok(Some(info)),
            Response::Err { error } if error.error_code().0 == NO_STREAM => Ok(None),
            Response::Err { error } => Err(StreamError::Rejected(error.to_string())),
        }
    }

    /// Checks that an existing stream has the configuration that nodes need.
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
            return Err(StreamError::Fatal(format!(
                "the stream {} was not created by tidings: its {name} differs from what a node needs. Choose another name \
                 (--cluster-stream), or delete the stream",
                self.name
            )));
        }
        if config.metadata.get(CHECK) != wanted.metadata.get(CHECK) {
            return Err(StreamError::Fatal(
                "this node's secret differs from the cluster's: give all nodes the same secret (--cluster-secret-file)"
                    .into(),
            ));
        }
        Ok(())
    }

    /// The epochs in a stream's metadata.
    pub(super) fn epochs(config: &Config) -> Result<Epochs, StreamError> {
        let Some(text) = config.metadata.get(EPOCHS) else { return Ok(Epochs::default()) };
        text.parse().map_err(|()| StreamError::Fatal(format!("the stream's metadata {EPOCHS} can't be read: {text}")))
    }

    /// Writes the epochs into the stream's metadata.
    pub(super) async fn set_epochs(&self, mut config: Config, epochs: &Epochs) -> Result<(), StreamError> {
        config.metadata.insert(EPOCHS.into(), epochs.to_string());
        let response: Response<Info> = self.ask("STREAM.UPDATE", &config).await?;
        match response {
            Response::Ok(_) => Ok(()),
            Response::Err { error } => Err(StreamError::Rejected(format!("the epoch can't be raised: {error}"))),
        }
    }

    /// Subscribes to new messages of the stream.
    pub(super) async fn live(&self) -> Result<Subscriber, StreamError> {
        self.subscribe(&self.live_subject).await
    }

    /// Subscribes to control messages that are not stored.
    pub(super) async fn broadcasts(&self) -> Result<Subscriber, StreamError> {
        self.subscribe(&self.broadcast_subject).await
    }

    /// Subscribes to the reports of all nodes.
    pub(super) async fn reports(&self) -> Result<Subscriber, StreamError> {
        self.subscribe(&self.report_subject).await
    }

    /// Sends a report of this node.
    pub(super) async fn report(&self, report: Vec<u8>) -> Result<(), StreamError> {
        let published = self.client.publish(self.report_subject.clone(), report.into()).await;
        published.map_err(|error| StreamError::Unavailable(error.to_string()))
    }

    async fn subscribe(&self, subject: &str) -> Result<Subscriber, StreamError> {
        let subscribed = self.client.subscribe(subject.to_owned()).await;
        subscribed.map_err(|error| StreamError::Unavailable(error.to_string()))
    }

    /// Sends a control message to the connected nodes.
    pub(super) async fn broadcast(&self, note: String) -> Result<(), AppendError> {
        let published = self.client.publish(self.broadcast_subject.clone(), note.into()).await;
        published.map_err(|error| AppendError::Unavailable(error.to_string()))
    }

    /// Publishes a message, unless the stream has one with this id.
    pub(super) async fn publish(&self, id: &str, payload: Bytes) -> Result<PublishAck, PublishError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::NATS_MESSAGE_ID, id);
        let request = Request::new().payload(payload).headers(headers).timeout(Some(PATIENCE));
        let answer = self.client.send_request(self.subject.clone(), request).await;
        let answer = answer.map_err(|error| match error.kind() {
            RequestErrorKind::NoResponders => PublishError::Unavailable("the stream has no leader".into()),
            RequestErrorKind::MaxPayloadExceeded => PublishError::TooLarge(self.client.max_payload()),
            RequestErrorKind::TimedOut => PublishError::Unknown("the stream did not answer in time".into()),
            _ => PublishError::Unknown(error.to_string()),
        })?;
        let answer: Acknowledgement = serde_json::from_slice(&answer.payload)
            .map_err(|error| PublishError::Unknown(format!("the stream's answer can't be read: {error}")))?;
        match answer.error {
            None => Ok(PublishAck { sequence: answer.seq, is_duplicate: answer.duplicate }),
            // Insufficient resources, and the errors of a stream whose store is full.
            Some(ApiError { err_code: 10023 | 10047 | 10077, description, .. }) => Err(PublishError::Full(description)),
            Some(ApiError { code: 503, description, .. }) => Err(PublishError::Unavailable(description)),
            Some(ApiError { code: 500, description, .. }) => Err(PublishError::Unknown(description)),
            Some(ApiError { description, .. }) => Err(PublishError::Rejected(description)),
        }
    }

    /// Reads the message with this sequence number from the stream's leader.
    pub(super) async fn get(&self, sequence: u64) -> Result<Option<StoredMessage>, StreamError> {
        let answer: MessageAnswer = self.ask("STREAM.MSG.GET", &json!({ "seq": sequence })).await?;
        match (answer.message, answer.error) {
            (Some(message), _) => {
                let payload = BASE64_STANDARD.decode(message.data).unwrap_or_default().into();
                Ok(Some(StoredMessage { sequence: message.seq, at: message.time, id: None, payload }))
            }
            (None, Some(error)) if error.err_code == NO_MESSAGE => Ok(None),
            (None, error) => Err(StreamError::Rejected(error.map_or_else(String::new, |error| error.description))),
        }
    }

    /// Reads messages from this sequence number on, in order, as many as fit into one answer. Any server that stores the
    /// stream may answer, even one that lags behind.
    pub(super) async fn fetch(&self, from: u64) -> Result<Vec<StoredMessage>, StreamError> {
        let away = |error: &dyn std::fmt::Display| StreamError::Unavailable(error.to_string());
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
                // The end of the batch, or no message at all.
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
            StreamError::Unavailable(match error.kind() {
                jetstream::context::RequestErrorKind::NoResponders => {
                    "JetStream does not answer: is it enabled?".into()
                }
                _ => error.to_string(),
            })
        })
    }
}

/// A message of the stream from its headers; `None` if it lacks them.
pub(super) fn stored(message: async_nats::Message) -> Option<StoredMessage> {
    let headers = message.headers?;
    let text = |name: &str| headers.get(name).map(async_nats::HeaderValue::as_str);
    Some(StoredMessage {
        sequence: text("Nats-Sequence")?.parse().ok()?,
        at: text("Nats-Time-Stamp")?.parse().ok()?,
        id: text("Nats-Msg-Id").map(Box::from),
        payload: message.payload,
    })
}

/// The configuration of a stream that a node creates.
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
