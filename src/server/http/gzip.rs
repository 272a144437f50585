//! Streams that are compressed. Each has a window of its own: what was sent before is what makes the next event small.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::body::Bytes;
use axum::http::HeaderMap;
use flate2::{Compress, Compression, FlushCompress, Status};
use http_body::{Body, Frame};

use super::accept::accepts_coding;

/// The coding, as `Content-Encoding` names it.
pub(super) const GZIP: &str = "gzip";

/// A window of 8 KiB: it reaches back over some dozens of events, and a larger one is paid for by every stream.
const WINDOW_BITS: u8 = 13;
const LEVEL: Compression = Compression::new(4);

/// Bytes of frames that are compressed in one go.
const COLLECTED: usize = 16 * 1024;
/// Room for what a flush adds.
const FLUSH: usize = 64;

/// How many streams are compressed, and how many may be.
pub(super) struct CompressedStreams {
    open: AtomicUsize,
    max: AtomicUsize,
}

/// Counts a stream as compressed while it lives.
pub(super) struct CompressionPermit(Arc<CompressedStreams>);

impl CompressedStreams {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { open: AtomicUsize::new(0), max: AtomicUsize::new(max) })
    }

    /// Allows this many from now on. Those that are open stay so.
    pub(super) fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// Whether one more stream may be compressed, for a client that accepts it.
    pub(super) fn admit(self: &Arc<Self>, headers: &HeaderMap) -> Option<CompressionPermit> {
        let max = self.max.load(Ordering::Relaxed);
        if max == 0 || !accepts_coding(headers, GZIP) {
            return None;
        }
        let more = |open: usize| (open < max).then_some(open + 1);
        self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(CompressionPermit(self.clone()))
    }
}

impl Drop for CompressionPermit {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A body whose frames leave compressed, each as soon as it comes.
pub(super) struct GzipBody<B> {
    body: B,
    /// In a box: it has tens of kilobytes, and what holds a body moves it about.
    compress: Box<Compress>,
    has_ended: bool,
    _permit: CompressionPermit,
}

impl<B> GzipBody<B> {
    pub(super) fn new(body: B, permit: CompressionPermit) -> Self {
        let compress = Box::new(Compress::new_gzip(LEVEL, WINDOW_BITS));
        Self { body, compress, has_ended: false, _permit: permit }
    }

    /// What these bytes become, with a flush behind them; at the end of the body with the end of the coding.
    fn compressed(&mut self, bytes: &[u8]) -> Bytes {
        let flush = if self.has_ended { FlushCompress::Finish } else { FlushCompress::Sync };
        let mut out = Vec::with_capacity(bytes.len() / 2 + FLUSH);
        let begin = self.compress.total_in();
        loop {
            let read = usize::try_from(self.compress.total_in() - begin).unwrap_or(usize::MAX);
            let rest = bytes.get(read..).unwrap_or_default();
            let status = self.compress.compress_vec(rest, &mut out, flush);
            let is_full = out.len() == out.capacity();
            // It can't fail: what it needs is there from the beginning.
            if matches!(status, Err(_) | Ok(Status::StreamEnd)) || !is_full {
                return out.into();
            }
            out.reserve(bytes.len().max(FLUSH));
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for GzipBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let mut collected = Vec::new();
        while collected.len() < COLLECTED {
            match Pin::new(&mut self.body).poll_frame(cx)? {
                Poll::Ready(Some(frame)) => collected.extend(frame.into_data().unwrap_or_default()),
                Poll::Ready(None) => {
                    self.has_ended = true;
                    break;
                }
                Poll::Pending if collected.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready(Some(Ok(Frame::data(self.compressed(&collected)))))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;

    use axum::http::{HeaderValue, header};
    use flate2::{Decompress, FlushDecompress};
    use http_body_util::BodyExt;
    use proptest::prelude::*;

    use super::*;

    /// Frames, each followed by a moment without one where it says so.
    struct Frames(VecDeque<Option<Bytes>>);

    impl Body for Frames {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.0.pop_front() {
                Some(Some(frame)) => Poll::Ready(Some(Ok(Frame::data(frame)))),
                Some(None) => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                None => Poll::Ready(None),
            }
        }
    }

    fn permit() -> CompressionPermit {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(GZIP));
        CompressedStreams::new(1).admit(&headers).expect("room")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn whatever_is_sent_arrives_with_the_frame_it_came_in(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40_000), 0..8),
        ) {
            let waits = frames.iter().flat_map(|frame| [Some(Bytes::from(frame.clone())), None]).collect();
            let mut body = GzipBody::new(Frames(waits), permit());
            let mut decompress = Decompress::new_gzip(15);
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            let mut expected = frames.into_iter().filter(|frame| !frame.is_empty());
            let mut ended = false;
            while let Some(frame) = runtime.block_on(body.frame()) {
                let bytes = frame.expect("infallible").into_data().expect("data");
                let mut plain = Vec::with_capacity(100_000);
                let status = decompress.decompress_vec(&bytes, &mut plain, FlushDecompress::Sync).expect("gzip");
                ended = status == Status::StreamEnd;
                if !plain.is_empty() {
                    prop_assert_eq!(Some(plain), expected.next());
                }
            }
            prop_assert!(ended);
            prop_assert_eq!(expected.next(), None);
        }
    }

    #[test]
    fn streams_are_compressed_while_there_is_room_for_clients_that_accept_it() {
        let accepted = HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(GZIP))]);
        let streams = CompressedStreams::new(1);
        assert!(streams.admit(&HeaderMap::new()).is_none());
        let first = streams.admit(&accepted).expect("room");
        assert!(streams.admit(&accepted).is_none(), "there is no more room");
        streams.set_max(2);
        let second = streams.admit(&accepted).expect("room");
        streams.set_max(1);
        drop(first);
        assert!(streams.admit(&accepted).is_none(), "one is open");
        drop(second);
        assert!(streams.admit(&accepted).is_some());
    }
}
