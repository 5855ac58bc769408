//! Limits how many streams are open.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::request::Parts;
use tower_layer::Layer;

use super::layer_setting::LayerSetting;
use crate::InvalidSetting;
use crate::engine::Farewell;
use crate::plan::{Plan, Setting};
use crate::service::SseService;
use crate::state::{AtCap, Limit, LimitCounts, LimitKey, PerKey};

/// Layer that limits how many streams are open, in all and by user, session or address.
///
/// A stream counts from when its response begins until its body has given all that it had, or is
/// dropped. Its slot is free before the server gets the farewell to send, and before hooks,
/// metrics or the report of a drain tell of the end. Limits of concurrent requests, such as tower's,
/// do not hold streams: they count no further than the response's head.
///
/// Clones share one count, also when a setting of theirs is changed. So one cap holds for several
/// routes, and routes may have caps of different height on one count.
///
/// # Who comes beyond the cap
///
/// They are refused, and told how long to wait:
///
/// - Who asks for `text/event-stream` in `Accept` gets 200 with one event, and the end: an
///   `EventSource` never comes back after another status. The event is named `limit`, its data is
///   `{"reason":"limit"}`, and it has a `retry` and, as `id`, the client's own `Last-Event-ID`.
/// - Others get [429](Self::status) with `Retry-After`.
///
/// The handler has been called by then, since only its response tells that it is a stream. What it
/// returned is dropped without being polled.
///
/// Refusing is the default since the opposite does not end: clients whose stream was ended for
/// another's come back, and end the next one. Where a client is known to open a new stream
/// instead of an old one, see [`replace_oldest`](Self::replace_oldest).
///
/// # What counts
///
/// Event streams, also those that are encoded and so pass these layers untouched. `HEAD`, errors,
/// other content types and refused streams take nothing, and who is refused by a draining
/// [`Shutdown`](crate::Shutdown) neither. A client that vanished without a word counts until that
/// is noticed, as in a [`Registry`](crate::Registry).
///
/// A stream that passes clones of one layer more than once counts once. Only a middleware between
/// them that drops the extensions of requests and of responses would have it count twice.
///
/// # Examples
///
/// At most 10,000 streams, of them 5 a user:
///
/// ```
/// use axum::{Router, routing::get};
/// use tower_sse::{LimitLayer, SseLayer};
///
/// let limit = LimitLayer::new(10_000).per_key(5, |request| {
///     request.headers.get("x-user").and_then(|user| user.to_str().ok()).map(str::to_owned)
/// });
/// let app: Router = Router::new()
///     .route("/events", get(events))
///     .layer(SseLayer::new().limit(limit.clone()));
/// println!("{} streams of {} users", limit.open(), limit.keys());
/// # async fn events() {}
/// ```
///
/// By address, as axum knows it. Behind a proxy this is the proxy's:
///
/// ```
/// use std::net::SocketAddr;
/// use axum::extract::ConnectInfo;
/// use tower_sse::LimitLayer;
///
/// let layer = LimitLayer::new(10_000).per_key(20, |request| {
///     let address = request.extensions.get::<ConnectInfo<SocketAddr>>();
///     address.map(|ConnectInfo(address)| address.ip())
/// });
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct LimitLayer(LayerSetting<Limit>);

impl LimitLayer {
    /// At most `max` streams, with a count of its own. Zero refuses all; [`usize::MAX`] is no cap.
    pub fn new(max: usize) -> Self {
        Self(LayerSetting::on(Limit {
            count: Arc::new(LimitCounts::new()),
            most: max,
            per_key: None,
            retry: RETRY,
            status: StatusCode::TOO_MANY_REQUESTS,
            farewell: Farewell::close(),
        }))
    }

    /// Limits nothing, whatever a layer further out asked for.
    pub fn off() -> Self {
        Self(LayerSetting::off())
    }

    /// Also at most `max` streams of each key; without this there is a cap in all only. Zero
    /// refuses all that have a key.
    ///
    /// `key` makes a [`LimitKey`] of the request: a user, a session, an address. Without one
    /// (`None`) only the cap in all holds. It is asked for every request, before the handler. A
    /// key is forgotten when its last stream ends.
    ///
    /// A client that can choose its key can choose many: take what has been checked, such as the
    /// user of a session, or the address.
    pub fn per_key<F, K>(self, max: usize, key: F) -> Self
    where
        F: Fn(&Parts) -> K + Send + Sync + 'static,
        K: Into<LimitKey>,
    {
        let key = Arc::new(move |request: &Parts| key(request).into());
        Self(self.0.change(|limit| {
            let at_cap = limit.per_key.as_ref().map_or(AtCap::Refuse, |per_key| per_key.at_cap);
            limit.per_key = Some(PerKey { most: max, key, at_cap });
        }))
    }

