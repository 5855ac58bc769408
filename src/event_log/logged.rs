//! [`Logged`]: an event as a log keeps it, encoded with its id.

use std::error::Error;
use std::fmt;

use bytes::Bytes;

use super::Topic;
use super::finish::finish_id;
use crate::wire::{Event, EventId, LineEnd, with_id_line};

/// An event as a log keeps it: encoded once, with its id as the last line.
///
/// Its bytes are one whole event with lines that end in LF, and are sent as they are. Clones share
/// the bytes. `Debug` shows the topic and the id, but not the content of the event.
///
/// # Examples
///
/// ```
/// use tower_sse::event_log::{Logged, Topic};
/// use tower_sse::{Event, EventId, EventName};
///
/// let topic = Topic::new("orders.42")?;
/// let event = Event::new().event(EventName::from_static("paid")).data("12.50");
/// let logged = Logged::new(topic, &EventId::new("7-1")?, event)?;
/// assert_eq!(logged.bytes(), "event: paid\ndata: 12.50\nid: 7-1\n\n");
/// assert_eq!(logged.id(), "7-1");
/// assert_eq!(logged.name(), Some("paid"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Logged {
    topic: Topic,
    bytes: Bytes,
    /// The length of the id, which is before the last two line ends.
    id_len: usize,
}

impl Logged {
    /// Encodes an event with the id that a log gave it. An id of the event's own is not written.
    ///
    /// # Errors
    ///
    /// [`InvalidEvent`] if the event has no data, since clients do not dispatch such an event.
    pub fn new(topic: Topic, id: &EventId, event: Event) -> Result<Self, InvalidEvent> {
        let bytes = event.encode_with_last_id(id.as_str()).ok_or(InvalidEvent::NO_DATA)?;
        Ok(Self { topic, bytes, id_len: id.as_str().len() })
    }

    /// Checks an event that [`Event::encode`] wrote and a broker kept, and adds the id that the
    /// broker gave it.
    ///
    /// # Errors
    ///
    /// [`InvalidEvent`] if `event` is not one whole event or not UTF-8, has a line that does not
    /// end in LF, has no data, has an `id`, or has a `retry` of zero or of more than 2,147,483,647
    /// ms, after which clients come back at once. So other writers of the broker cannot break a
    /// stream.
    pub fn from_encoded(topic: Topic, id: &EventId, event: &[u8]) -> Result<Self, InvalidEvent> {
        let lines = event.strip_suffix(b"\n\n").ok_or(InvalidEvent("it does not end"))?;
        if memchr::memchr(b'\r', lines).is_some() {
            return Err(InvalidEvent("it has a CR"));
        }
        let mut data = false;
        if std::str::from_utf8(lines).is_err() {
            return Err(InvalidEvent("it is not UTF-8"));
        }
        for line in lines.split(|byte| *byte == b'\n') {
            match line {
                [] => return Err(InvalidEvent("there are two events")),
                line if value(line, b"id").is_some() => return Err(InvalidEvent("it has an id")),
                line if value(line, b"retry").is_some_and(|retry| !is_sane(retry)) => {
                    return Err(InvalidEvent("it has a `retry` that harms clients"));
                }
                line => data |= value(line, b"data").is_some(),
            }
        }
        if !data {
            return Err(InvalidEvent::NO_DATA);
        }
        let blank = event.len() - LineEnd::Lf.as_str().len();
        let bytes = with_id_line(event, blank, id.as_str(), LineEnd::Lf);
        Ok(Self { topic, bytes, id_len: id.as_str().len() })
    }

    /// An event that is encoded already, with an id of `id_len` bytes as its last line.
    pub(super) fn encoded(topic: Topic, bytes: Bytes, id_len: usize) -> Self {
        Self { topic, bytes, id_len }
    }

    /// The topic of the event.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// The id that the log gave the event.
    #[must_use]
    pub fn id(&self) -> &str {
        let end = self.bytes.len() - "\n\n".len();
        // The id was text when it was written, so this does not fail.
        std::str::from_utf8(&self.bytes[end - self.id_len..end]).unwrap_or_default()
    }

    /// The name of the event (its `event` field), for which pages add a listener, if it has one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        let lines = self.bytes.split(|byte| *byte == b'\n');
        let name = lines.filter_map(|line| value(line, b"event")).next_back()?;
        // Clients take an empty one for none.
        std::str::from_utf8(name).ok().filter(|name| !name.is_empty())
    }

    /// Whether this is the event that [`Hub::finish`](crate::Hub::finish) appended.
    #[must_use]
    pub fn finishes_topic(&self) -> bool {
        finish_id(&self.bytes).is_some()
    }

    /// The encoded event, as it is sent.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Converts into the encoded event.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }
}

