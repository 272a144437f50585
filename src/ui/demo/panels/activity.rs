//! The activity feed: one card per message, newest first.

use leptos::prelude::*;

use super::card::Card;
use crate::ui::demo::controller::Controller;
use crate::ui::demo::words::message_count;

/// The feed.
#[component]
pub fn Activity(
    /// Scheme, host and port of this server, for the `curl` lines.
    origin: String,
) -> impl IntoView {
    let controller = expect_context::<Controller>();
    let count = move || message_count(controller.rows.with(Vec::len), controller.has_older.get());
    let empty = move || controller.rows.with(Vec::is_empty);
    view! {
        <section class="activity" id="activity" aria-labelledby="activity-title">
            <div class="section-head">
                <h2 id="activity-title">"Activity"</h2>
                <span class="section-note">{count}</span>
            </div>
            <p class="empty" hidden=move || !empty()>
                <strong>"All quiet."</strong>
                " Send the first message, or publish one from a terminal: it appears here as it comes."
            </p>
            <ol class="cards" role="list">
                <For
                    each=move || controller.rows.get()
                    key=|row| row.message.id.clone()
                    children=move |row| view! { <Card row origin=origin.clone()/> }
                />
            </ol>
        </section>
    }
}
