//! Numbered events at random short intervals. Each client has a count of its own.
//!
//! The number is part of the event's id, so a client that reconnects continues its count, even after a restart of the
//! server.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use rand::Rng;
use tokio::time::{Instant, Sleep, sleep};
use tracing::debug;
use uuid::Uuid;

use crate::wire::frame::Frame;

/// The shortest and the longest time between two events, in milliseconds.
const INTERVAL_MS: std::ops::RangeInclusive<u64> = 10..=250;

/// Distinguishes our ids from other version 8 UUIDs: their third group is `8c07`.
const MARK: u128 = 0xc07;

/// One client's count: a stream of frames without an end.
pub(in crate::server::demo) struct Counter {
    number: u64,
    pause: Pin<Box<Sleep>>,
}

impl Counter {
    /// Continues the count after the event `last_event_id`. Starts at 1 without one, or if it is not an event of a
    /// counter.
    pub(in crate::server::demo) fn after(last_event_id: Option<&str>) -> Self {
        let number = last_event_id.and_then(|id| id.parse().ok()).and_then(number_of).unwrap_or(0);
        Self { number, pause: Box::pin(sleep(interval())) }
    }
}

impl Stream for Counter {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        ready!(self.pause.as_mut().poll(cx));
        self.pause.as_mut().reset(Instant::now() + interval());
        self.number = self.number.wrapping_add(1);
        let id = id_of(self.number).to_string();
        debug!(id, number = self.number, "pushed an event of the counter");
        let data = format!("Data pushed from server: ({})", self.number);
        Poll::Ready(Some(Bytes::from(Frame { id: Some(&id), data: &data, ..Frame::default() }.to_string())))
    }
}

fn interval() -> Duration {
    Duration::from_millis(rand::rng().random_range(INTERVAL_MS))
}

/// A UUID of version 8 (RFC 9562, 5.8): 48 random bits, the mark, and the lower 62 bits of the number.
fn id_of(number: u64) -> Uuid {
    let random = u128::from(rand::rng().random::<u64>()) << 80;
    Uuid::new_v8((random | MARK << 64 | u128::from(number)).to_be_bytes())
}

fn number_of(id: Uuid) -> Option<u64> {
    let bits = id.as_u128();
    let is_ours = id.get_version_num() == 8 && (bits >> 64) & 0xfff == MARK;
    is_ours.then_some((bits & ((1 << 62) - 1)) as u64)
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    #[test]
    fn an_id_keeps_its_number_and_differs_every_time() {
        for number in [1, 7, 1 << 40] {
            assert_eq!(number_of(id_of(number)), Some(number));
        }
        assert_ne!(id_of(7), id_of(7));
    }

    #[tokio::test(start_paused = true)]
    async fn counting_goes_on_after_the_last_event_and_begins_at_one_for_an_unknown_id() {
        let last = id_of(41).to_string();
        for (id, number) in [(Some(last.as_str()), 42), (Some("x"), 1), (Some(&*Uuid::new_v4().to_string()), 1)] {
            let frame = Counter::after(id).next().await.expect("a frame");
            let frame = String::from_utf8_lossy(&frame).into_owned();
            assert!(frame.ends_with(&format!("data: Data pushed from server: ({number})\n\n")), "{frame}");
        }
    }
}
