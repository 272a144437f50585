//! The name and its mark: a wire with three arrivals on it.

use leptos::prelude::*;

use crate::wire::paths;

/// The name beside the mark, which leads home.
#[component]
pub fn Wordmark() -> impl IntoView {
    view! {
        <a class="wordmark" href=paths::ROOT><Mark/><span>"tidings"</span></a>
    }
}

/// It says nothing that the name doesn't.
#[component]
fn Mark() -> impl IntoView {
    view! {
        <svg class="mark" viewBox="0 0 40 24" width="40" height="24" aria-hidden="true" focusable="false">
            <path class="mark-wire" d="M1 12h38"/>
            <circle class="mark-bead" cx="9" cy="12" r="3"/>
            <circle class="mark-bead" cx="19" cy="12" r="4"/>
            <circle class="mark-bead" cx="31" cy="12" r="5"/>
        </svg>
    }
}
