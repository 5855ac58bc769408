//! Events that are to be written.

use std::borrow::Cow;
use std::time::Duration;

use super::{EventId, EventName};

/// One event, to be written into a stream.
///
/// The fields are written in one order, whatever the order of the calls: comments, `event`, `id`,
/// `retry`, and the data last, since some clients take up the id of an event that was cut short.
///
/// # Events without data
///
/// Clients [do not dispatch][dispatch] an event that has no data, and several of them fail on a
/// block with only an `id` or `retry`. Of such an event only the comments and the `retry` line are
/// written, with no blank line behind, so that they are read as part of the event that follows.
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
    pub(super) comment: Option<String>,
    /// Never one of the default type.
    pub(super) name: Option<EventName>,
    pub(super) id: Option<EventId>,
    /// In milliseconds, from 1 to [`MAX_RETRY`].
    pub(super) retry: Option<u32>,
    pub(super) data: Option<Cow<'static, str>>,
}

impl Event {
    /// An event of which nothing is written yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// An event with `value` as its data, in JSON.
    ///
    /// # Errors
    ///
    /// That of [`serde_json::to_string`]: `value` cannot be serialised.
    #[cfg(feature = "json")]
    #[cfg_attr(docsrs, doc(cfg(feature = "json")))]
    pub fn json<T: serde::Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        serde_json::to_string(value).map(|json| Self::new().data(json))
    }

    /// Sets the data.
    ///
    /// Each line of it becomes a line of the stream. CRLF and CR count as line ends too; clients
    /// read all of them as LF.
    pub fn data(mut self, data: impl Into<String>) -> Self {
        self.data = Some(Cow::Owned(data.into()));
        self
    }

    /// Sets the name, by which pages listen for the event.
    ///
    /// The name `message` is that of events without one and is not written: htmx 4 treats events
    /// that spell it out as custom ones and does not swap them.
    pub fn event(mut self, name: impl Into<EventName>) -> Self {
        self.name = Some(name.into()).filter(|name| !name.is_default());
        self
    }

    /// Sets data of the crate's own.
    pub(crate) fn said(mut self, data: &'static str) -> Self {
        self.data = Some(Cow::Borrowed(data));
        self
    }

    /// Sets one of the crate's own names.
    pub(crate) fn named(self, name: &'static str) -> Self {
        self.event(EventName::from_static(name))
    }

    /// Sets the id, which clients send back in `Last-Event-ID` when they reconnect.
    pub fn id(mut self, id: impl Into<EventId>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Tells clients how long to wait before they reconnect.
    ///
    /// Written in whole milliseconds, rounded up, and from 1 to 2147483647 (24 days) at that: with
    /// 0 clients reconnect without a pause, and Node does so with more than its timers can hold.
    pub fn retry(mut self, delay: Duration) -> Self {
        self.retry = Some(millis(delay));
        self
    }

    /// Adds comment lines in front, one for each line of `text`. Clients skip them.
    pub fn comment(mut self, text: impl AsRef<str>) -> Self {
        let text = text.as_ref();
        self.comment = Some(match self.comment {
            Some(before) => before + "\n" + text,
            None => text.to_owned(),
        });
        self
    }

    /// Whether clients dispatch the event.
    pub(crate) fn has_data(&self) -> bool {
        self.data.is_some()
    }

    /// The id that is written: none if there is no data.
    pub(crate) fn event_id(&self) -> Option<&EventId> {
        self.id.as_ref().filter(|_| self.has_data())
    }
}

/// Whole milliseconds, rounded up, and such as all clients can hold.
pub(super) fn millis(delay: Duration) -> u32 {
    let of_the_last_second = delay.subsec_nanos().div_ceil(1_000_000);
    let millis = delay.as_secs().saturating_mul(1_000).saturating_add(of_the_last_second.into());
    u32::try_from(millis).map_or(MAX_RETRY, |millis| millis.clamp(1, MAX_RETRY))
}

/// What the timers of Node can hold, and `setTimeout` of browsers: 31 bits of milliseconds.
const MAX_RETRY: u32 = i32::MAX.unsigned_abs();
