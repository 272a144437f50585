//! Streams that are compressed. Each has a window of its own: what was sent before is what makes the next event small.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Bytes;
use axum::http::{HeaderMap, header};
use flate2::{Compress, Compression, FlushCompress, Status};
use http_body::{Body, Frame};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The coding, as `Content-Encoding` names it.
pub(super) const GZIP: &str = "gzip";

/// A window of 8 KiB: it reaches back over some dozens of events, and a larger one is paid for by every stream.
const WINDOW_BITS: u8 = 13;
const LEVEL: Compression = Compression::new(4);

/// Bytes of frames that are compressed in one go.
const COLLECTED: usize = 16 * 1024;
/// Room for what a flush adds.
const FLUSH: usize = 64;

/// How many more streams may be compressed.
pub(super) struct CompressedStreams(Arc<Semaphore>);

/// The right to compress a stream.
pub(super) struct MayCompress {
    _permit: OwnedSemaphorePermit,
}

impl CompressedStreams {
    pub(super) fn new(most: usize) -> Self {
        Self(Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))))
    }

    /// Whether one more stream may be compressed, for a client that accepts it.
    pub(super) fn admit(&self, headers: &HeaderMap) -> Option<MayCompress> {
        if !accepts(headers) {
            return None;
        }
        self.0.clone().try_acquire_owned().ok().map(|permit| MayCompress { _permit: permit })
    }
}

/// Whether a client accepts gzip (RFC 9110, 12.5.3).
fn accepts(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let mut by_any = false;
    for coding in values.flat_map(|value| value.split(',')) {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let weight = parts.filter_map(|part| part.split_once('=')).find(|(name, _)| name.eq_ignore_ascii_case("q"));
        let is_wanted = weight.is_none_or(|(_, weight)| weight.trim().parse().is_ok_and(|weight: f32| weight > 0.0));
        match name {
            "*" => by_any = is_wanted,
            name if name.eq_ignore_ascii_case(GZIP) || name.eq_ignore_ascii_case("x-gzip") => return is_wanted,
            _ => {}
        }
    }
    by_any
}

/// A body whose frames leave compressed, each as soon as it comes.
pub(super) struct GzipBody<B> {
    body: B,
    /// In a box: it has tens of kilobytes, and what holds a body moves it about.
    compress: Box<Compress>,
    has_ended: bool,
    _may: MayCompress,
}

impl<B> GzipBody<B> {
    pub(super) fn new(body: B, may: MayCompress) -> Self {
        let compress = Box::new(Compress::new_gzip(LEVEL, WINDOW_BITS));
        Self { body, compress, has_ended: false, _may: may }
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

    use axum::http::HeaderValue;
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

    fn may() -> MayCompress {
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
            let mut body = GzipBody::new(Frames(waits), may());
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
    fn a_stream_is_compressed_for_who_accepts_it_while_there_is_room() {
        let streams = CompressedStreams::new(1);
        let admit = |accepted: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(accepted));
            streams.admit(&headers)
        };
        for accepted in ["gzip", "br, GZIP;q=0.5", "*", "x-gzip", "gzip, identity;q=0"] {
            assert!(admit(accepted).is_some(), "{accepted}");
        }
        for refused in ["", "br", "gzip;q=0", "gzip;q=0, *", "*;q=0", "identity", "gzip;q=x"] {
            assert!(admit(refused).is_none(), "{refused}");
        }
        assert!(streams.admit(&HeaderMap::new()).is_none());
        let _first = admit("gzip").expect("room");
        assert!(admit("gzip").is_none(), "there is no more room");
    }
}
