//! The addresses of the server, each defined once.

/// The page, the one-second clock or the welcome document, by `Accept`.
pub const ROOT: &str = "/";
/// Health check.
pub const PING: &str = "/api/ping";
/// Whether the process lives.
pub const LIVE: &str = "/livez";
/// Whether the server is ready for clients, part by part.
pub const READY: &str = "/readyz";
/// Figures for Prometheus, where the settings say so.
pub const METRICS: &str = "/metrics";
/// The messages: `POST` submits one, `GET` lists them or, as an event stream, follows them.
pub const MESSAGES: &str = "/api/messages";
/// Publishes a message from a script: raw text, a form or JSON.
pub const PUBLISH: &str = "/publish";
/// The burst stream; [`burst`] is the address of one message's own.
pub const STREAM: &str = "/stream";
/// The server's local time, every second.
pub const CLOCK: &str = "/clock";
/// The server's local time with its offset (RFC 3339), every second.
pub const REMOTE: &str = "/remote";
/// A timestamped message, every five seconds.
pub const SSE: &str = "/sse";
/// Numbered events at random short intervals.
pub const COUNTER: &str = "/counter";
/// The stand-alone client page.
pub const CLIENT: &str = "/client/index.html";
/// Every address, described for programs (OpenAPI).
pub const OPENAPI: &str = "/openapi.json";
/// The same, to read.
pub const DOCS: &str = "/docs";
/// The script of [`DOCS`], for its buttons and its filter: a file of the site.
pub const DOCS_SCRIPT: &str = "/docs.js";

/// The hub: `POST` publishes, `GET` and `QUERY` subscribe (the Mercure protocol).
pub const HUB: &str = "/.well-known/mercure";
/// The hub's open subscriptions; below it those of one matcher, and single ones.
pub const SUBSCRIPTIONS: &str = "/.well-known/mercure/subscriptions";
/// `POST` turns a token into a ticket for a client that can't send one.
pub const TICKETS: &str = "/.well-known/mercure/tickets";
/// `POST` revokes tokens and ends streams.
pub const REVOCATIONS: &str = "/.well-known/mercure/revocations";
/// The protected resource metadata (RFC 9728): what the hub expects of tokens.
pub const RESOURCE_METADATA: &str = "/.well-known/oauth-protected-resource/.well-known/mercure";

/// The query parameter that stands for the `Last-Event-ID` header, which a new `EventSource` can't set.
pub const LAST_EVENT_ID: &str = "last_event_id";
/// As the last event id: everything that is kept, from the oldest on.
pub const EARLIEST: &str = "earliest";

/// The address of the burst of the message with this id.
///
/// Ids are UUIDs or burst ids: they need no percent-encoding.
pub fn burst(message_id: &str) -> String {
    format!("{STREAM}?message={message_id}")
}

/// The address of the message with this id.
pub fn message(message_id: &str) -> String {
    format!("{MESSAGES}/{message_id}")
}
