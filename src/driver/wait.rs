//! How a stream waits: for its timer, and for signals of the lists that it is on.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::Stream;
use crate::sync::now;

impl Stream {
    /// Waits for the time or a signal, while the body has nothing.
    ///
    /// Ready when there may be something to do, with what is to be sent if there is any.
    pub(crate) fn poll_wait(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let this = self.as_mut().project();
        if let Some(listed) = this.places.listed_mut() {
            listed.polled();
        }
        this.watch.flush(this.engine);
        let known = this.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if self.waits(cx.waker()) {
            return Poll::Pending;
        }
        if self.timer.is_due() {
            let frame = self.as_mut().tick();
            return Poll::Ready(frame);
        }
        if !known && !self.as_mut().register(cx.waker()) {
            return Poll::Ready(None);
        }
        self.arm(cx).map(|()| None)
    }

    /// Whether all that may happen wakes `waker` already.
    ///
    /// A timer that knows the waker is not polled again: that it is due shows without.
    #[inline(never)]
    pub(crate) fn waits(&self, waker: &Waker) -> bool {
        let known = self.waker.as_ref().is_some_and(|known| known.will_wake(waker));
        known && self.engine.is_armed() && !self.timer.is_due()
    }

    /// The sleep does not tell, or has told: a stream whose body is always ready never waits, and
    /// one whose client reads slowly is not polled for long, so it is to be looked at the clock.
    #[inline]
    pub(super) fn is_hurried(&self) -> bool {
        !self.engine.is_armed() || self.timer.is_due()
    }

    /// Has the lists wake this task. Says no if a signal came meanwhile.
    fn register(self: Pin<&mut Self>, waker: &Waker) -> bool {
        let this = self.project();
        let on_list = this.places.listed().map(|listed| &listed.seat);
        let missed = on_list.is_some_and(|seat| seat.register(waker))
            | this.seat.as_ref().is_some_and(|seat| seat.register(waker))
            | this.places.slot().is_some_and(|slot| slot.register(waker));
        *this.waker = (!missed).then(|| waker.clone());
        !missed
    }

    /// Sets the timer for the engine's next timeout. Ready if that has passed already.
    fn arm(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        match this.engine.set_timer() {
            Some(at) => this.timer.poll_until(at.into(), cx),
            None => Poll::Pending,
        }
    }

    /// Tells the engine that it is time.
    fn tick(self: Pin<&mut Self>) -> Option<Bytes> {
        let this = self.project();
        // Set anew when the body has nothing again, for what the engine waits for then.
        this.timer.clear();
        *this.waker = None;
        this.engine.timeout(now())
    }
}
