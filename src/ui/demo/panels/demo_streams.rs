//! The demo streams that can be switched on to watch.

use leptos::prelude::*;

use crate::ui::demo::controller::Controller;
use crate::ui::demo::feed::{Demo, EVENTS_SHOWN, Key};
use crate::ui::stream::words::{phase_name, short_id, status};
use crate::wire::paths;

/// The demo streams.
#[component]
pub fn DemoStreams() -> impl IntoView {
    view! {
        <section class="panel demo-streams" id="streams" aria-labelledby="streams-title">
            <div class="section-head">
                <h2 id="streams-title">"Streams"</h2>
                <a class="section-note" href=paths::CLIENT>"Stand-alone client"</a>
            </div>
            {Demo::ALL.map(|demo| view! { <DemoStream demo/> })}
        </section>
    }
}

#[component]
fn DemoStream(demo: Demo) -> impl IntoView {
    let controller = expect_context::<Controller>();
    let stream = controller.demo_stream(demo);
    let on = move || stream.with(|stream| stream.connection.is_under_way());
    let (name, about) = about(demo);
    let switch = move |_| {
        let key = Key::Demo(demo);
        controller.act(|feed, at| {
            if stream.with_untracked(|stream| stream.connection.is_under_way()) {
                feed.stop(&key, at)
            } else {
                feed.watch(&key, at)
            }
        });
    };
    let shown_status = move || {
        stream.with(|stream| match stream.count {
            0 => status(&stream.connection, "Open"),
            count => format!("{}, {count} events", status(&stream.connection, "Open")),
        })
    };
    let event = move |place: usize| {
        let id = move || stream.with(|stream| stream.events.get(place).map(|event| short_id(&event.id).to_owned()));
        let data = move || stream.with(|stream| stream.events.get(place).map(|event| event.data.clone()));
        view! { <li><code class="demo-stream-id">{id}</code><span class="demo-stream-data">{data}</span></li> }
    };
    view! {
        <div class="demo-stream" data-phase=move || stream.with(|stream| phase_name(&stream.connection.phase))>
            <div class="demo-stream-head">
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
            <p class="demo-stream-about">{about}</p>
            <p class="demo-stream-status with-script">{shown_status}</p>
            <ol class="demo-stream-lines with-script" role="list">{(0..EVENTS_SHOWN).map(event).collect_view()}</ol>
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
