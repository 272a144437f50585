//! The composer: where a message is written and submitted. A plain form until the page is alive.

use leptos::ev::{KeyboardEvent, SubmitEvent};
use leptos::html::Textarea;
use leptos::prelude::*;
use leptos::task::spawn_local;

use crate::ui::Refused;
use crate::ui::browser::{self, Unsent};
use crate::ui::desk::Desk;
use crate::wire::message::Message;
use crate::wire::paths;
use crate::wire::problem::Problem;

/// The composer.
#[component]
pub fn Composer(
    /// A text that was refused before the page was alive, and why.
    draft: Option<Refused>,
    /// How long a message may be, in UTF-8 bytes.
    max_bytes: usize,
) -> impl IntoView {
    let desk = expect_context::<Desk>();
    let (text, problem) = draft.map(|draft| (draft.text, draft.problem)).unzip();
    let text = text.unwrap_or_default();
    let bytes = RwSignal::new(text.len());
    let problem = RwSignal::new(problem);
    let sending = RwSignal::new(false);
    let field = NodeRef::<Textarea>::new();

    // What was typed before the page came to life.
    Effect::new(move || {
        if let Some(field) = field.get() {
            bytes.set(field.value().len());
        }
    });

    let taken = move |text: &str, message: Message| {
        problem.set(None);
        if let Some(field) = field.get_untracked() {
            let now = field.value();
            // Somebody may have typed on while the answer was on its way.
            field.set_value(now.strip_prefix(text).unwrap_or(&now));
            bytes.set(field.value().len());
        }
        desk.act(|feed, at| feed.submitted(message, at));
    };
    let send = move || {
        let Some(element) = field.get_untracked() else { return };
        if sending.get_untracked() {
            return;
        }
        sending.set(true);
        let text = element.value();
        spawn_local(async move {
            let sent = browser::submit(&text).await;
            sending.set(false);
            match sent {
                Ok(message) => taken(&text, message),
                Err(unsent) => {
                    let unsent = words(unsent);
                    desk.said.set(unsent.detail.clone());
                    problem.set(Some(unsent));
                }
            }
            _ = element.focus();
        });
    };
    let submit = move |event: SubmitEvent| {
        event.prevent_default();
        send();
    };
    let keydown = move |event: KeyboardEvent| {
        if event.key() == "Enter" && (event.ctrl_key() || event.meta_key()) {
            event.prevent_default();
            send();
        }
    };
    let count = move || match bytes.get() {
        bytes if bytes > max_bytes => format!("{bytes} of {max_bytes} bytes: {} too many", bytes - max_bytes),
        bytes => format!("{bytes} of {max_bytes} bytes"),
    };
    let invalid = move || problem.with(Option::is_some);

    view! {
        <section class="panel composer" id="write" aria-labelledby="write-title">
            <h2 id="write-title" class="sr">"Write"</h2>
            <form method="post" action=paths::MESSAGES novalidate on:submit=submit>
                <label for="message">"Your message"</label>
                <textarea
                    id="message"
                    name="message"
                    rows="3"
                    autocomplete="off"
                    aria-describedby="message-error message-hint"
                    aria-invalid=move || invalid().to_string()
                    node_ref=field
                    inner_html=field_html(&text)
                    on:input=move |event| bytes.set(event_target_value(&event).len())
                    on:keydown=keydown
                ></textarea>
                <p id="message-error" class="field-error" hidden=move || !invalid()>
                    {move || problem.get().map(|problem| problem.detail)}
                </p>
                <div class="composer-foot">
                    <p id="message-hint" class="hint">
                        <span class="count" data-over=move || (bytes.get() > max_bytes).to_string()>{count}</span>
                        <span class="keys with-script"><kbd>"Ctrl"</kbd>" "<kbd>"Enter"</kbd>" sends"</span>
                    </p>
                    <button type="submit" class="button-main" aria-disabled=move || sending.get().to_string()>
                        {move || if sending.get() { "Sending" } else { "Send" }}
                    </button>
                </div>
            </form>
        </section>
    }
}

fn words(unsent: Unsent) -> Problem {
    match unsent {
        Unsent::Refused(problem) => problem,
        Unsent::Unreachable => Problem {
            status: 0,
            title: "Not sent".to_owned(),
            detail: "The server can't be reached. Your text is kept: send it again when the connection is back."
                .to_owned(),
        },
    }
}

/// The text as it must stand between the tags: a parser drops one line end after `<textarea>`.
fn field_html(text: &str) -> String {
    format!("\n{}", text.replace('&', "&amp;").replace('<', "&lt;"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_text_comes_back_to_the_letter() {
        assert_eq!(field_html("\n</textarea>&amp;"), "\n\n&lt;/textarea>&amp;amp;");
    }
}
