//! No metrics: this is compiled away.

use std::time::Duration;

use crate::engine::{EndReason, Engine, Settings};

#[derive(Debug, Default)]
pub(super) struct Meters;

/// There is none.
#[derive(Debug)]
pub(super) enum Meter {}

impl Meters {
    #[expect(clippy::unused_self, reason = "with metrics it keeps them")]
    pub(super) fn open(&self) -> Option<Meter> {
        None
    }
}

impl Meter {
    pub(super) fn first_event(&mut self, _: Duration, _: &Engine<impl AsRef<Settings>>) {
        match *self {}
    }

    pub(super) fn add(&mut self, _: u64, _: &Engine<impl AsRef<Settings>>) {
        match *self {}
    }

    pub(super) fn ended(self, _: EndReason, _: Duration) {
        match self {}
    }
}
