//! A decoder that reads a stream as a browser does.

use std::mem;
use std::time::Duration;

use memchr::memchr2;

/// Reads the events of a stream that comes in chunks.
///
/// It follows the [interpretation of event streams][spec] to the letter, for tests of streams: it
/// returns what a page would see. It keeps an event until its blank line, however long the event
/// is, so it is not for streams of servers that are not trusted.
///
/// An event that the stream ends in the middle of is never returned: browsers drop it as well.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use tower_sse::wire::Decoder;
///
/// let mut decoder = Decoder::new();
/// assert!(decoder.decode(b"retry: 3000\nid: 1\nda").is_empty());
///
/// let events = decoder.decode(b"ta: one\ndata: two\n\ndata: thr");
/// assert_eq!(events.len(), 1);
/// assert_eq!(events[0].event, "message");
/// assert_eq!(events[0].data, "one\ntwo");
/// assert_eq!(events[0].last_event_id, "1");
///
/// assert_eq!(decoder.last_event_id(), "1");
/// assert_eq!(decoder.retry(), Some(Duration::from_secs(3)));
/// ```
///
/// [spec]: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    /// The beginning of a line that has not ended yet.
    line: Vec<u8>,
    /// Whether the last byte was a CR: an LF after it is part of the same line end.
    after_cr: bool,
    /// Whether the first line, which may begin with a byte order mark, has ended.
    begun: bool,
    event: String,
    /// Each line ends in LF, the last one too, so that an empty line differs from no line.
    data: String,
    /// Becomes the last event id with the next blank line, and stays for the blank lines after it.
    id: String,
    last_event_id: String,
    retry: Option<Duration>,
}

/// An event as a page sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MessageEvent {
    /// The type: `message` if the event has no name.
    pub event: String,
    /// The lines of data, with LF between them.
    pub data: String,
    /// The id of this event, or else of the last one before it that had an id. Empty for none.
    pub last_event_id: String,
}

impl Decoder {
    /// A decoder at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a chunk, and returns the events that it completes.
    ///
    /// Chunks may begin and end anywhere. Bytes that are not UTF-8 are read as U+FFFD.
    pub fn decode(&mut self, chunk: &[u8]) -> Vec<MessageEvent> {
        let mut rest = chunk;
        std::iter::from_fn(|| self.next_event(&mut rest)).collect()
    }

    /// Reads to the end of the next event, and leaves the bytes after it in `rest`. Returns `None`
    /// after all bytes of `rest` if no event ends in them.
    pub(crate) fn next_event(&mut self, rest: &mut &[u8]) -> Option<MessageEvent> {
        while let Some((&first, tail)) = rest.split_first() {
            if mem::take(&mut self.after_cr) && first == b'\n' {
                *rest = tail;
                continue;
            }
            let Some(at) = memchr2(b'\r', b'\n', rest) else {
                self.line.extend_from_slice(rest);
                *rest = &[];
                break;
            };
            self.line.extend_from_slice(&rest[..at]);
            self.after_cr = rest[at] == b'\r';
            *rest = &rest[at + 1..];
            if let Some(event) = self.end_line() {
                return Some(event);
            }
        }
        None
    }

    /// The number of bytes that the decoder keeps of an event that is not whole yet.
    #[cfg(feature = "resume")]
    pub(crate) fn held(&self) -> usize {
        self.line.len() + self.data.len() + self.event.len() + self.id.len()
    }

    /// What the decoder keeps of an event that is not whole yet, written anew, and whether an LF
    /// that comes next is part of its last line end.
    #[cfg(feature = "resume")]
    pub(crate) fn unended(&self) -> (Vec<u8>, bool) {
        let mut text = String::new();
        if !self.event.is_empty() {
            text.extend(["event: ", &self.event, "\n"]);
        }
        if let Some(retry) = self.retry {
            text.extend(["retry: ", itoa::Buffer::new().format(retry.as_millis()), "\n"]);
        }
        for line in self.data.split_inclusive('\n') {
            text.extend(["data: ", line]);
        }
        if text.is_empty() && self.begun {
            // Of what follows a comment, a byte order mark is not skipped.
            text.push_str(":\n");
        }
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&self.line);
        (bytes, self.after_cr)
    }

    /// The delay that the stream asked for since the last call.
    #[cfg(any(feature = "resume", feature = "testing"))]
    pub(crate) fn take_retry(&mut self) -> Option<Duration> {
        self.retry.take()
    }

    /// The id that a browser would send as `Last-Event-ID` if the stream broke now.
    ///
    /// Empty if there is none: then it sends no such header.
    #[must_use]
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// The last delay before a reconnect that the stream asked for.
    #[must_use]
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    fn end_line(&mut self) -> Option<MessageEvent> {
        let line = mem::take(&mut self.line);
        let line = match line.strip_prefix(BOM) {
            Some(rest) if !self.begun => rest,
            _ => &line,
        };
        self.begun = true;
        if line.is_empty() {
            return self.end_block();
        }

        // Line by line this gives what the whole stream would: no line end is part of a longer
        // UTF-8 sequence.
        let line = String::from_utf8_lossy(line);
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => value.clone_into(&mut self.event),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            // Digits only: `parse` would let a sign pass.
            "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                // A number that no integer can hold is ignored.
                self.retry = value.parse().ok().map(Duration::from_millis).or(self.retry);
            }
            // Comments, whose name is empty, and unknown fields.
            _ => {}
        }
        None
    }

    fn end_block(&mut self) -> Option<MessageEvent> {
        self.last_event_id.clone_from(&self.id);
        let mut event = mem::take(&mut self.event);
        let mut data = mem::take(&mut self.data);
        data.pop()?;
        if event.is_empty() {
            "message".clone_into(&mut event);
        }
        Some(MessageEvent { event, data, last_event_id: self.last_event_id.clone() })
    }
}

/// The byte order mark in UTF-8: at the start of a stream, and there only, it is skipped.
const BOM: &[u8] = "\u{feff}".as_bytes();
