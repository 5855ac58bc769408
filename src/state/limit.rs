//! How many streams may be open, and what is said to who comes beyond.

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use http::StatusCode;
use http::request::Parts;

use super::{AtCap, LimitKey, Permit, Permits};
use crate::engine::spread::Spread;
use crate::engine::{Close, CloseReason, Farewell};

/// How many streams may be open, and what is said to who comes beyond.
#[derive(Clone, Debug)]
pub(crate) struct Limit {
    pub(crate) count: Arc<LimitCounts>,
    pub(crate) most: usize,
    pub(crate) per_key: Option<PerKey>,
    /// How long clients are to wait, each its own time from this range.
    pub(crate) retry: RangeInclusive<Duration>,
    /// For those who did not ask for an event stream.
    pub(crate) status: StatusCode,
    /// For those who are replaced.
    pub(crate) farewell: Farewell,
}

/// What the clones of a layer share.
#[derive(Debug)]
pub(crate) struct LimitCounts {
    pub(crate) slots: Arc<Permits>,
    refused: AtomicU64,
    replaced: AtomicU64,
}

pub(crate) type KeyOf = dyn Fn(&Parts) -> LimitKey + Send + Sync;

#[derive(Clone)]
pub(crate) struct PerKey {
    pub(crate) most: usize,
    pub(crate) key: Arc<KeyOf>,
    pub(crate) at_cap: AtCap,
}

impl fmt::Debug for PerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { most, at_cap, .. } = self;
        f.debug_struct("PerKey").field("most", most).field("at_cap", at_cap).finish_non_exhaustive()
    }
}

impl LimitCounts {
    pub(crate) fn new() -> Self {
        let slots = Arc::new(Permits::new());
        Self { slots, refused: AtomicU64::new(0), replaced: AtomicU64::new(0) }
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }
}

impl Limit {
    /// The key of a request.
    pub(crate) fn key_of(&self, request: &Parts) -> LimitKey {
        self.per_key.as_ref().map(|per_key| (per_key.key)(request)).unwrap_or_default()
    }

    /// Streams may be ended for the sake of newer ones.
    pub(crate) fn replaces(&self) -> bool {
        self.per_key.as_ref().is_some_and(|per_key| per_key.at_cap == AtCap::ReplaceOldest)
    }

    /// A slot for a stream, if there is one.
    pub(crate) fn take(&self, key: &LimitKey) -> Option<Permit> {
        let at_cap = self.per_key.as_ref().map_or(AtCap::Refuse, |per_key| per_key.at_cap);
        self.take_or(key, at_cap)
    }

    /// The same for a stream that cannot be told to go: it is not replaced, nor does it replace.
    pub(crate) fn take_to_stay(&self, key: &LimitKey) -> Option<Permit> {
        self.take_or(key, AtCap::Refuse)
    }

    fn take_or(&self, key: &LimitKey, at_cap: AtCap) -> Option<Permit> {
        match &self.per_key {
            Some(per_key) if !key.is_none() => {
                self.count.slots.take_for(key, self.most, per_key.most, at_cap)
            }
            _ => self.count.slots.take(self.most),
        }
    }

    /// How long a client is to wait that is refused.
    pub(crate) fn retry_refused(&self) -> Duration {
        Spread::nth_return(self.count.refused.fetch_add(1, Relaxed)).within(&self.retry)
    }

    /// The order for a stream that is replaced.
    pub(crate) fn replace(&self, now: Instant, grace: Duration) -> Close<'_> {
        Close {
            reason: CloseReason::Replaced,
            farewell: Cow::Borrowed(&self.farewell),
            retry: Some(
                Spread::nth_return(self.count.replaced.fetch_add(1, Relaxed)).within(&self.retry),
            ),
            at: now,
            cut_at: Some(now + grace),
        }
    }
}
