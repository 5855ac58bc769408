//! Settings of a limit.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::request::Parts;

use super::Limit;
use crate::InvalidSetting;
use crate::engine::Farewell;
use crate::error::check_retry;
use crate::state::{AtCap, LimitInner, LimitKey, LimitSettings, PerKey, Permits};

/// Settings of a [`Limit`].
#[derive(Debug)]
#[must_use]
pub struct LimitBuilder {
    settings: LimitSettings,
    replaces: bool,
    permits: Option<Arc<Permits>>,
}

impl LimitBuilder {
    /// Sets how many streams may be open in all; by default any number. Zero refuses all streams.
    pub fn max(mut self, max: usize) -> Self {
        self.settings.max = max;
        self
    }

    /// Sets how many streams of each key may be open; by default any number. Zero refuses all
    /// streams that have a key.
    ///
    /// `key` makes a [`LimitKey`] of the request: a user, a session, an address. A request without
    /// a key (`None`) counts against the limit in all only. The function is called for every
    /// request, before the handler; requests for which it panics count as one key. A key is
    /// forgotten when its last stream ends.
    ///
    /// A client that can choose its key can choose many: take what has been checked, such as the
    /// user of a session, or the address.
    pub fn per_key<F, K>(mut self, max: usize, key: F) -> Self
    where
        F: Fn(&Parts) -> K + Send + Sync + 'static,
        K: Into<LimitKey>,
    {
        self.settings.per_key = Some(PerKey::new(max, move |request| key(request).into()));
        self
    }

    /// Sets which key a request has and how many streams of the key may be open, where that is not
    /// the same for all keys: plans of customers differ. By default any number may be open.
    ///
    /// It is as [`per_key`](Self::per_key), whose place it takes, with a cap of each request's own.
    /// If two requests give different caps for one key, the one that asks is judged by its own: a
    /// customer whose plan gets smaller keeps the streams that are open, and gets no new one until
    /// fewer than the new cap are left. With [`replace_oldest`](Self::replace_oldest) the new
    /// stream ends as many of the oldest as there are too many. Requests for which the function
    /// panics count as one key with a cap of one.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_sse::Limit;
    ///
    /// #[derive(Clone)]
    /// struct Customer {
    ///     id: u64,
    ///     streams: usize,
    /// }
    ///
    /// // The customer is put into the request by what checks its key.
    /// let limit = Limit::builder().per_key_with(|request| {
    ///     let customer = request.extensions.get::<Customer>();
    ///     customer.map_or((None, 0), |customer| (Some(customer.id), customer.streams))
    /// });
    /// ```
    pub fn per_key_with<F, K>(mut self, key_and_max: F) -> Self
    where
        F: Fn(&Parts) -> (K, usize) + Send + Sync + 'static,
        K: Into<LimitKey>,
    {
        let key_and_max = move |request: &Parts| {
            let (key, max) = key_and_max(request);
            (key.into(), max)
        };
        self.settings.per_key = Some(PerKey::with(key_and_max));
        self
    }

    /// Counts streams together with those of `other`; by default alone.
    ///
    /// So routes can have settings of their own on one count, for instance a lower limit.
    pub fn count_with(mut self, other: &Limit) -> Self {
        self.permits = Some(Arc::clone(&other.limit.permits));
        self
    }

    /// Ends the oldest stream of a key at the cap of the key and lets the new one in, instead of
    /// refusing it. At the limit in all a stream is refused.
    ///
    /// This is for clients that open a new stream and forget the old one, such as pages that are
    /// reloaded behind a proxy that keeps the old connection. The old stream gets a
    /// [farewell](Self::farewell) with `{"reason":"replaced"}` and ends as
    /// [`Kicked`](crate::EndReason::Kicked). If its page does not close the `EventSource` then, the
    /// page comes back and replaces another stream: a user with more pages open than the cap allows
    /// sees them take turns.
    ///
    /// The old stream does not count from the moment when the new one is let in. If its client does
    /// not read, its connection may stay open for longer, which no body can change.
    ///
    /// Streams with a content encoding are not replaced. A stream that may be replaced is looked
    /// after in each poll, as one in a registry is.
    pub fn replace_oldest(mut self) -> Self {
        self.replaces = true;
        self
    }

    /// Sets the last event of streams that are [replaced](Self::replace_oldest). By default it is
    /// what the [`Dialect`](crate::Dialect) says, which is [`Farewell::close`] without one, so that
    /// pages that act on it stop.
    pub fn farewell(mut self, farewell: Farewell) -> Self {
        self.settings.farewell = farewell;
        self
    }

    /// Sets how long clients that are refused or replaced are told to wait, each its own time from
    /// this range; by default from 5 to 30 seconds.
    ///
    /// That is longer than the 3 to 5 seconds after which browsers come back by themselves, since
    /// nobody knows when a stream will end. It spans many seconds, since `Retry-After` has whole
    /// ones (rounded up, and at least one): with a range within one second all clients come back
    /// together.
    pub fn retry(mut self, retry: RangeInclusive<Duration>) -> Self {
        self.settings.retry = retry;
        self
    }

    /// Sets the status of a refusal that is not an event; by default 429, Too Many Requests.
    ///
    /// 503, Service Unavailable, says that the server has too many streams and not the client, and
    /// makes load balancers try another server.
    pub fn status(mut self, status: StatusCode) -> Self {
        self.settings.status = status;
        self
    }

    /// Makes the limit.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] if
    ///
    /// - [`replace_oldest`](Self::replace_oldest) is set without [`per_key`](Self::per_key) or
    ///   [`per_key_with`](Self::per_key_with);
    /// - the range of `retry` is empty, or begins with less than a millisecond, with which clients
    ///   would come back without a pause;
    /// - `status` is neither 429 nor 503, which go with `Retry-After`.
    pub fn build(self) -> Result<Limit, InvalidSetting> {
        check_retry(&self.settings.retry)?;
        if self.replaces && self.settings.per_key.is_none() {
            return Err(InvalidSetting::new("replace_oldest", "there is no limit per key"));
        }
        match self.settings.status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {}
            _ => return Err(InvalidSetting::new("status", "it is neither 429 nor 503")),
        }
        Ok(self.build_limit())
    }

    pub(super) fn build_limit(self) -> Limit {
        let Self { mut settings, replaces, permits } = self;
        if let Some(per_key) = settings.per_key.as_mut().filter(|_| replaces) {
            per_key.at_cap = AtCap::ReplaceOldest;
        }
        let permits = permits.unwrap_or_else(|| Arc::new(Permits::new()));
        Limit { limit: Arc::new(LimitInner::new(settings, permits)) }
    }
}

impl Default for LimitBuilder {
    fn default() -> Self {
        let settings = LimitSettings {
            max: usize::MAX,
            per_key: None,
            retry: Duration::from_secs(5)..=Duration::from_secs(30),
            status: StatusCode::TOO_MANY_REQUESTS,
            farewell: Farewell::default(),
        };
        Self { settings, replaces: false, permits: None }
    }
}
