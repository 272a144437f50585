//! A burst's arrivals on a line: one bead each, and one for the end.

use leptos::prelude::*;

use crate::ui::demo::feed::Burst;
use crate::ui::demo::words::ordinal;
use crate::ui::parts::time::time_of_day;

/// How many beads fit on a card. A longer burst shows its last ones.
const MAX_BEADS: usize = 8;

/// Where the minutes begin in a time of day.
const HOUR: usize = "10:".len();

/// The arrivals of a burst. Each bead has its place from the start, so nothing moves at an arrival.
#[component]
pub fn Track(
    /// The burst.
    burst: RwSignal<Burst>,
) -> impl IntoView {
    let shown = Memo::new(move |_| {
        let (of, arrived) = burst.with(|burst| (burst.arrivals.len(), burst.arrived()));
        let first = arrived.saturating_sub(MAX_BEADS - 1).min(of.saturating_sub(MAX_BEADS));
        (first, of.min(first + MAX_BEADS))
    });
    let beads = move || {
        let (first, end) = shown.get();
        let bead = |nth: usize| {
            let mark = (nth + 1).to_string();
            bead(burst, mark, format!("{} arrival", ordinal(nth + 1)), Bead::Arrival(nth))
        };
        (first..end).map(bead).collect_view()
    };
    view! {
        <ol class="track with-script" role="list">
            {beads}
            {bead(burst, "end".to_owned(), "End".to_owned(), Bead::Close)}
        </ol>
    }
}

/// What a bead stands for.
#[derive(Clone, Copy)]
enum Bead {
    /// The arrival at this place, from 0.
    Arrival(usize),
    /// The end of the stream.
    Close,
}

impl Bead {
    fn at(self, burst: &Burst) -> Option<f64> {
        match self {
            Self::Arrival(nth) => burst.arrivals.get(nth).copied().flatten(),
            Self::Close => burst.closed_at,
        }
    }
}

fn bead(burst: RwSignal<Burst>, mark: String, name: String, of: Bead) -> impl IntoView {
    let came = move || burst.with(|burst| of.at(burst));
    let time = move |part: fn(&str) -> &str| came().map(|at| part(&time_of_day(at)).to_owned());
    // The hour is an element of its own: phones hide it.
    let hour = move || time(|time| time.get(..HOUR).unwrap_or_default());
    let rest = move || time(|time| time.get(HOUR..).unwrap_or_default()).unwrap_or_else(|| "not yet".to_owned());
    view! {
        <li class="bead" data-came=move || came().is_some().to_string()>
            <span class="bead-mark" aria-hidden="true">{mark}</span>
            <span class="sr">{name}": "</span>
            <span class="bead-time"><span class="bead-hour">{hour}</span>{rest}</span>
        </li>
    }
}
