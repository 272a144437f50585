//! Decodes an event stream into events, chunk by chunk (WHATWG HTML, 9.2.6 "Interpreting an event stream"), for clients
//! that are not browsers.
//!
//! It is the inverse of `frame.rs`. It has no connection and no clock: reconnecting after `retry` with the last event id
//! is up to its user.

/// Ignored at the very beginning of a stream.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// One event, as a browser would dispatch it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The last event id as of this event: its own, or else that of the latest before it; empty if there is none.
    pub id: String,
    /// The event's name; `message` where the stream gives none.
    pub name: String,
    /// The `data` lines, joined with LF.
    pub data: String,
    /// What the event itself says about reconnecting, in milliseconds.
    pub retry: Option<u64>,
}

/// An event is longer than the decoder may hold. The rest of the stream can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

/// Decodes one stream, from its first byte on. Invalid UTF-8 becomes U+FFFD, and an event that is cut off by the end of
/// the stream is discarded.
#[derive(Debug)]
pub struct Decoder {
    longest: usize,
    /// The beginning of a line that is not complete yet.
    line: Vec<u8>,
    begun: bool,
    /// The last line ended with a CR: an LF that follows belongs to it.
    after_cr: bool,
    data: String,
    name: String,
    id: String,
    event_retry: Option<u64>,
    last_event_id: String,
    retry: Option<u64>,
}

impl Decoder {
    /// A decoder for a stream that resumes after this event id, which is empty for a new stream. A line may have at most
    /// `longest` bytes, and so may the data of an event together with the line that follows it.
    pub fn new(last_event_id: &str, longest: usize) -> Self {
        Self {
            longest,
            line: Vec::new(),
            begun: false,
            after_cr: false,
            data: String::new(),
            name: String::new(),
            id: last_event_id.to_owned(),
            event_retry: None,
            last_event_id: last_event_id.to_owned(),
            retry: None,
        }
    }

