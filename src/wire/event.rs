//! Events, and how they are written.

use std::borrow::Cow;
use std::iter;
use std::time::Duration;

use bytes::Bytes;
use memchr::memchr2;

#[cfg(feature = "hub")]
use super::end_with_id;
use super::{EventId, EventName, LineEnd};

/// An event to be written into a stream.
///
/// The fields are written in one order, whatever the order of the calls: comments, `event`, `id`,
/// `retry`, and the data last, because some clients keep the id of an event that was cut short.
///
/// # Events without data
///
/// Clients [do not dispatch][dispatch] an event that has no data, and several of them fail on a
/// block with only an `id` or `retry`. Of such an event only the comments and the `retry` line are
/// written, without a blank line after them, so that clients read them as part of the next event.
/// Its name and id are not written. `data("")` is data: it dispatches an event that is empty.
///
/// # Examples
///
/// ```
/// use tower_sse::{Event, EventId, EventName};
///
/// // Checked when the program is built: a literal needs no `?`.
/// const ORDER: EventName = EventName::from_static("order");
///
/// // Text of the program's input is checked when it becomes an id or a name.
/// let id = EventId::new(format!("orders/{}", 42))?;
///
/// let event = Event::new().event(ORDER).id(id).data("one\ntwo");
/// assert_eq!(event.encode(), "event: order\nid: orders/42\ndata: one\ndata: two\n\n");
///
/// let keepalive = Event::new().comment("");
/// assert_eq!(keepalive.encode(), ":\n");
/// # Ok::<(), tower_sse::InvalidText>(())
/// ```
///
/// [dispatch]: https://html.spec.whatwg.org/multipage/server-sent-events.html#dispatchMessage
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Event {
    comment: Option<String>,
    /// Never a name of the default type.
    name: Option<EventName>,
    pub(super) id: Option<EventId>,
    /// In milliseconds, from 1 to [`MAX_RETRY`].
    pub(super) retry: Option<u32>,
    data: Option<Cow<'static, str>>,
}

impl Event {
    /// An empty event.
    pub fn new() -> Self {
        Self::default()
    }

    /// An event with `value` as its data, in JSON. Give it a name and an id after that.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_sse::{Event, EventName};
    ///
    /// #[derive(serde::Serialize)]
    /// struct Paid {
    ///     cents: u64,
    /// }
    ///
    /// let event = Event::json(&Paid { cents: 1250 })?.event(EventName::from_static("paid"));
    /// assert_eq!(event.encode(), "event: paid\ndata: {\"cents\":1250}\n\n");
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The error of [`serde_json::to_string`], if `value` cannot be serialised.
    #[cfg(feature = "json")]
    #[cfg_attr(docsrs, doc(cfg(feature = "json")))]
    pub fn json<T: serde::Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        serde_json::to_string(value).map(|json| Self::new().data(json))
    }

    /// An event with a fragment of HTML as its data, which a page of htmx swaps in.
    ///
    /// It is the event that [`data`](Self::data) makes. With a name it is swapped in by htmx 2
    /// where the page has `sse-swap` with that name. htmx 4 swaps events without a name, and makes
    /// others events of the DOM.
    ///
    /// # Escaping
    ///
    /// A page trusts what it swaps in: a `<script>` in it runs. So what users wrote must be escaped
    /// before it gets into the fragment. The templates of Askama and of Maud escape each value
    /// unless they are told not to: `{{ text }}` in a file `order.html` of Askama, `td { (text) }`
    /// in the
    /// `html!` of Maud. `format!` escapes nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_sse::{Event, EventName};
    ///
    /// const ORDER: EventName = EventName::from_static("order");
    ///
    /// let fragment = "<tr id=\"order-42\">\n  <td>paid</td>\n</tr>";
    /// let event = Event::html(fragment).event(ORDER);
    /// assert_eq!(
    ///     event.encode(),
    ///     "event: order\ndata: <tr id=\"order-42\">\ndata:   <td>paid</td>\ndata: </tr>\n\n"
    /// );
    /// ```
    pub fn html(fragment: impl Into<String>) -> Self {
        Self::new().data(fragment)
    }

    /// Sets the data.
    ///
    /// Each line of `data` becomes a line of the stream. CRLF and CR count as line ends too;
    /// clients read all of them as LF.
    pub fn data(mut self, data: impl Into<String>) -> Self {
        self.data = Some(Cow::Owned(data.into()));
        self
    }

    /// Sets data that is a literal, without a copy.
    pub(crate) fn static_data(mut self, data: &'static str) -> Self {
        self.data = Some(Cow::Borrowed(data));
        self
    }

    /// Sets the name, by which pages listen for the event.
    ///
    /// The name `message` is the type of events without a name and is not written: htmx 4 does not
    /// swap events that have it as their name.
    pub fn event(mut self, name: impl Into<EventName>) -> Self {
        self.name = Some(name.into()).filter(|name| !name.is_default());
        self
    }

    /// Sets a name that is a literal.
    pub(crate) fn named(self, name: &'static str) -> Self {
        self.event(EventName::from_static(name))
    }

    /// Sets the id, which clients send back in `Last-Event-ID` when they reconnect.
    pub fn id(mut self, id: impl Into<EventId>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Sets how long clients wait before they reconnect.
    ///
    /// It is written in whole milliseconds, rounded up, from 1 to 2147483647 (24 days). With 0
    /// clients reconnect without a pause, and so does Node with more than its timers can hold.
    pub fn retry(mut self, delay: Duration) -> Self {
        self.retry = Some(millis(delay));
        self
    }

    /// Adds comment lines before the event, one for each line of `text`. Clients skip them.
    pub fn comment(mut self, text: impl AsRef<str>) -> Self {
        let text = text.as_ref();
        self.comment = Some(match self.comment {
            Some(before) => before + "\n" + text,
            None => text.to_owned(),
        });
        self
    }

    /// The event without its id.
    pub(crate) fn without_id(self) -> Self {
        Self { id: None, ..self }
    }

    /// Whether clients dispatch the event.
    pub(crate) fn has_data(&self) -> bool {
        self.data.is_some()
    }

    /// The data as it was given.
    pub(crate) fn data_text(&self) -> Option<&str> {
        self.data.as_deref()
    }

    /// The id that is written: none if there is no data.
    pub(crate) fn event_id(&self) -> Option<&EventId> {
        self.id.as_ref().filter(|_| self.has_data())
    }
}

