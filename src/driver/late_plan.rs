//! How layers that were not heard on the way in have their part in a stream all the same.

use std::sync::{Arc, Mutex, MutexGuard};

use crate::plan::ResolvedPlan;
use crate::roster::Registration;
use crate::state::{DrainStatus, Expiry, Permit, RegistryEntry, StreamStats};
use crate::sync::lock;

/// The lists that a stream is on, and its part of what may be open.
#[derive(Debug, Default)]
pub(crate) struct Registrations {
    pub(crate) registry: Option<(Registration<RegistryEntry>, Arc<StreamStats>)>,
    pub(crate) shutdown: Option<Registration<DrainStatus>>,
    pub(crate) slot: Option<Permit>,
}

/// Where layers further out leave what they ask of a stream, if they were not heard on the way in.
///
/// It takes it up when it is polled first, which is when all layers have seen the response, unless
/// something between them reads ahead.
#[derive(Debug, Default)]
pub(crate) struct LatePlan(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    left: LateParts,
    /// The stream has begun, or is gone: nobody comes for what is left now.
    over: bool,
}

/// What was left for a stream.
#[derive(Debug, Default)]
pub(super) struct LateParts {
    pub(super) asked: Option<(Arc<ResolvedPlan>, Registrations)>,
    /// When its credential ends, as far as anybody said.
    pub(super) expiry: Option<Expiry>,
}

impl LatePlan {
    /// Leaves the whole of what is asked, and the places on lists that are new. Gives them back if
    /// the stream does not take them up any more.
    pub(crate) fn join(
        &self,
        resolved: Arc<ResolvedPlan>,
        seats: Registrations,
    ) -> Result<(), Registrations> {
        let State { left, over } = &mut *self.lock();
        if *over {
            return Err(seats);
        }
        let earlier = left.asked.take().map(|(_, seats)| seats).unwrap_or_default();
        left.asked = Some((resolved, seats.or(earlier)));
        Ok(())
    }

    /// Says when the stream's credential ends; of two the earlier counts.
    pub(crate) fn expire(&self, expiry: Expiry) {
        let left = &mut self.lock().left;
        left.expiry = Some(left.expiry.map_or(expiry, |other| other.or_earlier(expiry)));
    }

    /// Says that the stream's credential does not matter.
    pub(crate) fn outlive(&self) {
        self.lock().left.expiry = None;
    }

    pub(super) fn take(&self) -> LateParts {
        let mut state = self.lock();
        state.over = true;
        std::mem::take(&mut state.left)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }
}

impl Registrations {
    fn or(self, other: Self) -> Self {
        Self {
            registry: self.registry.or(other.registry),
            shutdown: self.shutdown.or(other.shutdown),
            slot: self.slot.or(other.slot),
        }
    }
}