    /// At the cap of a key, ends the key's oldest stream and lets the new one in, instead of
    /// refusing it. At the cap in all it refuses.
    ///
    /// For clients that open a new stream and forget the old one, such as pages that are loaded
    /// again behind a proxy that keeps the old connection. The old stream gets
    /// [a farewell](Self::farewell), which says `{"reason":"replaced"}`, and ends as
    /// [`Kicked`](crate::EndReason::Kicked). If its page does not close the `EventSource` then, it
    /// comes back and replaces another: a user with more pages open than the cap allows sees them
    /// take turns.
    ///
    /// The old stream counts no more from the moment when the new one is let in. If its client does
    /// not read, its connection may stay open for longer, which no body can change.
    ///
    /// Streams that were let in while this was not set, or that are encoded, are not replaced. A
    /// stream that can be is looked after in each poll, as one on a registry is.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] if there is no cap [per key](Self::per_key): whose oldest would it be?
    pub fn replace_oldest(self) -> Result<Self, InvalidSetting> {
        if let Setting::On(Limit { per_key: None, .. }) = self.0.setting() {
            return Err(InvalidSetting::new("replace_oldest", "there is no cap per key"));
        }
        Ok(Self(self.0.change(|limit| {
            if let Some(per_key) = &mut limit.per_key {
                per_key.at_cap = AtCap::ReplaceOldest;
            }
        })))
    }

    /// Sets what is said to streams that are [replaced](Self::replace_oldest); by default
    /// [`Farewell::close`], so that pages stop that heed it.
    pub fn farewell(self, farewell: Farewell) -> Self {
        Self(self.0.change(|limit| limit.farewell = farewell))
    }

    /// Sets how long those are told to wait who are refused or replaced, each its own time from
    /// this range; by default from 5 to 30 seconds.
    ///
    /// That is longer than the 3 to 5 seconds after which browsers come back by themselves, since
    /// nobody knows when a stream will end. And it is spread over many seconds, since
    /// `Retry-After` tells whole ones (rounded up, and at least one): from a range within one
    /// second all come back together.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] if the range is empty or begins with less than a millisecond, with which
    /// clients would come back without a pause.
    pub fn retry(self, retry: RangeInclusive<Duration>) -> Result<Self, InvalidSetting> {
        if retry.is_empty() {
            return Err(InvalidSetting::new("retry", "the range is empty"));
        }
        if *retry.start() < Duration::from_millis(1) {
            let why = "less than a millisecond brings clients back without a pause";
            return Err(InvalidSetting::new("retry", why));
        }
        Ok(Self(self.0.change(|limit| limit.retry = retry)))
    }

    /// Sets what is answered to those who did not ask for an event stream; by default 429, Too
    /// Many Requests.
    ///
    /// 503, Service Unavailable, says that it is the server who has too many streams, and has
    /// load balancers try another.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] for any other status: these two go with `Retry-After`.
    pub fn status(self, status: StatusCode) -> Result<Self, InvalidSetting> {
        match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                Ok(Self(self.0.change(|limit| limit.status = status)))
            }
            _ => Err(InvalidSetting::new("status", "it is neither 429 nor 503")),
        }
    }

    /// How many streams count now, of all clones of this layer.
    #[must_use]
    pub fn open(&self) -> usize {
        self.count().map_or(0, |count| count.slots.open())
    }

    /// How many keys have streams now.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.count().map_or(0, |count| count.slots.keys())
    }

    /// How many streams were refused so far.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.count().map_or(0, |count| count.refused())
    }

    fn count(&self) -> Option<Arc<LimitCounts>> {
        match self.0.setting() {
            Setting::On(limit) => Some(limit.count),
            Setting::Unset | Setting::Off => None,
        }
    }

    pub(super) fn setting(&self) -> Setting<Arc<Limit>> {
        shared(self.0.setting())
    }
}

impl<S> Layer<S> for LimitLayer {
    type Service = SseService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        self.0.layer(inner, |limit| Plan { limit: shared(limit), ..Plan::default() })
    }
}

/// Plans are copied for streams; what is asked here is so much that it is held once.
fn shared(limit: Setting<Limit>) -> Setting<Arc<Limit>> {
    match limit {
        Setting::On(limit) => Setting::On(Arc::new(limit)),
        Setting::Off => Setting::Off,
        Setting::Unset => Setting::Unset,
    }
}

/// See [`LimitLayer::retry`].
const RETRY: RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_secs(30);
