//! What one client may do, and all together.

use std::num::NonZeroU32;

use super::{Options, SettingsError, within};

/// Updates per second from one address without a token.
const DEFAULT_RATE: u32 = 50;
/// Updates per second of one token's subject: more than most disks flush, so that only who runs wild is held up.
const DEFAULT_TOKEN_RATE: u32 = 20_000;
/// Subscriptions that one client may begin in a second.
const DEFAULT_SUBSCRIPTION_RATE: u32 = 1000;
/// Patterns that are compiled for one client in a second. Each takes some 0.2 ms.
const DEFAULT_PATTERN_RATE: u32 = 200;
/// Connections that one client may make in a second.
const DEFAULT_CONNECTION_RATE: u32 = 1000;
/// Enough for an update of any reasonable size. A larger one should be a link to its data.
const DEFAULT_MAX_BODY: usize = 1024 * 1024;
const DEFAULT_MAX_CONNECTIONS: usize = 50_000;
/// As many as one client may have streams: a company or a provider may have one address.
const DEFAULT_CLIENT_CONNECTIONS: u32 = 10_000;
/// Streams of one client.
const DEFAULT_MAX_STREAMS: usize = 10_000;
const DEFAULT_MAX_MATCHERS: usize = 100;
/// Browsers ask for about a hundred.
const DEFAULT_HTTP2_STREAMS: u32 = 250;

/// The limits, validated. A limit that is missing is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitSettings {
    /// Updates per second from one address without a token.
    pub rate: Option<NonZeroU32>,
    /// Updates per second of one token's subject.
    pub token_rate: Option<NonZeroU32>,
    /// New subscriptions per second from one client.
    pub subscription_rate: Option<NonZeroU32>,
    /// New patterns per second from one client.
    pub pattern_rate: Option<NonZeroU32>,
    /// New connections per second from one client.
    pub connection_rate: Option<NonZeroU32>,
    /// Maximum size of a request body, in bytes.
    pub max_body: usize,
    /// Maximum number of connections.
    pub max_connections: usize,
    /// Maximum number of one client's.
    pub max_connections_per_client: Option<NonZeroU32>,
    /// Maximum number of one client's open streams.
    pub max_streams: Option<usize>,
    /// Maximum number of one stream's matchers.
    pub max_matchers: usize,
    /// Maximum number of requests at once over one HTTP/2 connection.
    pub max_http2_streams: u32,
    /// Maximum number of streams that are compressed.
    pub max_compressed_streams: usize,
}

impl LimitSettings {
    pub(super) fn resolve(options: &Options) -> Result<Self, SettingsError> {
        let rate = |set: Option<u32>, default: u32| NonZeroU32::new(set.unwrap_or(default));
        Ok(Self {
            rate: rate(options.rate_limit, DEFAULT_RATE),
            token_rate: rate(options.token_rate_limit, DEFAULT_TOKEN_RATE),
            subscription_rate: rate(options.subscription_rate_limit, DEFAULT_SUBSCRIPTION_RATE),
            pattern_rate: rate(options.pattern_rate_limit, DEFAULT_PATTERN_RATE),
            connection_rate: rate(options.connection_rate_limit, DEFAULT_CONNECTION_RATE),
            max_body: within("max-body", options.max_body, DEFAULT_MAX_BODY, 1024, 1 << 30)?,
            max_connections: within("max-connections", options.max_connections, DEFAULT_MAX_CONNECTIONS, 1, 1 << 24)?,
            max_connections_per_client: rate(options.max_connections_per_client, DEFAULT_CLIENT_CONNECTIONS),
            max_streams: Some(options.max_streams.unwrap_or(DEFAULT_MAX_STREAMS)).filter(|&count| count > 0),
            max_matchers: within("max-matchers", options.max_matchers, DEFAULT_MAX_MATCHERS, 1, 1000)?,
            max_http2_streams: within(
                "max-http2-streams",
                options.max_http2_streams,
                DEFAULT_HTTP2_STREAMS,
                1,
                10_000,
            )?,
            max_compressed_streams: options.max_compressed_streams.unwrap_or(0),
        })
    }
}
