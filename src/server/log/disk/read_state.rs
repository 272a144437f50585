//! What a reader finds out on its way, and how far it looks in one go.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::server::log::Cursor;
use crate::server::log::verdicts::Verdicts;

/// How many entries a filter is asked about in one go: it may have a hundred patterns, and topics may be long.
pub(super) const SLICE: usize = 32;
/// How many entries are passed over in one go, because they are private and the reader wants none of these.
pub(super) const PASSED_OVER: usize = 512;
/// How many entries a read looks at before it answers, wanted or not.
pub(super) const SCAN_LIMIT: usize = 4096;

/// What a reader has found out for one page and need not find out again for the next.
#[derive(Default)]
pub(super) struct ReadState {
    /// How many evictions have been looked at: pages have said what they mean to this reader.
    pub(super) evictions: u64,
    pub(super) wanted: WantedTopics,
    pub(super) system: WantedSystem,
    /// By topic, for entries in memory.
    pub(super) verdicts: Verdicts,
    /// By topic's number, for entries of the archive.
    pub(super) archived_verdicts: Verdicts<u64>,
}

/// The hub's own events that a filter wants: they are looked at one after the other, once.
#[derive(Default)]
pub(super) struct WantedSystem {
    /// Those that have not been read.
    pub(super) cursors: VecDeque<Cursor>,
    /// All up to here have been looked at.
    pub(super) up_to: Cursor,
}

/// The topics that a filter wants which can't list them.
#[derive(Default)]
pub(super) enum WantedTopics {
    /// It has not been asked.
    #[default]
    Unknown,
    /// These numbers, and no other one up to `last`.
    Few { numbers: Arc<Vec<u64>>, last: Option<u64> },
    /// Too many to remember.
    Many,
}
