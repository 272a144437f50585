//! What a subscriber hears: the hub's deliveries as frames.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Bytes;
use futures_util::{Stream, StreamExt};

use crate::server::hub::{Delivery, Subscription};
use crate::server::log::Cursor;
use crate::wire::event::Gap;

/// The frames of one stream.
pub(super) struct Frames {
    subscription: Subscription,
    /// Whether the client is told of gaps.
    gaps: bool,
    /// The id that the client came back with, until the first frame.
    asked: Option<Box<str>>,
}

impl Frames {
    /// The frames for a client that came back with the id `asked`, and is told of gaps if it wants to be.
    pub(super) fn new(subscription: Subscription, gaps: bool, asked: Option<String>) -> Self {
        Self { subscription, gaps, asked: asked.map(String::into_boxed_str) }
    }

    /// Whether everything was passed on: what comes next is offered.
    pub(super) fn is_live(&self) -> bool {
        self.subscription.is_live()
    }

    /// Everything up to here was passed on.
    pub(super) fn cursor(&self) -> Cursor {
        self.subscription.cursor()
    }

    /// Notes what was written to the client at once, up to this place.
    pub(super) fn delivered(&mut self, last: Cursor) {
        self.asked = None;
        self.subscription.skip_to(last);
    }
}

impl Stream for Frames {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let this = &mut *self;
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
