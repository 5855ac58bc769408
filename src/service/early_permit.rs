//! Permits of a limit that are taken before the handler runs.

use std::sync::{Arc, Mutex};

use crate::state::{LimitInner, Permit};
use crate::sync::lock;

/// A permit that was taken before the handler, until a stream takes it.
///
/// The future of the response owns it. So it is released with the future, also if the handler keeps
/// the extensions of its request.
#[derive(Debug)]
pub(super) struct EarlyPermit {
    limit: Arc<LimitInner>,
    permit: Mutex<Option<Permit>>,
}

impl EarlyPermit {
    pub(super) fn new(limit: &Arc<LimitInner>, permit: Permit) -> Self {
        Self { limit: Arc::clone(limit), permit: Mutex::new(Some(permit)) }
    }

    /// Whether it is a permit of this limit.
    pub(super) fn is_of(&self, limit: &Arc<LimitInner>) -> bool {
        Arc::ptr_eq(&self.limit, limit)
    }

    pub(super) fn is_held(&self) -> bool {
        lock(&self.permit).is_some()
    }

    pub(super) fn take(&self) -> Option<Permit> {
        lock(&self.permit).take()
    }
}
