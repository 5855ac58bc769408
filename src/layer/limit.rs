//! [`LimitLayer`]: a limit of how many streams are open.

use bytes::Bytes;
use http::Response;
use http::request::Parts;

use super::{LayerSetting, layer_of_setting};
use crate::dialect::Notice;
use crate::limit::Limit;
use crate::plan::{LimitSetting, Refusals, RequestFn};

/// Layer that refuses streams above a [`Limit`].
///
/// A stream counts from when its response begins until its body is read to its end or dropped. Its
/// permit is released before the server gets the farewell to send, and before hooks, metrics or the
/// report of a drain tell of the end. Limits of concurrent requests, such as tower's, do not hold
/// streams: they count no further than the response's head.
///
/// # Above the limit
///
/// A request is refused, and its client is told how long to wait:
///
/// - A `GET` with `text/event-stream` in `Accept` gets 200 with one event, and the end: an
///   `EventSource` never comes back after another status. The event is named `limit`, its data is
///   `{"reason":"limit"}`, and it has a `retry` and, as `id`, the client's own `Last-Event-ID`.
/// - Other requests get [429](crate::LimitBuilder::status) with `Retry-After`.
/// - In a [`Dialect`](crate::Dialect) of an API every request gets 429 with `Retry-After` and an
///   error of that API.
///
/// The handler has been called by then, since only its response tells that it is a stream. Its body
/// is dropped without being polled, and of its headers only those remain that let a page read the
/// response, such as CORS headers. Where a handler costs something, such as a call of a language
/// model, [`before_handler`](Self::before_handler) decides before it runs.
///
/// Refusing is the default, since replacing does not end: clients whose stream was ended for
/// another one come back and end the next. For clients that are known to open a new stream instead
/// of an old one, see [`LimitBuilder::replace_oldest`](crate::LimitBuilder::replace_oldest).
///
/// # What counts
///
/// Event streams count, also those with a content encoding, which otherwise pass unread. `HEAD`,
/// errors, other content types and refused streams do not. A client that vanished without a word
/// counts until that is noticed, as in a [`Registry`](crate::Registry).
///
/// Of layers with different limits the one nearest to the handler holds. A stream that passes
/// layers with one limit more than once counts once. See [`Limit`] for examples.
#[derive(Clone, Debug)]
#[must_use]
pub struct LimitLayer(LayerSetting<LimitSetting>);

layer_of_setting!(LimitLayer, limit: LimitSetting);

impl LimitLayer {
    /// Counts streams against `limit`, and refuses those above it.
    pub fn new(limit: Limit) -> Self {
        Self(LayerSetting::on(LimitSetting {
            limit: limit.into_inner(),
            before_handler: None,
            refusal: None,
        }))
    }

    /// Counts a stream before the handler runs, for the requests that `predicate` names. By default
    /// it is counted when the response shows that it is a stream.
    ///
    /// A request that is refused, by the limit or by the drain of a
    /// [`ShutdownLayer`](crate::ShutdownLayer), never runs the handler. If the response turns out
    /// to be no stream, or fails, or if the client leaves before it, it does not count any more.
    ///
    /// - The refusal is in the [`Dialect`](crate::Dialect) of this layer or of one further out. One
    ///   that is nearer to the handler is not known yet.
    /// - Only a layer further out can add headers to the refusal of a handler that did not run. A
    ///   layer for CORS has to be around this one.
    /// - A request that is named is refused above the limit whatever its response would be. Name
    ///   those that ask for a stream.
    /// - The stream counts against the limit of this layer. If a layer nearer to the handler has
    ///   another limit or none, that one holds for the stream, and it does not count here any more
    ///   when the request gets there.
    /// - Where streams are [replaced](crate::LimitBuilder::replace_oldest), the oldest one ends
    ///   when the new one begins, as without this setting.
    /// - A client that comes back to a stream of a `ResumeLayer` does not count, since its stream
    ///   does already. Do not name requests that do so, or they count as well for a moment.
    ///
    /// The function is called for every request. If it panics, the request is not named.
    ///
    /// # Examples
    ///
    /// ```
    /// use http::Method;
    /// use tower_sse::{Limit, LimitLayer};
    ///
    /// let layer = LimitLayer::new(Limit::new(200))
    ///     .before_handler(|request| request.method == Method::POST);
    /// ```
    pub fn before_handler<F>(self, predicate: F) -> Self
    where
        F: Fn(&Parts) -> bool + Send + Sync + 'static,
    {
        let predicate = RequestFn::new(predicate);
        Self(self.0.change(|settings| settings.before_handler = Some(predicate)))
    }

    /// Makes the response to a request that is refused, where the function returns one. It wins
    /// over that of the [`Dialect`](crate::Dialect).
    ///
    /// The function gets what is to be said, and the request as it came to this layer. A
    /// `Retry-After` is added where the status is no success and it has none, a `Cache-Control` and
    /// a `Content-Length`, and the headers of the handler's response that let a page read it.
    ///
    /// It is not asked for calls of gRPC, whose status says it, nor where the head is sent already.
    /// If it panics, it counts as `None`. With it the head of each request is copied, so that it is
    /// there when the request is refused.
    ///
    /// # Examples
    ///
    /// ```
    /// use http::HeaderValue;
    /// use tower_sse::{Limit, LimitLayer};
    ///
    /// let layer = LimitLayer::new(Limit::new(200)).refusal(|notice, request| {
    ///     let is_of_page = request.uri.path().starts_with("/app/");
    ///     let page = "<p>There are too many viewers. Please try again soon.";
    ///     is_of_page.then(|| notice.response(HeaderValue::from_static("text/html"), page))
    /// });
    /// ```
    pub fn refusal<F>(self, refusal: F) -> Self
    where
        F: Fn(&Notice, &Parts) -> Option<Response<Bytes>> + Send + Sync + 'static,
    {
        let refusal = Refusals::new(refusal);
        Self(self.0.change(|settings| settings.refusal = Some(refusal)))
    }

    /// Limits nothing, whatever a layer further out asks for.
    pub fn off() -> Self {
        Self(LayerSetting::off())
    }
}

impl From<Limit> for LimitLayer {
    fn from(limit: Limit) -> Self {
        Self::new(limit)
    }
}
