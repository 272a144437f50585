//! The activity feed: a card a message, newest first.

use leptos::prelude::*;

use super::card::Card;
use crate::ui::desk::Desk;

/// The feed.
#[component]
pub fn Activity(
    /// Scheme, host and port of this server, for the `curl` lines.
    origin: String,
) -> impl IntoView {
    let desk = expect_context::<Desk>();
    let count = move || match desk.rows.with(Vec::len) {
        0 => String::new(),
        1 => "1 message".to_owned(),
        many => format!("{many} messages"),
    };
    let empty = move || desk.rows.with(Vec::is_empty);
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
                    each=move || desk.rows.get()
                    key=|row| row.message.id.clone()
                    children=move |row| view! { <Card row origin=origin.clone()/> }
                />
            </ol>
        </section>
    }
}
