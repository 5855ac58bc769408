//! Nobody observes: this is compiled away.

#![expect(clippy::unused_self, reason = "who observes has something")]

use std::time::Instant;

use super::Subject;
use crate::engine::{EndReason, Engine, Settings};

#[derive(Clone, Debug, Default)]
pub(crate) struct Observer(());

#[derive(Debug)]
pub(crate) struct Watch;

impl Observer {
    #[inline]
    pub(crate) fn open(&self, _: Subject<'_>, _: Instant) -> Watch {
        Watch
    }

    #[inline]
    pub(crate) fn passed_by(&self, _: impl FnOnce() -> bool, _: &str) {}
}

impl Watch {
    /// Observes nothing.
    #[inline]
    pub(crate) fn off() -> Self {
        Self
    }

    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        false
    }

    #[inline]
    pub(crate) fn starts(&self, _: impl FnOnce() -> String) {}

    #[inline]
    pub(crate) fn sent(&mut self, _: usize, _: &Engine<impl AsRef<Settings>>, _: fn() -> Instant) {}

    #[inline]
    pub(crate) fn flush(&mut self, _: &Engine<impl AsRef<Settings>>) {}

    #[inline]
    pub(crate) fn ended(
        &mut self,
        _: EndReason,
        _: &Engine<impl AsRef<Settings>>,
        _: fn() -> Instant,
    ) {
    }
}
