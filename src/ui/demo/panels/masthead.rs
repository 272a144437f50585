//! The head of the page: the name, the navigation, and the state of the page's own stream.

use leptos::prelude::*;

use crate::ui::demo::controller::Controller;
use crate::ui::demo::feed::Feed;
use crate::ui::demo::words::live_status;
use crate::ui::parts::mark::Wordmark;
use crate::ui::stream::Connection;
use crate::ui::stream::words::phase_name;

/// The masthead.
#[component]
pub fn Masthead() -> impl IntoView {
    let controller = expect_context::<Controller>();
    let status = move || controller.live.with(|connection| live_status(connection, controller.online.get()));
    let phase = move || controller.live.with(|connection| phase_name(&connection.phase));
    let lost = move || controller.live.with(Connection::is_lost);
    let retry = move |_| controller.act(Feed::retry_all);
    view! {
        <header class="masthead">
            <Wordmark/>
            <nav class="page-nav" aria-label="On this page">
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
