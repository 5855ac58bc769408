//! What few streams need at a time, so that the others do not pay for it in memory.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use super::hold::Held;
use super::rotation::Ends;
use super::{Close, Engine, Settings};

#[derive(Debug, Default)]
pub(super) struct Rare {
    pub(super) queue: VecDeque<Bytes>,
    pub(super) held: Held,
    /// How many bytes came of what may become a byte order mark.
    pub(super) mark: usize,
    pub(super) close: Option<Box<Close<'static>>>,
    /// It is time to close, once the long event that flows is over.
    pub(super) close_due: bool,
    /// When the stream is to end for its age.
    pub(super) ends: Option<Ends>,
    pub(super) beat: Option<Instant>,
}

impl Rare {
    /// Nothing waits to be sent or to be done, and nothing is held.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty()
            && self.held.is_empty()
            && self.mark == 0
            && self.close.is_none()
            && self.beat.is_none()
    }
}

impl<S: AsRef<Settings>> Engine<S> {
    pub(super) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Gives back memory that an idle stream does not need.
    pub(super) fn tidy(&mut self) {
        self.rare = self.rare.take().filter(|rare| !rare.is_idle() || rare.ends.is_some());
    }
}
