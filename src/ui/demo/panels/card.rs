//! A message and its burst.

use leptos::prelude::*;

use super::track::Track;
use crate::ui::demo::controller::{Controller, Row};
use crate::ui::demo::feed::Burst;
use crate::ui::demo::words::burst_status;
use crate::ui::parts::time::Time;
use crate::ui::parts::wire_log::WireLog;
use crate::ui::stream::Phase;
use crate::ui::stream::words::{phase_name, short_id};

/// A text above this number of bytes or lines scrolls within its card, and the keyboard has to reach it.
const LONG_TEXT: usize = 600;
const MANY_LINES: usize = 12;

/// A card.
#[component]
pub fn Card(
    /// The message and its signals.
    row: Row,
    /// Scheme, host and port of this server, for the `curl` line.
    origin: String,
) -> impl IntoView {
    let controller = expect_context::<Controller>();
    let message = row.message.clone();
    let burst = RwSignal::from(row.burst.clone());
    let own = RwSignal::from(row.own.clone());
    let text_id = format!("t-{}", message.id);
    let log = Signal::derive(move || burst.with(|burst| burst.log.clone()));
    let long = message.message.len() > LONG_TEXT || message.message.lines().count() > MANY_LINES;
    let key = row.key();
    let act = move |_| {
        let failed =
            burst.with_untracked(|burst| matches!(burst.connection.phase, Phase::Lost { .. } | Phase::Refused(_)));
        controller.act(|feed, at| if failed { feed.retry(&key, at) } else { feed.watch(&key, at) });
    };
    let label = move || burst.with(action);
    view! {
        <li
            class="card"
            class:card-fresh=row.fresh
            id=format!("m-{}", message.id)
            data-phase=move || burst.with(|burst| phase_name(&burst.connection.phase))
        >
            <div class="card-head">
                <Time at=message.published_at alive=controller.alive/>
                <code class="card-id">{short_id(&message.id).to_owned()}</code>
                <span class="card-own" hidden=move || !own.get()>"from this tab"</span>
            </div>
            <p class="card-text" dir="auto" id=text_id.clone() tabindex=long.then_some("0")>{message.message.clone()}</p>
            <Track burst/>
            <div class="card-state with-script">
                <span class="card-status">{move || burst.with(burst_status)}</span>
                <button
                    type="button"
                    class="button-small needs-life"
                    aria-describedby=text_id
                    aria-disabled=move || label().is_none().to_string()
                    on:click=act
                >
                    {move || label().unwrap_or("Watching")}
                </button>
            </div>
            <WireLog log curl=format!("curl -N '{origin}{}'", message.stream)/>
        </li>
    }
}

/// What the visitor can do about a burst; `None` while it is under way.
///
/// The button is never removed, or the keyboard would lose its focus.
fn action(burst: &Burst) -> Option<&'static str> {
    match burst.connection.phase {
        Phase::Idle => Some("Watch its burst"),
        Phase::Closed => Some("Watch again"),
        Phase::Lost { .. } => Some("Retry now"),
        Phase::Refused(_) => Some("Try again"),
        Phase::Queued | Phase::Connecting { .. } | Phase::Open { .. } | Phase::Asking | Phase::Paused => None,
    }
}
