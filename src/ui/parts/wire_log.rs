//! On the wire: the very frames of a burst as they came, and what happened to its connection.

use leptos::prelude::*;

use super::time::time_of_day;
use crate::ui::feed::{Burst, Entry, What};
use crate::ui::words::short_id;

/// The unfolding part of a card. Entries are only ever added, so a row is never out of date.
#[component]
pub fn WireLog(
    /// The burst.
    burst: RwSignal<Burst>,
    /// The command that shows the same in a terminal.
    curl: String,
) -> impl IntoView {
    let frames =
        move || burst.with(|burst| burst.log.iter().filter(|entry| matches!(entry.what, What::Event { .. })).count());
    let count = move || match frames() {
        1 => "1 frame".to_owned(),
        frames => format!("{frames} frames"),
    };
    let entries = move || burst.with(|burst| burst.log.iter().cloned().enumerate().collect::<Vec<_>>());
    view! {
        <details class="wire">
            <summary>"On the wire"<span class="wire-count with-script">{count}</span></summary>
            <p class="wire-curl"><code>{curl}</code></p>
            <ol class="wire-log" role="list">
                <For
                    each=entries
                    // A burst that is watched again begins again: the time tells the two first entries apart.
                    key=|(place, entry)| (*place, entry.at.to_bits())
                    children=|(_, entry)| view! { <li>{row(entry)}</li> }
                />
            </ol>
        </details>
    }
}

fn row(entry: Entry) -> impl IntoView {
    let time = view! { <span class="wire-time">{time_of_day(entry.at)}</span> };
    let (class, text) = match &entry.what {
        What::Opened { after: None } => ("wire-note", "open".to_owned()),
        What::Opened { after: Some(id) } => ("wire-note", format!("open again, after event {}", short_id(id))),
        What::Lost => ("wire-note", "connection lost".to_owned()),
        What::Refused(detail) => ("wire-note", format!("refused: {detail}")),
        What::Ended => ("wire-note", "204: nothing more to come".to_owned()),
        What::Event { .. } => ("wire-frame", entry.what.frame().unwrap_or_default().trim_end_matches('\n').to_owned()),
    };
    (time, view! { <pre class=class>{text}</pre> })
}
