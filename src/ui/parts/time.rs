//! A point in time: in UTC as the server renders it, in the visitor's time zone once the page is hydrated.

use chrono::{DateTime, Datelike, Timelike, Utc};
use leptos::prelude::*;

use crate::ui::browser;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Where the time of day begins in a local time, and where its milliseconds do.
const TIME_OF_DAY: usize = "21 Nov ".len();
const MILLISECONDS: usize = "21 Nov 10:30:00".len();

/// The time of a message, to the second.
#[component]
pub fn Time(
    /// The time.
    at: DateTime<Utc>,
    /// Whether the page is hydrated.
    alive: RwSignal<bool>,
) -> impl IntoView {
    let milliseconds = at.timestamp_millis() as f64;
    let text = move || match alive.get() {
        true => to_the_second(&browser::local_time(milliseconds)).to_owned(),
        false => utc(at),
    };
    view! { <time class="time" datetime=at.to_rfc3339()>{text}</time> }
}

/// The time of day of something that happened on this page, with milliseconds, in local time.
pub fn time_of_day(at: f64) -> String {
    browser::local_time(at).split_off(TIME_OF_DAY)
}

fn to_the_second(local: &str) -> &str {
    local.get(..MILLISECONDS).unwrap_or(local)
}

fn utc(at: DateTime<Utc>) -> String {
    let month = MONTHS[at.month0() as usize];
    format!("{:02} {month} {:02}:{:02}:{:02} UTC", at.day(), at.hour(), at.minute(), at.second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_writes_utc_and_says_so() {
        let at = DateTime::from_timestamp(1_700_000_000, 0).unwrap_or_default();
        assert_eq!(utc(at), "14 Nov 22:13:20 UTC");
    }

    #[test]
    fn a_local_time_is_cut_at_its_parts() {
        let local = "21 Nov 10:30:00.123";
        assert_eq!(to_the_second(local), "21 Nov 10:30:00");
        assert_eq!(&local[TIME_OF_DAY..], "10:30:00.123");
    }
}
