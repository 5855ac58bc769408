//! How layers that were not heard on the way in have their part in a stream all the same.

use std::sync::{Arc, Mutex, PoisonError};

use crate::live::{Entry, Profile, Seat, Standing};
use crate::plan::Settled;

/// The lists that a stream is on.
#[derive(Debug, Default)]
pub(crate) struct Seats {
    pub(crate) registry: Option<(Seat<Entry>, Arc<Profile>)>,
    pub(crate) shutdown: Option<Seat<Standing>>,
}

/// Where layers further out leave what they ask of a stream, if they were not heard on the way in.
///
/// It takes it up when it is polled first, which is when all layers have seen the response.
#[derive(Debug, Default)]
pub(crate) struct Joining(Mutex<Option<(Arc<Settled>, Seats)>>);

impl Joining {
    /// Leaves the whole of what is asked, and the places on lists that are new.
    pub(crate) fn join(&self, settled: Arc<Settled>, seats: Seats) {
        let mut joining = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let earlier = joining.take().map(|(_, seats)| seats).unwrap_or_default();
        *joining = Some((settled, seats.or(earlier)));
    }

    pub(super) fn take(&self) -> Option<(Arc<Settled>, Seats)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Seats {
    fn or(self, other: Self) -> Self {
        Self {
            registry: self.registry.or(other.registry),
            shutdown: self.shutdown.or(other.shutdown),
        }
    }
}
