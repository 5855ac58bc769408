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

pub(crate) type KeyOf = dyn Fn(&Parts) -> LimitKey + Send + Sync;

pub(crate) struct PerKey {
    pub(crate) max: usize,
    pub(crate) key: Box<KeyOf>,
    pub(crate) at_cap: AtCap,
}

impl fmt::Debug for PerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { max, at_cap, .. } = self;
        f.debug_struct("PerKey").field("max", max).field("at_cap", at_cap).finish_non_exhaustive()
    }
}

impl LimitInner {
    pub(crate) fn new(settings: LimitSettings, permits: Arc<Permits>) -> Self {
        Self { settings, permits, refused: AtomicU64::new(0), replaced: AtomicU64::new(0) }
    }

    /// The key of a request.
    pub(crate) fn key_of(&self, request: &Parts) -> LimitKey {
        let Some(per_key) = &self.settings.per_key else {
            return LimitKey::default();
        };
        // A panic would take all streams of the connection along.
        catch_panic(|| (per_key.key)(request)).unwrap_or(LimitKey::FAILED)
    }

    /// Whether streams may be ended for newer ones.
    pub(crate) fn replaces(&self) -> bool {
        self.at_cap() == AtCap::ReplaceOldest
    }

    fn at_cap(&self) -> AtCap {
        self.settings.per_key.as_ref().map_or(AtCap::Refuse, |per_key| per_key.at_cap)
    }

    /// A permit for a stream, if there is room.
    pub(crate) fn acquire(&self, key: &LimitKey) -> Option<Permit> {
        self.acquire_as(key, self.at_cap())
    }

    /// A permit for a stream that cannot be closed: it is not replaced and replaces none.
    pub(crate) fn acquire_for_good(&self, key: &LimitKey) -> Option<Permit> {
        self.acquire_as(key, AtCap::Refuse)
    }

    /// Whether a stream would get a permit now. No permit is taken for the answer, which others would
    /// miss.
    pub(crate) fn has_room(&self, key: &LimitKey) -> bool {
        let LimitSettings { max, per_key, .. } = &self.settings;
        let max_of_key = per_key.as_ref().filter(|_| !key.is_none()).map(|per_key| per_key.max);
        self.permits.open() < *max
            && max_of_key.is_none_or(|max_of_key| self.permits.open_of(key) < max_of_key)
    }

    fn acquire_as(&self, key: &LimitKey, at_cap: AtCap) -> Option<Permit> {
        let LimitSettings { max, per_key, .. } = &self.settings;
        match per_key {
            Some(per_key) if !key.is_none() => {
                self.permits.acquire_for(key, *max, per_key.max, at_cap)
            }
            _ => self.permits.acquire(*max),
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
