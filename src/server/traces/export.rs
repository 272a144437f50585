//! How spans reach the endpoint: a queue, batches, and one POST for each.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use opentelemetry::{Key, KeyValue};
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{EnvResourceDetector, ResourceDetector, SdkProvidedResourceDetector};
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider};
use reqwest::{Client, redirect};
use tokio::runtime::Handle;

use super::watch::{BoundedProcessor, QueueState, WatchedExporter};
use super::{TraceOptions, TracesError, headers};
use crate::server::this_machine::is_this_machine;

/// Spans that wait to be exported. Further ones are lost.
const QUEUE: usize = 2048;
/// Spans that are exported together.
const BATCH: usize = 512;
/// How long a span waits for others.
const EXPORT_EVERY: Duration = Duration::from_secs(1);
/// For the whole export of a batch, with its retries.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of an answer that are read: it only says how many spans were refused.
const MAX_ANSWER: usize = 64 * 1024;

/// Starts the thread that exports, for spans of the returned provider.
pub(super) fn provider(options: &TraceOptions) -> Result<SdkTracerProvider, TracesError> {
    let state = Arc::<QueueState>::default();
    let client = EndpointClient { client: client(options)?, runtime: Handle::current(), state: state.clone() };
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_endpoint(options.traces_url())
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(TIMEOUT)
        .build()?;
    let exporter = WatchedExporter::new(exporter, state.clone());
    let config = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE)
        .with_max_export_batch_size(BATCH)
        .with_scheduled_delay(EXPORT_EVERY)
        .build();
    let queue = BatchSpanProcessor::new(exporter, config);
    Ok(SdkTracerProvider::builder()
        .with_span_processor(BoundedProcessor { queue, room: QUEUE, state })
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(options.sample))))
        .with_resource(resource())
        .build())
}

/// What spans say of this process. `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` take precedence.
fn resource() -> Resource {
    let name = SdkProvidedResourceDetector.detect().get(&Key::from_static_str("service.name"));
    let name = name.filter(|name| !name.as_str().starts_with("unknown_service"));
    Resource::builder_empty()
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_detector(Box::new(EnvResourceDetector::new()))
        .with_service_name(name.unwrap_or_else(|| "tidings".into()))
        .build()
}

fn client(options: &TraceOptions) -> Result<Client, TracesError> {
    let headers = options.headers_file.as_deref().map(headers::read).transpose()?.unwrap_or_default();
    // A redirect would get the headers too, wherever it leads.
    let mut builder = Client::builder().default_headers(headers).timeout(TIMEOUT).redirect(redirect::Policy::none());
    if is_this_machine(&options.endpoint) {
        builder = builder.no_proxy();
    }
    Ok(builder.build()?)
}

/// Sends from the exporter's thread, which has no runtime, with a client that needs one.
#[derive(Debug)]
struct EndpointClient {
    client: Client,
    runtime: Handle,
    state: Arc<QueueState>,
}

#[async_trait]
impl HttpClient for EndpointClient {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let request = reqwest::Request::try_from(request)?;
        let sent = self.runtime.spawn(send(self.client.clone(), request)).await;
        let problem = match &sent {
            Ok(Ok(response)) if response.status().is_success() => return Ok(sent??),
            Ok(Ok(response)) => format!("it answered {}", response.status()),
            Ok(Err(error)) => root_cause(error),
            Err(_) => "the server stops".into(),
        };
        self.state.failed(problem);
        Ok(sent??)
    }
}

async fn send(client: Client, request: reqwest::Request) -> reqwest::Result<Response<Bytes>> {
    let mut response = client.execute(request).await?;
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = response.status();
    *answer.headers_mut() = std::mem::take(response.headers_mut());
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > MAX_ANSWER {
            break;
        }
        body.extend_from_slice(&chunk);
    }
    *answer.body_mut() = body.freeze();
    Ok(answer)
}

/// The innermost cause: the others say that a request has failed.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    while let Some(inner) = cause.and_then(std::error::Error::source) {
        cause = Some(inner);
    }
    cause.map_or_else(|| error.to_string(), ToString::to_string)
}