/// The value of a line, if its field has this name.
fn value<'a>(line: &'a [u8], field: &[u8]) -> Option<&'a [u8]> {
    match line.strip_prefix(field)? {
        [] => Some(&[]),
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        _ => None,
    }
}

/// Whether clients do no harm with a `retry`. They ignore what is no number.
fn is_sane(retry: &[u8]) -> bool {
    let digits = std::str::from_utf8(retry).unwrap_or_default();
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    !is_number || digits.parse().is_ok_and(|millis: i32| millis > 0)
}

impl fmt::Debug for Logged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logged")
            .field("topic", &self.topic.as_str())
            .field("id", &self.id())
            .field("len", &self.bytes.len())
            .finish()
    }
}

/// Why a log cannot keep an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidEvent(&'static str);

impl InvalidEvent {
    const NO_DATA: Self = Self("it has no data");
}

impl fmt::Display for InvalidEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not an event for a log: {}", self.0)
    }
}

impl Error for InvalidEvent {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Decoder;

    #[test]
    fn only_one_whole_event_without_an_id_is_taken_from_outside() {
        #[rustfmt::skip]
        let table: &[(&str, Result<&str, &str>)] = &[
            ("data: x\n\n",             Ok("data: x\nid: 1\n\n")),
            (": c\nevent: e\ndata\n\n", Ok(": c\nevent: e\ndata\nid: 1\n\n")),
            ("idle: 1\ndata: x\n\n",    Ok("idle: 1\ndata: x\nid: 1\n\n")),
            ("data: x\n",               Err("it does not end")),
            ("data: x",                 Err("it does not end")),
            ("",                        Err("it does not end")),
            ("\n\n",                    Err("there are two events")),
            ("data: x\n\ndata: y\n\n",  Err("there are two events")),
            ("data: x\n\n\n",           Err("there are two events")),
            ("retry: 1\ndata: x\n\n",  Ok("retry: 1\ndata: x\nid: 1\n\n")),
            ("retry: -1\ndata: x\n\n", Ok("retry: -1\ndata: x\nid: 1\n\n")),
            ("retry:0\ndata: x\n\n",   Err("it has a `retry` that harms clients")),
            ("data: x\nretry: 2147483648\n\n", Err("it has a `retry` that harms clients")),
            ("data: x\r\rdata: y\n\n",  Err("it has a CR")),
            ("data: x\nid: 2\n\n",      Err("it has an id")),
            ("data: x\nid\n\n",         Err("it has an id")),
            (": c\n\n",                 Err("it has no data")),
            ("database: x\n\n",         Err("it has no data")),
        ];

        let (topic, id) = (Topic::new("t").unwrap(), EventId::new("1").unwrap());
        let binary = Logged::from_encoded(topic.clone(), &id, b"data: \xff\n\n");
        assert_eq!(binary.unwrap_err().0, "it is not UTF-8");
        for &(event, expected) in table {
            let logged = Logged::from_encoded(topic.clone(), &id, event.as_bytes());
            match (&logged, expected) {
                (Ok(logged), Ok(bytes)) => assert_eq!(logged.bytes(), bytes),
                (Err(error), Err(why)) => assert_eq!(error.0, why, "{event:?}"),
                _ => panic!("{event:?} is {logged:?}"),
            }
        }
    }

    #[test]
    fn the_name_of_an_event_from_outside_is_the_one_that_clients_read() {
        let (topic, id) = (Topic::from_static("t"), EventId::from_static("1"));
        for event in [
            "event: e\ndata\n\n",
            "event:e\nevent:  f\ndata\n\n",
            "event: e\nevent\ndata\n\n",
            "event: e\nevent: \ndata\n\n",
            "events: e\ndata: event: e\n\n",
        ] {
            let logged = Logged::from_encoded(topic.clone(), &id, event.as_bytes()).unwrap();
            let read = Decoder::new().decode(logged.bytes()).pop().unwrap().event;
            assert_eq!(logged.name().unwrap_or("message"), read, "{event:?}");
        }
    }

    #[test]
    fn the_logs_id_replaces_the_events_own() {
        let event = Event::new().id(EventId::from_static("own")).data("x");
        let id = EventId::new("7-1").unwrap();
        let logged = Logged::new(Topic::new("t").unwrap(), &id, event).unwrap();
        assert_eq!(logged.bytes(), "data: x\nid: 7-1\n\n");
        assert_eq!((logged.id(), logged.name()), ("7-1", None));
    }
}