/// How an event is written.
impl Event {
    /// The bytes of the event, with lines that end in LF.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        self.encode_with(LineEnd::Lf)
    }

    /// The bytes of the event, with lines that end in `end`.
    pub(crate) fn encode_with(&self, end: LineEnd) -> Bytes {
        let mut len = 0;
        self.write(end, self.event_id(), |part| len += part.len());
        // `Bytes` allocates once more for a vector with room to spare.
        let mut bytes = Vec::with_capacity(len);
        self.write(end, self.event_id(), |part| bytes.extend_from_slice(part.as_bytes()));
        debug_assert_eq!(bytes.len(), len);
        Bytes::from(bytes)
    }

    /// The bytes of the event without its id, as brokers keep it. None if there is no data.
    #[cfg(any(feature = "nats", feature = "postgres", feature = "redis"))]
    pub(crate) fn encode_without_id(&self) -> Option<Vec<u8>> {
        let mut bytes = self.encode_unended("\n".len())?;
        bytes.push(b'\n');
        Some(bytes)
    }

    /// The bytes of the event without its id and without the blank line that ends it, in a vector
    /// with `room` for more. None if there is no data.
    #[cfg(feature = "hub")]
    fn encode_unended(&self, room: usize) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        self.encode_unended_into(room, &mut bytes).then_some(bytes)
    }

    /// The bytes of the event with this id as its last line, in place of its own. None if there is
    /// no data.
    #[cfg(feature = "hub")]
    pub(crate) fn encode_with_last_id(&self, id: &str) -> Option<Bytes> {
        let mut bytes = self.encode_unended("id: \n\n".len() + id.len())?;
        end_with_id(&mut bytes, &[id]);
        Some(bytes.into())
    }

    /// Appends to `bytes` what [`encode_unended`](Self::encode_unended) returns. False if there is
    /// no data: then nothing is written.
    #[cfg(feature = "hub")]
    #[must_use]
    pub(crate) fn encode_unended_into(&self, room: usize, bytes: &mut Vec<u8>) -> bool {
        if let Some(data) = &self.data {
            // Enough for data of one line, as most events have. For more the vector grows.
            bytes.reserve("data: \n\n".len() + data.len() + room);
            let mut out = |part: &str| bytes.extend_from_slice(part.as_bytes());
            self.write_head(LineEnd::Lf, None, &mut out);
            self.write_data(LineEnd::Lf, &mut out);
        }
        self.has_data()
    }

    /// The length of the encoded event without its id.
    #[cfg(feature = "resume")]
    pub(crate) fn len_without_id(&self) -> usize {
        let mut len = 0;
        self.write(LineEnd::Lf, None, |part| len += part.len());
        len
    }

    pub(super) fn write(&self, end: LineEnd, id: Option<&EventId>, mut out: impl FnMut(&str)) {
        self.write_head(end, id, &mut out);
        self.write_data(end, &mut out);
        self.write_blank(end, &mut out);
    }

    /// Writes the lines before the data: comments, name, id and `retry`.
    pub(super) fn write_head(&self, end: LineEnd, id: Option<&EventId>, mut out: impl FnMut(&str)) {
        let end = end.as_str();
        let mut line = |name: &str, value: &str| {
            out(name);
            out(value);
            out(end);
        };

        for text in self.comment.iter().flat_map(|comment| lines(comment)) {
            line(if text.is_empty() { ":" } else { ": " }, text);
        }
        if let Some(name) = self.name.as_ref().filter(|_| self.has_data()) {
            line("event: ", name.as_str());
        }
        if let Some(id) = id {
            line("id: ", id.as_str());
        }
        if let Some(millis) = self.retry {
            line("retry: ", itoa::Buffer::new().format(millis));
        }
    }

    /// Writes the data.
    pub(super) fn write_data(&self, end: LineEnd, mut out: impl FnMut(&str)) {
        for text in self.data.iter().flat_map(|data| lines(data)) {
            // With a space in any case: clients would take one that the text begins with for it.
            out("data: ");
            out(text);
            out(end.as_str());
        }
    }

    /// Writes the blank line that ends the event, if there is data.
    pub(super) fn write_blank(&self, end: LineEnd, mut out: impl FnMut(&str)) {
        if self.has_data() {
            out(end.as_str());
        }
    }
}

