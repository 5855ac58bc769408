//! What a limit, its layers and its streams share.

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use http::StatusCode;
use http::request::Parts;

use super::{AtCap, LimitKey, Permit, Permits};
use crate::engine::spread::{Retry, Spread};
use crate::engine::{Close, CloseReason, Farewell};
use crate::sync::catch_panic;

/// What a limit, its layers and its streams share.
#[derive(Debug)]
pub(crate) struct LimitInner {
    pub(crate) settings: LimitSettings,
    /// Limits may share them.
    pub(crate) permits: Arc<Permits>,
    refused: AtomicU64,
    replaced: AtomicU64,
}

#[derive(Debug)]
pub(crate) struct LimitSettings {
    /// How many streams may be open.
    pub(crate) max: usize,
    pub(crate) per_key: Option<PerKey>,
    /// How long clients are told to wait, each its own time from this range.
    pub(crate) retry: RangeInclusive<Duration>,
    /// For requests that an event cannot answer.
    pub(crate) status: StatusCode,
    /// For streams that are replaced.
    pub(crate) farewell: Farewell,
}

/// The key of a request, and how many streams of it may be open.
#[derive(Clone, Debug, Default)]
pub(crate) struct CappedKey {
    key: LimitKey,
    max: usize,
}

pub(crate) struct PerKey {
    key: Box<KeyOf>,
    pub(crate) at_cap: AtCap,
}

type KeyOf = dyn Fn(&Parts) -> CappedKey + Send + Sync;

impl PerKey {
    /// The same cap for all keys.
    pub(crate) fn new<F>(max: usize, key: F) -> Self
    where
        F: Fn(&Parts) -> LimitKey + Send + Sync + 'static,
    {
        let key = move |request: &Parts| {
            // A panic would take all streams of the connection along.
            let key = catch_panic(|| key(request)).unwrap_or(LimitKey::FAILED);
            CappedKey { key, max }
        };
        Self { key: Box::new(key), at_cap: AtCap::Refuse }
    }

    /// A cap of its own for each request.
    pub(crate) fn with<F>(key_and_max: F) -> Self
    where
        F: Fn(&Parts) -> (LimitKey, usize) + Send + Sync + 'static,
    {
        let key = move |request: &Parts| {
            let (key, max) =
                catch_panic(|| key_and_max(request)).unwrap_or((LimitKey::FAILED, MAX_OF_FAILED));
            CappedKey { key, max }
        };
        Self { key: Box::new(key), at_cap: AtCap::Refuse }
    }
}

/// Which cap such requests would have is not known. One stream at a time does the least harm.
const MAX_OF_FAILED: usize = 1;

impl fmt::Debug for PerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerKey").field("at_cap", &self.at_cap).finish_non_exhaustive()
    }
}

impl LimitInner {
    pub(crate) fn new(settings: LimitSettings, permits: Arc<Permits>) -> Self {
        Self { settings, permits, refused: AtomicU64::new(0), replaced: AtomicU64::new(0) }
    }

    /// The key of a request, and its cap.
    pub(crate) fn key_of(&self, request: &Parts) -> CappedKey {
        self.settings.per_key.as_ref().map(|per_key| (per_key.key)(request)).unwrap_or_default()
    }

    /// Whether streams may be ended for newer ones.
    pub(crate) fn replaces(&self) -> bool {
        self.at_cap() == AtCap::ReplaceOldest
    }

    fn at_cap(&self) -> AtCap {
        self.settings.per_key.as_ref().map_or(AtCap::Refuse, |per_key| per_key.at_cap)
    }

    /// A permit for a stream, if there is room.
    pub(crate) fn acquire(&self, key: &CappedKey) -> Option<Permit> {
        self.acquire_as(key, self.at_cap())
    }

    /// A permit for a stream that cannot be closed: it is not replaced and replaces none.
    pub(crate) fn acquire_for_good(&self, key: &CappedKey) -> Option<Permit> {
        self.acquire_as(key, AtCap::Refuse)
    }

    /// Whether a stream would get a permit now. No permit is taken for the answer, which others
    /// would miss.
    pub(crate) fn has_room(&self, key: &CappedKey) -> bool {
        self.permits.open() < self.settings.max && !self.is_at_cap(key)
    }

    fn is_at_cap(&self, CappedKey { key, max }: &CappedKey) -> bool {
        !key.is_none() && self.permits.open_of(key) >= *max
    }

    /// A permit for a stream that a request may get, before its handler runs.
    ///
    /// None if a stream of its key would be ended for it: that happens when the stream begins,
    /// which may be never.
    ///
    /// # Errors
    ///
    /// If there is no room.
    pub(crate) fn acquire_early(&self, key: &CappedKey) -> Result<Option<Permit>, ()> {
        if self.replaces() && key.max > 0 && self.is_at_cap(key) {
            return Ok(None);
        }
        self.acquire(key).map(Some).ok_or(())
    }

    fn acquire_as(&self, CappedKey { key, max }: &CappedKey, at_cap: AtCap) -> Option<Permit> {
        match key.is_none() {
            true => self.permits.acquire(self.settings.max),
            false => self.permits.acquire_for(key, self.settings.max, *max, at_cap),
        }
    }

    /// How many requests were refused.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Counts a refused request, and gives how long its client has to wait.
    pub(crate) fn refuse(&self) -> Duration {
        Spread::nth_return(self.refused.fetch_add(1, Relaxed)).within(&self.settings.retry)
    }

    /// The order for a stream that is replaced.
    pub(crate) fn replace(&self, now: Instant, grace: Duration) -> Close<'_> {
        let n = self.replaced.fetch_add(1, Relaxed);
        Close {
            reason: CloseReason::Replaced,
            farewell: Cow::Borrowed(&self.settings.farewell),
            retry: Some(Retry::nth(n, &self.settings.retry)),
            at: now,
            cut_at: Some(now + grace),
        }
    }
}
