//! The head of the page: the name, the ways on, and how the page's own stream stands.

use leptos::prelude::*;

use crate::ui::desk::Desk;
use crate::ui::feed::{Feed, Phase};
use crate::ui::parts::mark::Mark;
use crate::ui::words::{live_status, phase_name};
use crate::wire::paths;

/// The masthead.
#[component]
pub fn Masthead() -> impl IntoView {
    let desk = expect_context::<Desk>();
    let status = move || desk.live.with(|line| live_status(line, desk.online.get()));
    let phase = move || desk.live.with(|line| phase_name(&line.phase));
    let lost = move || desk.live.with(|line| matches!(line.phase, Phase::Lost { .. }));
    let retry = move |_| desk.act(Feed::retry_all);
    view! {
        <header class="masthead">
            <a class="wordmark" href=paths::ROOT><Mark/><span>"tidings"</span></a>
            <nav class="ways" aria-label="On this page">
                <a href="#write">"Write"</a>
                <a href="#activity">"Activity"</a>
                <a href="#streams">"Streams"</a>
                <a href="#terminal">"Terminal"</a>
            </nav>
            <div class="live" data-phase=phase>
                <span class="live-bead" aria-hidden="true"></span>
                <span class="live-text with-script">{status}</span>
                <span class="live-text without-script">"Reload for news"</span>
                <button type="button" class="button-small" hidden=move || !lost() on:click=retry>"Retry now"</button>
            </div>
        </header>
    }
}
