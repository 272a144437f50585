//! The server's time, every second and every five seconds: one ticker for all clients.
//!
//! A tick is a state, not an update: a slow client skips to the newest tick, and no client resumes from an old one.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, FixedOffset, Local, SecondsFormat, SubsecRound, TimeDelta, Timelike};
use futures_util::{Stream, StreamExt};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_stream::wrappers::WatchStream;

use crate::wire::frame::Frame;

/// Returns the local time.
pub(in crate::server::demo) type LocalTime = Arc<dyn Fn() -> DateTime<FixedOffset> + Send + Sync>;

/// The machine's clock and time zone.
pub(in crate::server::demo) fn local_time() -> LocalTime {
    Arc::new(|| Local::now().fixed_offset())
}

/// A stream of the ticker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server::demo) enum Tick {
    /// Every second, `2023-10-27 10:30:00`.
    Clock,
    /// Every second, RFC 3339 with the offset.
    Remote,
    /// Every five seconds, JSON with a message and a timestamp.
    Sse,
}

impl Tick {
    const ALL: [Self; 3] = [Self::Clock, Self::Remote, Self::Sse];

    fn is_due(self, at: DateTime<FixedOffset>) -> bool {
        self != Self::Sse || at.second().is_multiple_of(5)
    }

    fn data(self, at: DateTime<FixedOffset>) -> String {
        let timestamp = at.to_rfc3339_opts(SecondsFormat::Secs, false);
        match self {
            Self::Clock => at.format("%Y-%m-%d %H:%M:%S").to_string(),
            Self::Remote => timestamp,
            Self::Sse => {
                let message = format!("The server's time is {}", at.format("%H:%M:%S"));
                json!({ "message": message, "timestamp": timestamp }).to_string()
            }
        }
    }
}

/// Ticks on whole seconds. Cheap to clone.
#[derive(Clone)]
pub(in crate::server::demo) struct Ticker {
    ticks: Arc<[watch::Sender<Bytes>; 3]>,
}

impl Ticker {
    /// Starts a ticker, which stops when it and all its streams have been dropped. Call it within a tokio runtime.
    pub(in crate::server::demo) fn start(now: LocalTime) -> Self {
        let ticks = Arc::new(Tick::ALL.map(|_| watch::Sender::new(Bytes::new())));
        let weak = Arc::downgrade(&ticks);
        tokio::spawn(async move {
            loop {
                let at = next_second(&now).await;
                let Some(ticks) = weak.upgrade() else { break };
                for (tick, sender) in Tick::ALL.iter().zip(ticks.iter()) {
                    if tick.is_due(at) && sender.receiver_count() > 0 {
                        let frame = Frame { data: &tick.data(at), ..Frame::default() };
                        sender.send_replace(Bytes::from(frame.to_string()));
                    }
                }
            }
        });
        Self { ticks }
    }

    /// The frames of one of the streams, from the next tick on.
    pub(in crate::server::demo) fn stream(&self, tick: Tick) -> impl Stream<Item = Bytes> + Send + Unpin + use<> {
        let ticks = self.ticks.clone();
        // The stream keeps the ticker alive.
        WatchStream::from_changes(self.ticks[tick as usize].subscribe()).map(move |frame| {
            let _ = &ticks;
            frame
        })
    }
}

/// Waits for the next whole second and returns it.
async fn next_second(now: &LocalTime) -> DateTime<FixedOffset> {
    let before = now();
    let target = before.trunc_subsecs(0) + TimeDelta::seconds(1);
    sleep((target - before).to_std().unwrap_or(Duration::ZERO)).await;
    let after = now();
    // The timer may fire a little early: the second it was set for still counts. If the clock was set or the machine
    // slept, the time is another one.
    if (after - target).abs() < TimeDelta::milliseconds(500) { target } else { after.trunc_subsecs(0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    /// A local time that runs with tokio's paused clock, from 0.4 s past 10:29:58.
    fn virtual_time() -> LocalTime {
        let start = Instant::now();
        let base = DateTime::parse_from_rfc3339("2023-10-27T10:29:58.4+02:00").expect("a date");
        Arc::new(move || base + start.elapsed())
    }

    async fn take(tick: Tick, count: usize) -> Vec<(String, Duration)> {
        let start = Instant::now();
        let ticker = Ticker::start(virtual_time());
        let frames = ticker.stream(tick).take(count);
        frames.map(|frame| (String::from_utf8_lossy(&frame).into_owned(), start.elapsed())).collect().await
    }

    #[tokio::test(start_paused = true)]
    async fn the_clock_ticks_on_whole_seconds_and_does_not_drift() {
        let ticks = take(Tick::Clock, 3).await;
        let data: Vec<_> = ticks.iter().map(|(data, _)| data.as_str()).collect();
        assert_eq!(
            data,
            ["data: 2023-10-27 10:29:59\n\n", "data: 2023-10-27 10:30:00\n\n", "data: 2023-10-27 10:30:01\n\n"]
        );
        assert_eq!(ticks[2].1.as_millis() / 10, 260);
    }

    #[tokio::test(start_paused = true)]
    async fn remote_tells_the_time_with_its_offset() {
        assert_eq!(take(Tick::Remote, 1).await[0].0, "data: 2023-10-27T10:29:59+02:00\n\n");
    }

    #[tokio::test(start_paused = true)]
    async fn sse_ticks_every_five_seconds_with_a_message_and_a_timestamp() {
        let ticks = take(Tick::Sse, 2).await;
        let data = r#"{"message":"The server's time is 10:30:05","timestamp":"2023-10-27T10:30:05+02:00"}"#;
        assert_eq!(ticks[1].0, format!("data: {data}\n\n"));
        assert_eq!((ticks[1].1 - ticks[0].1).as_millis() / 10, 500);
    }
}
