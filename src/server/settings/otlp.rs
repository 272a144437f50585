//! The settings of traces: where they go, and which.

use url::Url;

use super::{Options, SettingsError, TraceOptions, invalid};

/// Every publish begins a trace.
const DEFAULT_SAMPLE: f64 = 1.0;

/// `None` if there is no endpoint: nothing is traced.
pub(super) fn resolve(options: &Options) -> Result<Option<TraceOptions>, SettingsError> {
    let sample = options.otlp_sample.unwrap_or(DEFAULT_SAMPLE);
    if !(0.0..=1.0).contains(&sample) {
        let hint = "must be from 0 to 1: the share of publishes without a traceparent that begin a trace";
        return Err(invalid("otlp-sample", sample, hint));
    }
    let Some(text) = &options.otlp_endpoint else { return Ok(None) };
    let Some(endpoint) = Url::parse(text).ok().filter(is_http) else {
        let hint = "must be the http:// or https:// URL of an OTLP endpoint, for example http://127.0.0.1:4318";
        return Err(invalid("otlp-endpoint", without_secrets(text), hint));
    };
    if !endpoint.username().is_empty() || endpoint.password().is_some() || endpoint.query().is_some() {
        let hint = "must have no user, password or query, which the log would show: put what is secret into the file of \
                    --otlp-headers-file";
        return Err(invalid("otlp-endpoint", without_secrets(text), hint));
    }
    Ok(Some(TraceOptions { endpoint, sample, headers_file: options.otlp_headers_file.clone() }))
}

fn is_http(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https") && url.has_host()
}

/// The text for an error, without what may be a password or a key in it.
fn without_secrets(text: &str) -> String {
    let text = text.split('?').next().unwrap_or_default();
    match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}"),
        (None, Some((_, host))) => format!("…@{host}"),
        (_, None) => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(endpoint: &str, sample: Option<f64>) -> Result<Option<TraceOptions>, String> {
        let endpoint = Some(endpoint.to_owned()).filter(|endpoint| !endpoint.is_empty());
        let options = Options { otlp_endpoint: endpoint, otlp_sample: sample, ..Options::default() };
        resolve(&options).map_err(|error| error.to_string())
    }

    #[test]
    fn there_are_no_traces_without_an_endpoint() {
        assert_eq!(resolved("", Some(0.5)), Ok(None));
        let options = resolved("http://127.0.0.1:4318", None).expect("settings").expect("an endpoint");
        assert_eq!((options.endpoint.as_str(), options.sample), ("http://127.0.0.1:4318/", 1.0));
    }

    #[test]
    fn nonsense_is_refused_with_the_settings_name() {
        for endpoint in ["127.0.0.1:4318", "localhost:4318", "grpc://a:4317", "file:///x", "http://"] {
            let error = resolved(endpoint, None).expect_err(endpoint);
            assert!(error.starts_with(&format!("--otlp-endpoint {endpoint}: must be ")), "{error}");
        }
        for (sample, value) in [(1.5, "1.5"), (-0.5, "-0.5"), (f64::NAN, "NaN")] {
            let error = resolved("", Some(sample)).expect_err(value);
            assert!(error.starts_with(&format!("--otlp-sample {value}: must be from 0 to 1")), "{error}");
        }
    }

    #[test]
    fn a_secret_in_the_endpoint_is_refused_and_not_shown() {
        for endpoint in ["https://me:s3cret@a.example", "https://a.example/?key=s3cret", "me:s3cret@a.example:4318"] {
            let error = resolved(endpoint, None).expect_err(endpoint);
            assert!(error.contains("a.example") && !error.contains("s3cret"), "{error}");
        }
    }
}
