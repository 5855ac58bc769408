//! Dialects of the application's own.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING};

use super::spec::{Opening, Spec};
use super::{Dialect, Notice};
use crate::engine::{Farewell, MAX_TIMER, MIN_TIMER, Signal};
use crate::wire::{CloseReason, Comment, Event};

/// Settings of a [`Dialect`] of the application's own.
///
/// Without settings it is [`Dialect::event_source`].
///
/// # Examples
///
/// ```
/// use http::HeaderValue;
/// use tower_sse::{Dialect, Event, EventName, Farewell, Notice};
///
/// const FAILED: EventName = EventName::from_static("failed");
///
/// let json = |notice: &Notice| format!(r#"{{"code":{}}}"#, notice.status.as_u16());
/// let dialect = Dialect::builder()
///     .farewell(move |notice| Farewell::event(Event::new().event(FAILED).data(json(notice))).bare())
///     .refusal(move |notice| {
///         notice.response(HeaderValue::from_static("application/json"), json(notice))
///     })
///     .build();
/// ```
#[derive(Debug)]
#[must_use]
pub struct DialectBuilder(Spec);

impl DialectBuilder {
    pub(super) fn named(name: &'static str) -> Self {
        Self(Spec { name, ..Spec::EVENT_SOURCE })
    }

    /// Sets how long a stream is silent before its silence is broken; by default 15 seconds, half
    /// of the shortest limit that common proxies have. Less than a millisecond counts as one.
    ///
    /// It holds where a layer keeps streams alive and does not say how often.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.0.interval = interval.clamp(MIN_TIMER, MAX_TIMER);
        self
    }

    /// Breaks silence with this comment; by default with one without text.
    pub fn comment(mut self, text: impl Into<Comment>) -> Self {
        self.0.signal = Signal::Comment(text.into().as_str().to_owned());
        self
    }

    /// Breaks silence with this event, for clients that wait for the next event and do not see
    /// comments. An id that it has is not written.
    ///
    /// Such an event can hide that nothing comes any more, so
    /// [`give_up_after`](Self::give_up_after) should be set, too.
    pub fn event(mut self, event: Event) -> Self {
        self.0.signal = Signal::Event(event);
        self
    }

    /// Begins streams with their own first byte, instead of a comment.
    ///
    /// Some proxies hold the head of a response back until the first byte of its body.
    pub fn no_opening(mut self) -> Self {
        self.0.opening = Opening::Nothing;
        self
    }

    /// Adds a header to the event streams that the server begins by itself: with an [early
    /// head](crate::EarlyHeadLayer), and with a refusal that is a stream. Clients that come back to
    /// an answer that a `ResumeLayer` has kept get it, too, unless the handler has set it.
    ///
    /// A value that was set before for this name is replaced. `Content-Length` and
    /// `Transfer-Encoding` are not added.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        if ![CONTENT_LENGTH, TRANSFER_ENCODING].contains(&name) {
            self.0.headers.push((name, value));
        }
        self
    }

    /// Ends a stream whose own body gives nothing for `limit`, as
    /// [`KeepAliveLayer::give_up_after`](crate::KeepAliveLayer::give_up_after) does. Disabled by
    /// default and by zero.
    pub fn give_up_after(mut self, limit: Duration) -> Self {
        self.0.give_up_after = (!limit.is_zero()).then_some(limit.min(MAX_TIMER));
        self
    }

    /// Sets the last words of a stream that the server ends, also of one whose own body fails: the
    /// client gets them instead of a connection that is cut. For a failure that is to be passed on
    /// they are [`Farewell::none`].
    ///
    /// By default they are [`Farewell::close`], a failure is passed on, and a request that an
    /// `EventSource` may have made is refused in a stream of one event.
    ///
    /// [`Notice::answer`] has the JSON of an answer that came too late. If it is an error of the
    /// same API, it says more than its status does, and can be the data of the event.
    ///
    /// The function is called once for each stream that ends so. If it panics, nothing is sent.
    pub fn farewell<F>(mut self, farewell: F) -> Self
    where
        F: Fn(&Notice) -> Farewell + Send + Sync + 'static,
    {
        self.0.farewell = Some(Arc::new(farewell));
        self
    }

    /// Sets the response to every request whose stream is refused.
    ///
    /// A `Retry-After` and a `Cache-Control` are added where it has none, and a `Content-Length`.
    ///
    /// By default a request that an `EventSource` may have made gets 200 and the
    /// [`farewell`](Self::farewell), since an `EventSource` never comes back after another status.
    /// Others get a status without a body.
    ///
    /// The function is called once for each such request. If it panics, a status without a body is
    /// sent.
    pub fn refusal<F>(mut self, refusal: F) -> Self
    where
        F: Fn(&Notice) -> Response<Bytes> + Send + Sync + 'static,
    {
        self.0.refusal = Some(Arc::new(refusal));
        self
    }

    /// Says `error` at every end but the stream's own: of that one the application says what its
    /// API has for it.
    pub(super) fn error<F>(self, error: F) -> Self
    where
        F: Fn(&Notice) -> Farewell + Send + Sync + 'static,
    {
        self.farewell(move |notice| match notice.reason {
            CloseReason::Finished => Farewell::none(),
            _ => error(notice).bare(),
        })
    }

    /// Makes the dialect.
    #[must_use]
    pub fn build(self) -> Dialect {
        Dialect::of(self.0)
    }
}
