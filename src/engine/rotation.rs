//! How old streams become, and how they end then.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::spread::Spread;
use super::{Farewell, MAX_TIMER};

/// When streams are ended for their age, and how.
#[derive(Clone, Debug)]
pub(crate) struct Rotation {
    pub(crate) max_age: Option<Duration>,
    /// The longest time without an event of the stream's own.
    pub(crate) idle: Option<Duration>,
    /// How long clients are to wait, each its own time from this range.
    pub(crate) retry: RangeInclusive<Duration>,
    pub(crate) farewell: Farewell,
}

impl Default for Rotation {
    /// Ends only streams whose credential expires.
    fn default() -> Self {
        let retry = Duration::from_millis(100)..=Duration::from_secs(1);
        Self { max_age: None, idle: None, retry, farewell: Farewell::default() }
    }
}

impl Rotation {
    /// Whether streams without an expiry are ended, too.
    pub(crate) fn is_on(&self) -> bool {
        self.max_age.is_some() || self.idle.is_some()
    }

    /// The age at which the `n`-th stream ends: within the last fifth of the maximum age.
    pub(super) fn age_of(&self, n: u32) -> Option<Duration> {
        let most = self.max_age?.min(MAX_TIMER);
        let fifth = most / 5;
        Some(fifth * 4 + Spread::nth(n.into()).of(fifth))
    }
}
