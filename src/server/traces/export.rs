//! How spans reach the endpoint: a queue, batches, and one POST for each.

use std::error::Error as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use opentelemetry::{Key, KeyValue};
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::resource::{EnvResourceDetector, ResourceDetector, SdkProvidedResourceDetector};
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, SpanData, SpanExporter,
};
use reqwest::{Client, redirect};
use tokio::runtime::Handle;
use tracing::{info, warn};
use url::{Host, Url};

use super::{TraceOptions, TracesError, headers};

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
/// How often an endpoint is complained of that does not work.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// Starts the thread that exports, for spans of the returned provider.
pub(super) fn provider(options: &TraceOptions) -> Result<SdkTracerProvider, TracesError> {
    let problem = Arc::new(Mutex::new(String::new()));
    let client = EndpointClient { client: client(options)?, runtime: Handle::current(), problem: problem.clone() };
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_endpoint(options.traces_url())
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(TIMEOUT)
        .build()?;
    let exporter = WatchedExporter { exporter, problem, trouble: Mutex::default() };
    let config = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE)
        .with_max_export_batch_size(BATCH)
        .with_scheduled_delay(EXPORT_EVERY)
        .build();
    Ok(SdkTracerProvider::builder()
        .with_span_processor(BatchSpanProcessor::new(exporter, config))
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
    if is_loopback(&options.endpoint) {
        builder = builder.no_proxy();
    }
    Ok(builder.build()?)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Sends from the exporter's thread, which has no runtime, with a client that needs one.
#[derive(Debug)]
struct EndpointClient {
    client: Client,
    runtime: Handle,
    /// Why the last request has failed: the exporter passes on only that it has.
    problem: Arc<Mutex<String>>,
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
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
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

/// Says when spans can't be exported, and when they can be again, instead of the library, which would say it for each
/// batch.
#[derive(Debug)]
struct WatchedExporter {
    exporter: opentelemetry_otlp::SpanExporter,
    problem: Arc<Mutex<String>>,
    trouble: Mutex<Trouble>,
}

#[derive(Debug, Default)]
struct Trouble {
    /// Spans that were lost since the last one was exported.
    lost: usize,
    warned: Option<Instant>,
}

impl SpanExporter for WatchedExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        let exported = self.exporter.export(batch).await;
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match &exported {
            Ok(()) if trouble.lost > 0 => {
                info!(lost = trouble.lost, "traces are exported again");
                *trouble = Trouble::default();
            }
            Ok(()) => {}
            Err(_) => {
                trouble.lost += count;
                if trouble.warned.is_none_or(|warned| warned.elapsed() >= WARN_EVERY) {
                    trouble.warned = Some(Instant::now());
                    let problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
                    warn!(problem = *problem, lost = trouble.lost, "traces are not exported: check --otlp-endpoint");
                }
            }
        }
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
