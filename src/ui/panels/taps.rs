//! The demo streams that can be switched on to watch.

use leptos::prelude::*;

use crate::ui::desk::Desk;
use crate::ui::feed::{Demo, Key, SHOWN};
use crate::ui::words::{line_status, phase_name, short_id};
use crate::wire::paths;

/// The demo streams.
#[component]
pub fn Taps() -> impl IntoView {
    view! {
        <section class="panel taps" id="streams" aria-labelledby="streams-title">
            <div class="section-head">
                <h2 id="streams-title">"Streams"</h2>
                <a class="section-note" href=paths::CLIENT>"Stand-alone client"</a>
            </div>
            {Demo::ALL.map(|demo| view! { <Tap demo/> })}
        </section>
    }
}

#[component]
fn Tap(demo: Demo) -> impl IntoView {
    let desk = expect_context::<Desk>();
    let tap = desk.tap(demo);
    let on = move || tap.with(|tap| tap.line.is_under_way());
    let (name, about) = about(demo);
    let switch = move |_| {
        let key = Key::Demo(demo);
        desk.act(|feed, at| {
            if tap.with_untracked(|tap| tap.line.is_under_way()) { feed.stop(&key, at) } else { feed.watch(&key, at) }
        });
    };
    let status = move || {
        tap.with(|tap| match tap.count {
            0 => line_status(&tap.line),
            count => format!("{}, {count} events", line_status(&tap.line)),
        })
    };
    let line = move |place: usize| {
        let id = move || tap.with(|tap| tap.last.get(place).map(|event| short_id(&event.id).to_owned()));
        let data = move || tap.with(|tap| tap.last.get(place).map(|event| event.data.clone()));
        view! { <li><code class="tap-id">{id}</code><span class="tap-data">{data}</span></li> }
    };
    view! {
        <div class="tap" data-phase=move || tap.with(|tap| phase_name(&tap.line.phase))>
            <div class="tap-head">
                <h3>{name}</h3>
                <code>{demo.path()}</code>
                <button
                    type="button"
                    class="switch needs-life"
                    aria-pressed=move || on().to_string()
                    on:click=switch
                >
                    <span class="switch-track" aria-hidden="true"></span>
                    "Watch"<span class="sr">" "{name}</span>
                </button>
            </div>
            <p class="tap-about">{about}</p>
            <p class="tap-status with-script">{status}</p>
            <ol class="tap-lines with-script" role="list">{(0..SHOWN).map(line).collect_view()}</ol>
        </div>
    }
}

fn about(demo: Demo) -> (&'static str, &'static str) {
    match demo {
        Demo::Clock => ("Clock", "The server's time, every second."),
        Demo::Sse => ("Five seconds", "A message with its time, every five seconds."),
        Demo::Counter => ("Counter", "Numbered events with ids, every 10 to 250 ms."),
    }
}
