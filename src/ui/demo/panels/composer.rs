//! The composer: where a message is written and submitted. A plain form until the page is hydrated.

use leptos::ev::{KeyboardEvent, SubmitEvent};
use leptos::html::Textarea;
use leptos::prelude::*;
use leptos::task::spawn_local;

use crate::ui::demo::controller::Controller;
use crate::ui::demo::draft::Draft;
use crate::wire::paths;

/// The composer.
#[component]
pub fn Composer(
    /// A text that was refused before the page was hydrated.
    refused: Option<String>,
) -> impl IntoView {
    let controller = expect_context::<Controller>();
    let draft = controller.draft;
    let text = refused.unwrap_or_default();
    let field = NodeRef::<Textarea>::new();

    // What was typed before the page was hydrated.
    Effect::new(move || {
        if let Some(field) = field.get() {
            draft.update(|draft| draft.edited(&field.value()));
        }
    });

    let send = move || {
        let Some(field) = field.get_untracked() else { return };
        if !draft.try_update(Draft::send).unwrap_or_default() {
            return;
        }
        spawn_local(async move {
            let text = field.value();
            if controller.submit(text.clone()).await {
                // Somebody may have typed on while the answer was on its way.
                let value = field.value();
                let rest = value.strip_prefix(&text).unwrap_or(&value);
                field.set_value(rest);
                draft.update(|draft| draft.edited(rest));
            }
            _ = field.focus();
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
    let sending = move || draft.with(Draft::is_sending);
    let invalid = move || draft.with(|draft| draft.error().is_some());

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
                    dir="auto"
                    inner_html=field_html(&text)
                    on:input=move |event| draft.update(|draft| draft.edited(&event_target_value(&event)))
                    on:keydown=keydown
                ></textarea>
                <p id="message-error" class="field-error" hidden=move || !invalid()>
                    {move || draft.with(|draft| draft.error().map(str::to_owned))}
                </p>
                <div class="composer-foot">
                    <p id="message-hint" class="hint">
                        <span class="count" data-over=move || draft.with(Draft::is_too_long).to_string()>
                            {move || draft.with(Draft::length)}
                        </span>
                        <span class="keys with-script"><kbd>"Ctrl"</kbd>" "<kbd>"Enter"</kbd>" sends"</span>
                    </p>
                    <button type="submit" class="button-main" aria-disabled=move || sending().to_string()>
                        {move || if sending() { "Sending" } else { "Send" }}
                    </button>
                </div>
            </form>
        </section>
    }
}

/// The HTML of the text between the tags. A parser drops one line end after `<textarea>`.
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
