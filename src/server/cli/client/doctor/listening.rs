//! A stream as the doctor reads it, compressed or not.

use std::time::Duration;

use flate2::{Decompress, FlushDecompress};
use reqwest::Response;
use reqwest::header::CONTENT_ENCODING;
use tokio::time::{Instant, timeout_at};

use crate::server::cli::client::error::{ClientError, cause};
use crate::wire::decode::{Decoder, Event};

/// The longest event that is read.
const MAX_EVENT: usize = 1 << 20;
/// The largest window of gzip (RFC 1952, 2).
const WINDOW_BITS: u8 = 15;
/// Bytes that are decompressed at a time.
const PLAIN: usize = 16 * 1024;

/// A stream that is being read.
pub(super) struct Listening {
    response: Response,
    gzip: Option<Decompress>,
    decoder: Decoder,
    rest: Vec<u8>,
}

impl Listening {
    /// A stream that a client opened which had this id before.
    pub(super) fn new(response: Response, last_event_id: &str) -> Self {
        let is_gzip = response.headers().get(CONTENT_ENCODING).is_some_and(|encoding| encoding == "gzip");
        let gzip = is_gzip.then(|| Decompress::new_gzip(WINDOW_BITS));
        Self { response, gzip, decoder: Decoder::new(last_event_id, MAX_EVENT), rest: Vec::new() }
    }

    /// The id of the last event.
    pub(super) fn last_event_id(&self) -> &str {
        self.decoder.last_event_id()
    }

    /// Waits for bytes; whether there were some before the end.
    pub(super) async fn bytes(&mut self) -> Result<bool, ClientError> {
        match self.response.chunk().await {
            Ok(Some(bytes)) => {
                match &mut self.gzip {
                    Some(gzip) => decompress(gzip, &bytes, &mut self.rest)?,
                    None => self.rest.extend_from_slice(&bytes),
                }
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(error) => Err(ClientError::Broken(cause(&error))),
        }
    }

    /// The next event; `None` if it does not come in time, or the stream ends.
    pub(super) async fn event(&mut self, within: Duration) -> Result<Option<Event>, ClientError> {
        let deadline = Instant::now() + within;
        loop {
            let mut bytes = self.rest.as_slice();
            let event = self.decoder.next(&mut bytes);
            let read = self.rest.len() - bytes.len();
            self.rest.drain(..read);
            if let Some(event) = event.map_err(|_| ClientError::Unexpected("an event is longer than 1 MiB".into()))? {
                return Ok(Some(event));
            }
            match timeout_at(deadline, self.bytes()).await {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) | Err(_) => return Ok(None),
                Ok(Err(error)) => return Err(error),
            }
        }
    }
}

/// Adds what these bytes mean to `plain`.
fn decompress(gzip: &mut Decompress, bytes: &[u8], plain: &mut Vec<u8>) -> Result<(), ClientError> {
    let mut rest = bytes;
    loop {
        plain.reserve(PLAIN);
        let before = gzip.total_in();
        let status = gzip.decompress_vec(rest, plain, FlushDecompress::Sync);
        status.map_err(|_| ClientError::Unexpected("the stream is called gzip, and is none".into()))?;
        let read = usize::try_from(gzip.total_in() - before).unwrap_or(usize::MAX);
        rest = rest.get(read..).unwrap_or_default();
        // With room left, all that the bytes mean is there.
        if plain.len() < plain.capacity() {
            return Ok(());
        }
    }
}
