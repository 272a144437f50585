//! The terminal panel: `curl` commands for this very server.

use leptos::prelude::*;
use leptos::task::spawn_local;

use crate::ui::browser::{self, Timer};
use crate::ui::demo::controller::Controller;
use crate::wire::paths;

/// How long a button says "Copied", in milliseconds.
const SAYS_COPIED: f64 = 2_000.0;

/// The panel.
#[component]
pub fn Terminal(
    /// Scheme, host and port of this server.
    origin: String,
) -> impl IntoView {
    let lines = [
        ("Wait for the next message", format!("curl -N {origin}{}", paths::STREAM)),
        (
            "Submit one as JSON",
            format!(
                "curl -H 'content-type: application/json' -d '{{\"message\":\"Hello from curl\"}}' {origin}{}",
                paths::MESSAGES
            ),
        ),
        ("Publish plain text", format!("curl -d 'Hello from a script' {origin}{}", paths::PUBLISH)),
        ("Follow all messages", format!("curl -N -H 'accept: text/event-stream' {origin}{}", paths::MESSAGES)),
        ("Watch the clock", format!("curl -N {origin}{}", paths::CLOCK)),
    ];
    view! {
        <section class="panel terminal" id="terminal" aria-labelledby="terminal-title">
            <div class="section-head"><h2 id="terminal-title">"Try it from a terminal"</h2></div>
            <ul class="lines" role="list">
                {lines.map(|(about, command)| view! { <CommandLine about command/> })}
            </ul>
        </section>
    }
}

#[component]
fn CommandLine(about: &'static str, command: String) -> impl IntoView {
    let controller = expect_context::<Controller>();
    let label = RwSignal::new("Copy");
    let timer = StoredValue::new(None::<Timer>);
    let copy = {
        let command = command.clone();
        move |_| {
            let command = command.clone();
            spawn_local(async move {
                let copied = browser::copy(&command).await;
                label.set(if copied { "Copied" } else { "Not allowed" });
                controller
                    .announcement
                    .set(if copied { "Copied." } else { "The browser does not allow copying here." }.to_owned());
                let back = move || {
                    label.set("Copy");
                    controller.announcement.set(String::new());
                };
                timer.set_value(Some(Timer::after(SAYS_COPIED, Box::new(back))));
            });
        }
    };
    view! {
        <li class="line">
            <span class="line-about">{about}</span>
            <code class="line-command">{command}</code>
            <button type="button" class="button-small needs-life" on:click=copy>
                {move || label.get()}<span class="sr">": "{about}</span>
            </button>
        </li>
    }
}
