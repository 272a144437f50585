//! Where traces go, and which.

use std::path::PathBuf;

use url::Url;

use super::headers::{self, HeadersError};

/// Where traces go, and which.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceOptions {
    /// The base URL of an OTLP endpoint that takes protobuf over HTTP: `v1/traces` below it gets the spans.
    pub endpoint: Url,
    /// The share, from 0 to 1, of the publishes without a `traceparent` that begin a trace.
    pub sample: f64,
    /// File with headers for the endpoint, which may be secret: `Name: value` in each line.
    pub headers_file: Option<PathBuf>,
}

impl TraceOptions {
    /// Checks what only the file of headers can say.
    pub fn check(&self) -> Result<(), HeadersError> {
        self.headers_file.as_deref().map_or(Ok(()), |path| headers::read(path).map(|_| ()))
    }

    /// Where the spans are sent.
    pub(super) fn traces_url(&self) -> Url {
        let mut url = self.endpoint.clone();
        url.set_path(&format!("{}/v1/traces", self.endpoint.path().trim_end_matches('/')));
        url
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_sent_below_the_endpoint() {
        for (endpoint, url) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("https://example.com/otlp", "https://example.com/otlp/v1/traces"),
            ("https://example.com/otlp/", "https://example.com/otlp/v1/traces"),
        ] {
            let endpoint = Url::parse(endpoint).expect("a URL");
            let options = TraceOptions { endpoint, sample: 1.0, headers_file: None };
            assert_eq!(options.traces_url().as_str(), url);
        }
    }
}
