//! On the wire: the frames of a stream exactly as they arrived, and what happened to its connection.

use leptos::prelude::*;

use super::time::time_of_day;
use crate::ui::stream::words::short_id;
use crate::ui::stream::{LogEntry, LogItem};

/// The log of a stream, folded. Entries are only ever added, so a row is never out of date.
#[component]
pub fn WireLog(
    /// The log, oldest entry first.
    log: Signal<Vec<LogEntry>>,
    /// The command that shows the same in a terminal.
    curl: String,
) -> impl IntoView {
    let is_frame = |entry: &&LogEntry| matches!(entry.item, LogItem::Event { .. });
    let count = move || match log.with(|log| log.iter().filter(is_frame).count()) {
        1 => "1 frame".to_owned(),
        frames => format!("{frames} frames"),
    };
    let entries = move || log.get().into_iter().enumerate().collect::<Vec<_>>();
    view! {
        <details class="wire">
            <summary>"On the wire"<span class="wire-count with-script">{count}</span></summary>
            <p class="wire-curl"><code>{curl}</code></p>
            <ol class="wire-log" role="list">
                <For
                    each=entries
                    // A stream that is watched again begins again: the time tells the two first entries apart.
                    key=|(place, entry)| (*place, entry.at.to_bits())
                    children=|(_, entry)| view! { <li>{row(entry)}</li> }
                />
            </ol>
        </details>
    }
}

fn row(entry: LogEntry) -> impl IntoView {
    let time = view! { <span class="wire-time">{time_of_day(entry.at)}</span> };
    let (class, text) = match &entry.item {
        LogItem::Opened { after: None } => ("wire-note", "open".to_owned()),
        LogItem::Opened { after: Some(id) } => ("wire-note", format!("open again, after event {}", short_id(id))),
        LogItem::Lost => ("wire-note", "connection lost".to_owned()),
        LogItem::Refused(detail) => ("wire-note", format!("refused: {detail}")),
        LogItem::Ended => ("wire-note", "204: nothing more to come".to_owned()),
        LogItem::Event { .. } => {
            ("wire-frame", entry.item.frame().unwrap_or_default().trim_end_matches('\n').to_owned())
        }
    };
    (time, view! { <pre class=class>{text}</pre> })
}
