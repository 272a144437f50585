//! The demo page: write a message, and watch it arrive.

use leptos::prelude::*;

use crate::ui::PageData;

/// The whole page, below `<body>`. The server provides its [`PageData`] as context.
#[component]
pub fn App() -> impl IntoView {
    let page = SharedValue::new(|| use_context::<PageData>().unwrap_or_default()).into_inner();
    view! { <main>{page.version}</main> }
}