    /// Consumes bytes from the front until an event is complete. `None` means that all are consumed.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Event>, TooLong> {
        if self.after_cr && !bytes.is_empty() {
            self.after_cr = false;
            *bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
        }
        while let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let (line, rest) = bytes.split_at(end);
            self.after_cr = rest == b"\r";
            *bytes = rest.strip_prefix(b"\r\n").unwrap_or(&rest[1..]);
            let event = if self.line.is_empty() {
                self.interpret(line)?
            } else {
                let mut whole = std::mem::take(&mut self.line);
                whole.extend_from_slice(line);
                self.interpret(&whole)?
            };
            if event.is_some() {
                return Ok(event);
            }
        }
        self.fits(self.line.len() + bytes.len())?;
        self.line.extend_from_slice(bytes);
        *bytes = &[];
        Ok(None)
    }

    /// The id to resume from: that of the latest event, with or without data; empty if there is none.
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// The reconnection time that the stream has set, in milliseconds, if it has.
    pub fn retry(&self) -> Option<u64> {
        self.retry
    }

    fn fits(&self, line: usize) -> Result<(), TooLong> {
        if self.data.len() + line > self.longest { Err(TooLong) } else { Ok(()) }
    }

    fn interpret(&mut self, mut line: &[u8]) -> Result<Option<Event>, TooLong> {
        self.fits(line.len())?;
        if !std::mem::replace(&mut self.begun, true) {
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        if line.is_empty() {
            return Ok(self.dispatch());
        }
        let colon = line.iter().position(|&byte| byte == b':').unwrap_or(line.len());
        let (field, value) = line.split_at(colon);
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => {
                self.data.push_str(&String::from_utf8_lossy(value));
                self.data.push('\n');
            }
            b"event" => self.name = String::from_utf8_lossy(value).into_owned(),
            b"id" if !value.contains(&0) => self.id = String::from_utf8_lossy(value).into_owned(),
            b"retry" if value.iter().all(u8::is_ascii_digit) => {
                if let Some(retry) = str::from_utf8(value).ok().and_then(|digits| digits.parse().ok()) {
                    (self.event_retry, self.retry) = (Some(retry), Some(retry));
                }
            }
            // A comment, or an unknown field.
            _ => {}
        }
        Ok(None)
    }

    fn dispatch(&mut self) -> Option<Event> {
        self.last_event_id.clone_from(&self.id);
        let (mut data, name) = (std::mem::take(&mut self.data), std::mem::take(&mut self.name));
        let retry = self.event_retry.take();
        // Without a `data` line there is no event, but its id and its `retry` still count.
        data.pop()?;
        let name = if name.is_empty() { "message".to_owned() } else { name };
        Some(Event { id: self.id.clone(), name, data, retry })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: usize = 1 << 20;

    /// The events of a stream that comes in pieces of these lengths, over and over.
    fn decode_in(pieces: &[usize], stream: &[u8]) -> (Vec<Event>, Decoder) {
        let (mut decoder, mut events, mut rest) = (Decoder::new("", LONGEST), Vec::new(), stream);
        let mut lengths = pieces.iter().cycle();
        while !rest.is_empty() {
            let length = lengths.next().map_or(rest.len(), |&length| length.clamp(1, rest.len()));
            let (mut piece, after) = rest.split_at(length);
            while let Some(event) = decoder.next(&mut piece).expect("short events") {
                events.push(event);
            }
            assert!(piece.is_empty());
            rest = after;
        }
        (events, decoder)
    }

    fn decode(stream: impl AsRef<[u8]>) -> Vec<Event> {
        decode_in(&[], stream.as_ref()).0
    }

    fn event(id: &str, name: &str, data: &str) -> Event {
        Event { id: id.into(), name: name.into(), data: data.into(), retry: None }
    }

    #[test]
    fn the_standards_examples_are_read_as_it_says() {
        let stream = ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n";
        let events = ["first event", "second event", " third event"];
        let ids = ["1", "", ""];
        assert_eq!(decode(stream), [0, 1, 2].map(|n| event(ids[n], "message", events[n])));
        assert_eq!(decode("data\n\ndata\ndata\n\ndata:"), [event("", "message", ""), event("", "message", "\n")]);
        assert_eq!(decode("data:test\n\ndata: test\n\n"), vec![event("", "message", "test"); 2]);
    }

    #[test]
    fn every_kind_of_line_end_ends_a_line_at_once() {
        for end in ["\n", "\r", "\r\n"] {
            let stream =
                ["id: 7", "event: close", "data: a", "data: b", ""].map(|line| format!("{line}{end}")).concat();
            assert_eq!(decode(&stream), [event("7", "close", "a\nb")], "{end:?}");
            assert_eq!(decode_in(&[1], stream.as_bytes()).0, [event("7", "close", "a\nb")], "{end:?}");
        }
        assert_eq!(decode("data: a\r\rdata: b\n\r"), [event("", "message", "a"), event("", "message", "b")]);
    }

    #[test]
    fn a_byte_order_mark_is_skipped_at_the_beginning_only() {
        let stream = "\u{FEFF}data: a\n\n\u{FEFF}data: b\n\n";
        for pieces in [&[][..], &[1], &[2]] {
            assert_eq!(decode_in(pieces, stream.as_bytes()).0, [event("", "message", "a")]);
        }
    }

    #[test]
    fn an_id_or_a_retry_without_data_holds_though_there_is_no_event() {
        let (events, decoder) = decode_in(&[], b"id: 5\n\nretry: 2000\n\nid: 6\n");
        assert_eq!((events, decoder.last_event_id(), decoder.retry()), (vec![], "5", Some(2000)));
        let events = decode("id: 5\n\ndata: a\nretry: 9\n\ndata: b\n\n");
        assert_eq!(events, [Event { retry: Some(9), ..event("5", "message", "a") }, event("5", "message", "b")]);
    }

    #[test]
    fn a_stream_goes_on_after_the_last_id_that_another_had() {
        let mut decoder = Decoder::new("4", LONGEST);
        assert_eq!(decoder.last_event_id(), "4");
        assert_eq!(decoder.next(&mut &b"data: a\n\n"[..]), Ok(Some(event("4", "message", "a"))));
    }

    #[test]
    fn fields_that_say_nothing_valid_are_ignored() {
        let stream = "id: 1\nid: a\0b\nretry: +5\nretry: 1s\nretry:\nretry: 99999999999999999999\nData: x\ndata: y\n\n";
        assert_eq!(decode(stream), [event("1", "message", "y")]);
    }

    #[test]
    fn what_is_no_utf_8_is_replaced_and_the_stream_goes_on() {
        let events = decode(b"data: a\xFFb\n\ndata: \xE2\x82\n\ndata: c\n\n");
        assert_eq!(events, ["a\u{FFFD}b", "\u{FFFD}", "c"].map(|data| event("", "message", data)));
    }

    #[test]
    fn an_event_longer_than_is_allowed_is_an_error_whether_in_one_line_or_in_many() {
        for line in ["x".repeat(101), format!("data: {}", "x".repeat(95)), "data: xxxx\n".repeat(20)] {
            for length in [1, 7, 1000] {
                let mut decoder = Decoder::new("", 100);
                let mut pieces = line.as_bytes().chunks(length);
                assert!(pieces.any(|mut piece| decoder.next(&mut piece) == Err(TooLong)), "{line} by {length}");
            }
        }
        let mut decoder = Decoder::new("", 100);
        let stream = format!("data: {}\n\n", "x".repeat(94));
        assert!(decoder.next(&mut stream.as_bytes()).is_ok_and(|event| event.is_some()));
    }

    mod hostile {
        use bytes::Bytes;
        use proptest::collection::vec;
        use proptest::prelude::*;
        use proptest::sample::select;

        use super::*;
        use crate::fuzz::fuzz;

        /// What a stream is made of, and what breaks one.
        const TOKENS: &[&[u8]] = &[
            b"\n",
            b"\r",
            b"\r\n",
            b":",
            b" ",
            b"data",
            b"data: a",
            b"id: 1",
            b"event: b",
            b"retry: 5",
            b"\xEF\xBB\xBF",
            b"\xEF\xBB",
            b"\xFF",
            b"\0",
        ];

        #[test]
        fn a_stream_means_the_same_however_it_is_cut() {
            let token = prop_oneof![9 => select(TOKENS).prop_map(<[u8]>::to_vec), 1 => vec(any::<u8>(), 0..4)];
            let stream = vec(token, 0..40).prop_map(|tokens| Bytes::from(tokens.concat()));
            fuzz("streams", (stream, vec(1..6_usize, 1..8)), |(stream, pieces)| {
                let ((whole, one), (cut, other)) = (decode_in(&[], stream), decode_in(pieces, stream));
                prop_assert_eq!(whole, cut);
                prop_assert_eq!((one.last_event_id(), one.retry()), (other.last_event_id(), other.retry()));
                Ok(())
            });
        }
    }
}
