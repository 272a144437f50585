//! The figures that are counted where something happens. Each handle is looked up once.

use std::sync::LazyLock;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

/// Streams.
pub static STREAMS: LazyLock<Streams> = LazyLock::new(|| Streams {
    open: gauge!("tidings_streams_open"),
    opened: counter!("tidings_streams_opened_total"),
    fell_behind: counter!("tidings_streams_fell_behind_total"),
    deliveries: counter!("tidings_deliveries_total"),
    bytes: counter!("tidings_delivered_bytes_total"),
    publish_to_write: histogram!("tidings_publish_to_write_seconds"),
});

/// Updates.
pub static UPDATES: LazyLock<Updates> = LazyLock::new(|| {
    let of = |outcome: &'static str| counter!("tidings_updates_total", "outcome" => outcome);
    Updates { published: of("published"), repeated: of("repeated"), failed: of("failed") }
});

/// Connections.
pub static CONNECTIONS: LazyLock<Connections> = LazyLock::new(|| {
    let of = |outcome: &'static str| counter!("tidings_connections_total", "outcome" => outcome);
    Connections { open: gauge!("tidings_connections_open"), accepted: of("accepted"), refused: of("refused") }
});

/// TLS handshakes.
pub static TLS: LazyLock<Tls> = LazyLock::new(|| {
    let of = |outcome: &'static str| counter!("tidings_tls_handshakes_total", "outcome" => outcome);
    Tls { full: of("full"), resumed: of("resumed"), failed: of("failed") }
});

/// The log.
pub static LOG: LazyLock<Log> = LazyLock::new(|| Log {
    write: histogram!("tidings_log_write_seconds"),
    batch: histogram!("tidings_log_batch_updates"),
    archive: histogram!("tidings_log_archive_seconds"),
});

/// What is counted of streams.
pub struct Streams {
    /// Open ones.
    pub open: Gauge,
    /// Those that were opened.
    pub opened: Counter,
    /// How often one's client did not take at once what was offered.
    pub fell_behind: Counter,
    /// Events that were written.
    pub deliveries: Counter,
    /// Bytes that were written.
    pub bytes: Counter,
    /// From publication to the last write of those that take it at once.
    pub publish_to_write: Histogram,
}

/// What is counted of updates.
pub struct Updates {
    /// They were published.
    pub published: Counter,
    /// They had been published before, with the same idempotency key.
    pub repeated: Counter,
    /// The log has not taken them.
    pub failed: Counter,
}

/// What is counted of connections.
pub struct Connections {
    /// Open ones.
    pub open: Gauge,
    /// Those that were accepted.
    pub accepted: Counter,
    /// Those above the limit.
    pub refused: Counter,
}

/// What is counted of TLS.
pub struct Tls {
    /// Handshakes with everything.
    pub full: Counter,
    /// Handshakes of clients that have come back.
    pub resumed: Counter,
    /// Handshakes that came to nothing.
    pub failed: Counter,
}

/// What is counted of the log.
pub struct Log {
    /// How long a write of the journal takes.
    pub write: Histogram,
    /// How many updates it serves.
    pub batch: Histogram,
    /// How long a transaction of the archive takes.
    pub archive: Histogram,
}

/// Counts the end of a stream, for one of few reasons.
pub fn stream_ended(reason: &'static str) {
    counter!("tidings_streams_ended_total", "reason" => reason).increment(1);
}

/// Counts a refused request, by its status and by why: one of few titles, as `too_many_streams`.
pub fn refused(status: u16, title: &str) {
    let reason = title.to_lowercase().replace(' ', "_");
    counter!("tidings_refusals_total", "status" => status.to_string(), "reason" => reason).increment(1);
}
