//! What a stream has that many do not: a place in a registry, and a slot of a limit.

use super::listed::Listed;
use crate::engine::Engine;
use crate::plan::ResolvedPlan;
use crate::state::Permit;

/// A stream's place in a registry and its slot of a limit, so that streams with neither pay for one
/// pointer.
#[derive(Debug, Default)]
pub(super) struct Places(Option<Box<Held>>);

#[derive(Debug)]
enum Held {
    Listed(Listed),
    /// Apart, so that a stream that is only listed takes no more memory for it.
    Limited(Box<(Option<Listed>, Permit)>),
}

impl Places {
    pub(super) fn new(listed: Option<Listed>, slot: Option<Permit>) -> Self {
        let held = match (listed, slot) {
            (listed, Some(slot)) => Some(Held::Limited(Box::new((listed, slot)))),
            (Some(listed), None) => Some(Held::Listed(listed)),
            (None, None) => None,
        };
        Self(held.map(Box::new))
    }

    #[inline]
    pub(super) fn listed(&self) -> Option<&Listed> {
        match &**self.0.as_ref()? {
            Held::Listed(listed) => Some(listed),
            Held::Limited(both) => both.0.as_ref(),
        }
    }

    #[inline]
    pub(super) fn listed_mut(&mut self) -> Option<&mut Listed> {
        match &mut **self.0.as_mut()? {
            Held::Listed(listed) => Some(listed),
            Held::Limited(both) => both.0.as_mut(),
        }
    }

    /// Whether there may be something for this stream.
    #[inline]
    pub(super) fn is_signalled(&self, engine: &Engine<ResolvedPlan>) -> bool {
        let (listed, slot) = match self.0.as_deref() {
            None => return false,
            Some(Held::Listed(listed)) => (Some(listed), None),
            Some(Held::Limited(both)) => (both.0.as_ref(), Some(&both.1)),
        };
        listed.is_some_and(|listed| listed.is_signalled(engine))
            || slot.is_some_and(Permit::is_signalled)
    }

    /// Takes note of a frame that is sent. With the last one the slot is given back: who learns of
    /// the end from it may come back before the body is dropped.
    #[inline]
    pub(super) fn sent(&mut self, bytes: usize, engine: &mut Engine<ResolvedPlan>) {
        let (listed, limited) = match self.0.as_deref_mut() {
            None => return,
            Some(Held::Listed(listed)) => (Some(listed), false),
            Some(Held::Limited(both)) => (both.0.as_mut(), true),
        };
        if let Some(listed) = listed {
            listed.sent(bytes, engine);
        }
        if limited && engine.ended().is_some() {
            self.release_permit();
        }
    }

    #[inline]
    pub(super) fn slot(&self) -> Option<&Permit> {
        match &**self.0.as_ref()? {
            Held::Listed(_) => None,
            Held::Limited(both) => Some(&both.1),
        }
    }

    pub(super) fn slot_mut(&mut self) -> Option<&mut Permit> {
        match &mut **self.0.as_mut()? {
            Held::Listed(_) => None,
            Held::Limited(both) => Some(&mut both.1),
        }
    }

    pub(super) fn take_listed(&mut self) -> Option<Listed> {
        let (listed, slot) = self.split();
        *self = Self::new(None, slot);
        listed
    }

    /// Gives the slot back, if there is one.
    #[cold]
    pub(super) fn release_permit(&mut self) {
        if self.slot().is_none() {
            return;
        }
        let (listed, slot) = self.split();
        *self = Self::new(listed, None);
        // When all is in its place again: it has a waker in it, whose drop is somebody else's code.
        drop(slot);
    }

    fn split(&mut self) -> (Option<Listed>, Option<Permit>) {
        match self.0.take().map(|held| *held) {
            None => (None, None),
            Some(Held::Listed(listed)) => (Some(listed), None),
            Some(Held::Limited(both)) => (both.0, Some(both.1)),
        }
    }
}
