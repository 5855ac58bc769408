//! What a stream holds while it is open, beside its place in a drain.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use super::early_head::LastWords;
use super::registry::RegisteredStream;
use super::{EarlyHeadLink, Registrations, StreamLink};
use crate::engine::Engine;
use crate::state::{Permit, StreamStats};

/// What a stream holds while it is open, beside its place in a drain.
///
/// Many streams hold nothing. They pay for one pointer.
#[derive(Debug, Default)]
pub(super) struct Holdings(Option<Box<Held>>);

#[derive(Debug)]
struct Held {
    registered: Option<RegisteredStream>,
    /// Apart, since streams that are in a registry rarely have one.
    permit: Option<Box<Permit>>,
    /// Kept as long as outer layers may ask for it.
    link: Option<Arc<StreamLink>>,
    of_request: Option<Box<OfRequest>>,
}

/// What a stream has of its request, and few streams do.
#[derive(Debug)]
struct OfRequest {
    /// For how long the stream may go on after a drain has begun, in place of what holds for all.
    finish_within: Option<Duration>,
    /// The body may end with words that this stream has to say.
    early_head: Option<Arc<EarlyHeadLink>>,
}

impl Holdings {
    /// These registrations, and the link if outer layers may still ask for it.
    pub(super) fn new(registrations: Registrations, link: Option<Arc<StreamLink>>) -> Self {
        let Registrations { registry, permit, finish_within, early_head, shutdown: _ } =
            registrations;
        let is_of_request = finish_within.is_some() || early_head.is_some();
        let held = Held {
            registered: registry.map(RegisteredStream::new),
            permit: permit.map(Box::new),
            link,
            of_request: is_of_request.then(|| Box::new(OfRequest { finish_within, early_head })),
        };
        Self((!held.is_empty()).then(|| Box::new(held)))
    }

    /// The link that outer layers share with this stream, as long as they may ask for it.
    pub(super) fn link(&self) -> Option<&Arc<StreamLink>> {
        self.0.as_ref()?.link.as_ref()
    }

    /// The entry in a registry.
    pub(super) fn registered(&mut self) -> Option<&mut RegisteredStream> {
        self.0.as_mut()?.registered.as_mut()
    }

    /// The statistics for a registry.
    pub(super) fn stats(&self) -> Option<&StreamStats> {
        Some(&self.0.as_ref()?.registered.as_ref()?.stats)
    }

    /// For how long the stream may go on after a drain has begun, if its request says so.
    pub(super) fn finish_within(&self) -> Option<Duration> {
        self.0.as_ref()?.of_request.as_ref()?.finish_within
    }

    /// What a body has left that waited for a handler in vain.
    pub(super) fn take_last_words(&self) -> Option<Box<LastWords>> {
        self.0.as_ref()?.of_request.as_ref()?.early_head.as_ref()?.take_words()
    }

    /// Whether no signal may have come for what is held.
    #[inline]
    pub(super) fn are_quiet(&self, engine: &Engine) -> bool {
        self.0.as_ref().is_none_or(|held| !held.has_mail(engine) && !held.may_be_replaced())
    }

    /// Whether there may be mail that can be written.
    pub(super) fn has_mail(&self, engine: &Engine) -> bool {
        self.0.as_ref().is_some_and(|held| held.has_mail(engine))
    }

    /// Whether a newer stream may have replaced this one.
    pub(super) fn may_be_replaced(&self) -> bool {
        self.0.as_ref().is_some_and(|held| held.may_be_replaced())
    }

    /// Whether a newer stream has replaced this one. True once.
    pub(super) fn take_replaced(&mut self) -> bool {
        let permit = self.0.as_mut().and_then(|held| held.permit.as_mut());
        permit.is_some_and(|permit| permit.take_replaced())
    }

    /// Has `waker` woken for mail, and when this stream is replaced. True if there may be something
    /// already.
    pub(super) fn register(&self, waker: &Waker) -> bool {
        let Some(held) = &self.0 else {
            return false;
        };
        // Both of them, whatever the first one says.
        held.registered.as_ref().is_some_and(|it| it.registration.register(waker))
            | held.permit.as_ref().is_some_and(|permit| permit.register(waker))
    }

    /// Counts a frame that is sent, and gives back what is held until the last one.
    #[inline]
    pub(super) fn sent(&mut self, bytes: usize, engine: &mut Engine) {
        if let Some(held) = &mut self.0 {
            held.sent(bytes, engine);
        }
    }

    /// Gives back what other streams and layers wait for.
    pub(super) fn release(&mut self) {
        if let Some(held) = &mut self.0 {
            held.release();
        }
    }

    /// Takes out the entry in a registry.
    pub(super) fn take_registered(&mut self) -> Option<RegisteredStream> {
        self.0.as_mut()?.registered.take()
    }
}

impl Held {
    fn is_empty(&self) -> bool {
        let Self { registered, permit, link, of_request } = self;
        registered.is_none() && permit.is_none() && link.is_none() && of_request.is_none()
    }

    #[inline]
    fn has_mail(&self, engine: &Engine) -> bool {
        self.registered.as_ref().is_some_and(|registered| registered.has_mail(engine))
    }

    #[inline]
    fn may_be_replaced(&self) -> bool {
        self.permit.as_ref().is_some_and(|permit| permit.is_signalled())
    }

    #[inline(never)]
    fn sent(&mut self, bytes: usize, engine: &mut Engine) {
        if let Some(registered) = &mut self.registered {
            registered.sent(bytes, engine);
        }
        let is_held = self.permit.is_some() || self.link.is_some();
        if is_held && engine.ended().is_some() {
            // A client that learns of the end from this frame may come back before the body is
            // dropped.
            self.release();
        }
    }

    #[cold]
    fn release(&mut self) {
        (self.permit, self.link) = (None, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::Done;
    use crate::observe::StreamObserver;
    use crate::plan::Plan;
    use crate::state::Permits;

    #[test]
    fn a_stream_keeps_its_permit_whenever_the_last_layer_stops_to_ask_for_it() {
        let permits = Arc::new(Permits::new());
        let registrations = Registrations { permit: permits.acquire(1), ..Default::default() };
        let done = Done::new(Arc::new(Plan::default().resolve()));
        let link = StreamLink::of_stream(done, registrations, StreamObserver::off(), None);
        let of_layer = Arc::downgrade(&link);
        let opening = link.open();
        drop(of_layer);
        let holdings = Holdings::new(opening.registrations, opening.link);
        drop(link);
        assert_eq!(permits.open(), 1);
        drop(holdings);
        assert_eq!(permits.open(), 0);
    }
}
