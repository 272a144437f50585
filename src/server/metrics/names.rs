//! The names of all figures, and what they are.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// How a figure changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Is what it is now.
    Gauge,
    /// Counts what lies below each of several bounds.
    Histogram,
}

use Kind::{Counter, Gauge, Histogram};

/// Every figure of ours: its kind, its name and what it is. Those of the process begin with `process_`.
pub const NAMES: [(Kind, &str, &str); 37] = [
    (Gauge, "tidings_build_info", "1, with the version as a label"),
    (Gauge, "tidings_ready", "1 while the server is ready for clients, 0 otherwise"),
    (Gauge, "tidings_connections_open", "Open connections"),
    (Counter, "tidings_connections_total", "Connections by outcome: accepted, refused (above --max-connections)"),
    (Counter, "tidings_tls_handshakes_total", "TLS handshakes by outcome: full, resumed, failed"),
    (
        Gauge,
        "tidings_certificate_expires_timestamp_seconds",
        "When the certificate that expires first does, in Unix time",
    ),
    (Gauge, "tidings_streams_open", "Open streams"),
    (Counter, "tidings_streams_opened_total", "Streams that were opened"),
    (
        Counter,
        "tidings_streams_ended_total",
        "Streams that have ended by reason: complete, disconnected, shutdown, token_expired, lifetime, revoked",
    ),
    (Gauge, "tidings_streams_behind", "Streams that have not been sent everything that is there for them"),
    (Gauge, "tidings_stream_lag_updates", "How many updates the stream that is furthest behind has not looked at"),
    (
        Counter,
        "tidings_streams_fell_behind_total",
        "How often a stream's client did not take what was offered to it at once",
    ),
    (Counter, "tidings_updates_total", "Updates by outcome: published, repeated (with an Idempotency-Key), failed"),
    (Counter, "tidings_deliveries_total", "Events that were written to streams"),
    (Counter, "tidings_delivered_bytes_total", "Bytes of events and comments that were written to streams"),
    (
        Histogram,
        "tidings_publish_to_write_seconds",
        "From an update's publication to its having been written to all streams that took it at once; one sample for each batch and shard",
    ),
    (Counter, "tidings_refusals_total", "Requests that were refused, by status and reason, such as too_many_streams"),
    (Gauge, "tidings_log_updates", "Updates that the log keeps"),
    (Gauge, "tidings_log_bytes", "Bytes of updates that the log keeps"),
    (Gauge, "tidings_log_own_events", "Events of the hub itself, such as presence, that the log keeps"),
    (Gauge, "tidings_log_own_bytes", "Bytes of events of the hub itself that the log keeps"),
    (Gauge, "tidings_log_file_bytes", "Bytes of the log's files"),
    (Gauge, "tidings_log_waiting_bytes", "Bytes in the journal that the archive has not taken over yet"),
    (Gauge, "tidings_log_newest", "The newest place in the log"),
    (
        Histogram,
        "tidings_log_write_seconds",
        "How long the journal took to write a batch and, where needed, to flush it",
    ),
    (Histogram, "tidings_log_batch_updates", "Updates that one write of the journal served"),
    (Histogram, "tidings_log_archive_seconds", "How long one transaction of the archive took"),
    (Gauge, "tidings_log_takes_updates", "1 while the log takes updates, 0 otherwise"),
    (Gauge, "tidings_cluster_applied", "The newest message of the cluster's stream that this node has copied"),
    (Gauge, "tidings_cluster_lag", "Messages of the cluster's stream that this node has not copied yet"),
    (Gauge, "tidings_cluster_epoch", "How many times the cluster's stream has lost acknowledged updates"),
    (Gauge, "tidings_cluster_servers", "NATS servers that are configured to store the cluster's stream"),
    (Gauge, "tidings_cluster_current_servers", "NATS servers that have all messages of the cluster's stream"),
    (Gauge, "tidings_disk_free_bytes", "Free bytes of the disk that the data folder is on"),
    (Gauge, "tidings_runtime_workers", "Threads that serve"),
    (Gauge, "tidings_runtime_tasks", "Tasks that are alive"),
    (Gauge, "tidings_runtime_queued_tasks", "Tasks that wait for a thread"),
];

const SECONDS: &[f64] =
    &[0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const COUNTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// The bounds of each histogram.
pub const UPPER_BOUNDS: [(&str, &[f64]); 4] = [
    ("tidings_publish_to_write_seconds", SECONDS),
    ("tidings_log_write_seconds", SECONDS),
    ("tidings_log_batch_updates", COUNTS),
    ("tidings_log_archive_seconds", SECONDS),
];

/// Says what each figure is, to whoever asks for them.
pub(super) fn describe() {
    for (kind, name, what) in NAMES {
        let unit = if name.ends_with("_seconds") { Unit::Seconds } else { Unit::Count };
        match kind {
            Counter => describe_counter!(name, unit, what),
            Gauge => describe_gauge!(name, unit, what),
            Histogram => describe_histogram!(name, unit, what),
        }
    }
}
