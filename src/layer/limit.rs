//! [`LimitLayer`]: a limit of how many streams are open.

use std::sync::Arc;

use super::{LayerSetting, layer_of_setting};
use crate::limit::Limit;

use crate::state::LimitInner;

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
///
/// The handler has been called by then, since only its response tells that it is a stream. Its body
/// is dropped without being polled, and of its headers only those remain that let a page read the
/// response, such as CORS headers.
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
pub struct LimitLayer(LayerSetting<Arc<LimitInner>>);

layer_of_setting!(LimitLayer, limit: Arc<LimitInner>);

impl LimitLayer {
    /// Counts streams against `limit`, and refuses those above it.
    pub fn new(limit: Limit) -> Self {
        Self(LayerSetting::on(limit.into_inner()))
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
