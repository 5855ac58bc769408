//! What a stream has that many do not: a place in a registry, and a slot of a limit.

use super::listed::Listed;
use crate::live::Slot;

/// A stream's place in a registry and its slot of a limit, in one box, so that streams with neither
/// pay for one pointer.
#[derive(Debug, Default)]
pub(super) struct Places(Option<Box<Held>>);

#[derive(Debug, Default)]
struct Held {
    listed: Option<Listed>,
    /// In a box of its own: a stream that is listed only is to be no larger for it.
    slot: Option<Box<Slot>>,
}

impl Places {
    pub(super) fn new(listed: Option<Listed>, slot: Option<Box<Slot>>) -> Self {
        let has_any = listed.is_some() || slot.is_some();
        Self(has_any.then(|| Box::new(Held { listed, slot })))
    }

    /// Takes these over where there is something in them.
    pub(super) fn take_up(&mut self, listed: Option<Listed>, slot: Option<Box<Slot>>) {
        let Held { listed: known, slot: taken } =
            self.0.take().map(|held| *held).unwrap_or_default();
        *self = Self::new(listed.or(known), slot.or(taken));
    }

    #[inline]
    pub(super) fn listed(&self) -> Option<&Listed> {
        self.0.as_ref()?.listed.as_ref()
    }

    #[inline]
    pub(super) fn listed_mut(&mut self) -> Option<&mut Listed> {
        self.0.as_mut()?.listed.as_mut()
    }

    pub(super) fn take_listed(&mut self) -> Option<Listed> {
        self.0.as_mut()?.listed.take()
    }

    #[inline]
    pub(super) fn slot(&self) -> Option<&Slot> {
        self.0.as_ref()?.slot.as_deref()
    }

    pub(super) fn slot_mut(&mut self) -> Option<&mut Slot> {
        self.0.as_mut()?.slot.as_deref_mut()
    }

    /// Gives the slot back.
    pub(super) fn give_back(&mut self) {
        if let Some(held) = &mut self.0 {
            held.slot = None;
        }
    }
}
