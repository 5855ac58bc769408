//! How layers that were not heard on the way in have their part in a stream all the same.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::live::{Entry, Expiry, Profile, Seat, Slot, Standing};
use crate::plan::Settled;

/// The lists that a stream is on, and its part of what may be open.
#[derive(Debug, Default)]
pub(crate) struct Seats {
    pub(crate) registry: Option<(Seat<Entry>, Arc<Profile>)>,
    pub(crate) shutdown: Option<Seat<Standing>>,
    pub(crate) slot: Option<Slot>,
}

/// Where layers further out leave what they ask of a stream, if they were not heard on the way in.
///
/// It takes it up when it is polled first, which is when all layers have seen the response.
#[derive(Debug, Default)]
pub(crate) struct Joining(Mutex<Left>);

/// What was left for a stream.
#[derive(Debug, Default)]
pub(super) struct Left {
    pub(super) asked: Option<(Arc<Settled>, Seats)>,
    /// When its credential ends, as far as anybody said.
    pub(super) expiry: Option<Expiry>,
}

impl Joining {
    /// Leaves the whole of what is asked, and the places on lists that are new.
    pub(crate) fn join(&self, settled: Arc<Settled>, seats: Seats) {
        let mut left = self.lock();
        let earlier = left.asked.take().map(|(_, seats)| seats).unwrap_or_default();
        left.asked = Some((settled, seats.or(earlier)));
    }

    /// Says when the stream's credential ends; of two the earlier counts.
    pub(crate) fn expire(&self, expiry: Expiry) {
        let mut left = self.lock();
        left.expiry = Some(left.expiry.map_or(expiry, |other| other.or_earlier(expiry)));
    }

    /// Says that the stream's credential does not matter.
    pub(crate) fn outlive(&self) {
        self.lock().expiry = None;
    }

    pub(super) fn take(&self) -> Left {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Left> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seats {
    fn or(self, other: Self) -> Self {
        Self {
            registry: self.registry.or(other.registry),
            shutdown: self.shutdown.or(other.shutdown),
            slot: self.slot.or(other.slot),
        }
    }
}
