//! When the events of a burst come, in virtual time and without a socket.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tidings::server::demo::{BurstOptions, Bursts, Messages, Resume};
use tidings::server::hub::{Hub, HubOptions};
use tidings::server::log::MemoryLog;
use tidings::wire::message::MessageText;
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_burst_comes_at_once_and_then_each_second_and_closes_right_after_the_third() {
    let (messages, bursts) = demo();
    let waiting = bursts.next(None).await.expect("a stream");
    let publishing = async {
        sleep(7 * SECOND).await;
        publish(&messages, "Hello").await;
    };
    let (times, ()) = tokio::join!(times(waiting), publishing);
    assert_eq!(times, [7000, 8000, 9000, 9000]);
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_paced_for_its_reader_however_late_it_was_opened() {
    let (messages, bursts) = demo();
    let id = publish(&messages, "Hello").await;
    sleep(100 * SECOND).await;
    let (one, two) = (open(&bursts, &id, None).await, async {
        sleep(SECOND / 2).await;
        times(open(&bursts, &id, None).await).await
    });
    let (one, two) = tokio::join!(times(one), two);
    assert_eq!(one, [0, 1000, 2000, 2000]);
    assert_eq!(two, [0, 1000, 2000, 2000]);
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_burst_comes_at_once_and_then_each_second() {
    let (messages, bursts) = demo();
    let id = publish(&messages, "Hello").await;
    for (had, expected) in [("1", vec![0, 1000, 1000]), ("2", vec![0, 0]), ("3", vec![0])] {
        let last = format!("{id}:{had}");
        assert_eq!(times(open(&bursts, &id, Some(&last)).await).await, expected, "{last}");
        assert_eq!(times(bursts.next(Some(&last)).await.expect("a stream")).await, expected, "{last}");
    }
}

fn demo() -> (Messages, Bursts) {
    let (log, tail) = MemoryLog::open(100);
    let messages = Messages::new(Hub::open(log as Arc<_>, tail, HubOptions::default())).expect("a topic");
    (messages.clone(), Bursts::new(messages, BurstOptions { repeat: 3, interval: SECOND }))
}

async fn publish(messages: &Messages, text: &str) -> String {
    let text = MessageText::parse(text.into(), 100).expect("a text");
    messages.publish(text).await.expect("a message").id
}

async fn open(bursts: &Bursts, id: &str, last: Option<&str>) -> impl Stream<Item = Bytes> + use<> {
    match bursts.resume(id, last).await.expect("a log") {
        Resume::Burst(burst) => burst,
        Resume::Ended | Resume::Unknown => panic!("{id} after {last:?} has no burst"),
    }
}

/// How many milliseconds after the stream was opened each of its frames comes.
async fn times(frames: impl Stream<Item = Bytes>) -> Vec<u128> {
    let start = Instant::now();
    frames.map(|_| start.elapsed().as_millis()).collect().await
}
