//! What a subscriber hears: the hub's deliveries as frames, until its time is over or somebody ends it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use chrono::{DateTime, Utc};
use futures_util::stream::Abortable;
use futures_util::{Stream, StreamExt};
use rand::Rng;
use tokio::time::{Instant, Sleep, sleep_until};

use super::open::OpenStream;
use crate::server::http::parked::Parked;
use crate::server::hub::presence::Present;
use crate::server::hub::{Delivery, Subscription};
use crate::wire::event::Gap;

/// A lifetime is shortened by up to this part of it, so that streams that began together don't end together.
const LIFETIME_SPREAD: f64 = 0.2;

/// The frames of one stream. What counts it is dropped with it.
pub(super) struct Frames {
    pub(super) subscription: Abortable<Subscription>,
    /// When the stream must end; boxed, like all that few streams look at.
    pub(super) deadline: Option<Parked<Sleep>>,
    /// Whether the client has asked to be told of gaps.
    pub(super) gaps: bool,
    /// The id the client came back with, until the first frame.
    pub(super) asked: Option<Box<str>>,
    pub(super) _open: OpenStream,
    pub(super) _present: Option<Present>,
}

/// When a stream ends: when its token expires, and when it has lived long enough.
pub(super) fn deadline(expires: Option<DateTime<Utc>>, lifetime: Option<Duration>) -> Option<Parked<Sleep>> {
    let until_expiry = expires.map(|at| (at - Utc::now()).to_std().unwrap_or_default());
    let spread = || 1.0 - rand::rng().random_range(0.0..LIFETIME_SPREAD);
    let lifetime = lifetime.map(|lifetime| lifetime.mul_f64(spread()));
    let left = [until_expiry, lifetime].into_iter().flatten().min()?;
    Some(Parked::new(sleep_until(Instant::now() + left)))
}

impl Stream for Frames {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let this = &mut *self;
        if let Some(deadline) = &mut this.deadline
            && deadline.poll(cx, Sleep::is_elapsed).is_ready()
        {
            return Poll::Ready(None);
        }
        loop {
            return match this.subscription.poll_next_unpin(cx) {
                Poll::Ready(Some(Delivery::Update(entry))) => {
                    this.asked = None;
                    Poll::Ready(Some(entry.frame.clone()))
                }
                Poll::Ready(Some(Delivery::Gap { oldest })) if this.gaps => {
                    Poll::Ready(Some(gap(this.asked.take(), oldest)))
                }
                Poll::Ready(Some(Delivery::Gap { .. })) => continue,
                Poll::Ready(None) => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            };
        }
    }
}

fn gap(asked: Option<Box<str>>, oldest: Option<Box<str>>) -> Bytes {
    Bytes::from(Gap { asked: asked.map(String::from), oldest: oldest.map(String::from), lost: true }.frame())
}