/// The lines of `text`, at least one, without the CRLF, CR or LF between them.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    iter::from_fn(move || {
        let text = rest.take()?;
        let Some(at) = memchr2(b'\r', b'\n', text.as_bytes()) else {
            return Some(text);
        };
        let (line, tail) = text.split_at(at);
        rest = Some(tail.strip_prefix("\r\n").unwrap_or(&tail[1..]));
        Some(line)
    })
}

/// Whole milliseconds, rounded up, in the range that all clients can hold.
pub(super) fn millis(delay: Duration) -> u32 {
    let of_the_last_second = delay.subsec_nanos().div_ceil(1_000_000);
    let millis = delay.as_secs().saturating_mul(1_000).saturating_add(of_the_last_second.into());
    u32::try_from(millis).map_or(MAX_RETRY, |millis| millis.clamp(1, MAX_RETRY))
}

/// The most that the timers of Node and `setTimeout` of browsers hold: 31 bits of milliseconds.
const MAX_RETRY: u32 = i32::MAX.unsigned_abs();

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::Decoder;

    #[test]
    fn every_line_ends_as_asked() {
        let event = Event::new().comment("a\n\nb").data("x\r\ny\rz\n");
        let lines = ": a\n:\n: b\ndata: x\ndata: y\ndata: z\ndata: \n\n";
        for end in LineEnd::ALL {
            let expected = lines.replace('\n', end.as_str());
            assert_eq!(event.encode_with(end), expected, "{end:?}");
        }
    }

    #[test]
    fn without_data_there_is_no_id() {
        let event = Event::new().id(EventId::from_static("1"));
        assert_eq!((event.has_data(), event.event_id()), (false, None));
        let event = event.data("").retry(Duration::ZERO);
        assert!(event.has_data() && event.event_id().is_some() && event.retry == Some(1));
    }

    proptest! {
        #[test]
        fn decodes_to_what_was_given(
            data in "([a:\0 ]|\r\n|\r|\n|data: |[^a]){0,9}|[a\n]{200,300}",
            comment in "([a: ]|\r\n|\r|\n|data: |[^a]){0,5}",
            name in "([a: ]|[^\0\r\n]){0,3}",
            id in "([a: ]|[^\0\r\n]){0,3}",
        ) {
            let event = Event::new().comment(comment).data(data.as_str());
            let event = event.event(EventName::new(&name)?).id(EventId::new(&id)?);
            let data = data.replace("\r\n", "\n").replace('\r', "\n");
            let name = if name.is_empty() { "message" } else { &name };

            for end in LineEnd::ALL {
                let events = Decoder::new().decode(&event.encode_with(end));
                prop_assert_eq!(events.len(), 1);
                prop_assert_eq!(&events[0].event, name);
                prop_assert_eq!(&events[0].data, &data);
                prop_assert_eq!(&events[0].last_event_id, &id);
            }
        }
    }
}
