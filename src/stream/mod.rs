//! One driven stream: its engine with a clock, a waker and its places on the lists.

mod joining;
mod listed;

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use pin_project_lite::pin_project;
use tokio::task::unconstrained;
use tokio::time::{Sleep, sleep_until};

pub(crate) use joining::{Joining, Seats};
use listed::{Listed, put_behind};

use crate::engine::{EndReason, Engine};
use crate::live::{Seat, now};
use crate::observe::Watch;
use crate::plan::Settled;

pin_project! {
    /// An engine and what connects it to the world, all but the body that it works on.
    #[derive(Debug)]
    pub(crate) struct Stream {
        engine: Engine,
        settled: Arc<Settled>,
        // What the drain asks was taken note of.
        draining: bool,
        #[pin]
        sleep: Option<Sleep>,
        // The sleep is set for the engine's next deadline, or an earlier moment.
        armed: bool,
        // The waker that the sleep and the lists know.
        waker: Option<Waker>,
        listed: Option<Box<Listed>>,
        seat: Option<Seat<()>>,
        joining: Option<Arc<Joining>>,
        watch: Watch,
    }

    impl PinnedDrop for Stream {
        fn drop(this: Pin<&mut Self>) {
            this.leave();
        }
    }
}

impl Stream {
    pub(crate) fn new(
        engine: Engine,
        settled: Arc<Settled>,
        seats: Seats,
        joining: Arc<Joining>,
        watch: Watch,
    ) -> Self {
        let Seats { registry, shutdown } = seats;
        let listed = registry.map(|(seat, profile)| Box::new(Listed::new(seat, profile)));
        Self {
            joining: Some(joining),
            engine,
            settled,
            draining: false,
            sleep: None,
            armed: false,
            waker: None,
            listed,
            seat: shutdown,
            watch,
        }
    }

    /// Nothing is to be done before the body is polled, and no note is to be taken after.
    #[inline]
    pub(crate) fn is_calm(&self) -> bool {
        let signalled = self.seat.as_ref().is_some_and(Seat::is_signalled);
        self.engine.is_calm() && !signalled
    }

    /// Takes a chunk of the body's while the stream is calm, if it can be sent as it is.
    #[expect(clippy::inline_always, reason = "on its own it costs as much as what it saves")]
    #[inline(always)]
    pub(crate) fn passes(self: Pin<&mut Self>, data: &Bytes) -> bool {
        self.project().engine.passes(data)
    }

    /// What is to be sent before the body is asked for more.
    #[inline]
    pub(crate) fn poll_ready(self: Pin<&mut Self>) -> Option<Bytes> {
        let quiet = self.joining.is_none() && self.engine.is_quiet() && !self.is_signalled();
        if quiet { None } else { self.attend() }
    }

    /// Does what is to be done before the body is asked for more, and gives what is to be sent.
    fn attend(mut self: Pin<&mut Self>) -> Option<Bytes> {
        let this = self.as_mut().project();
        if let Some(joining) = this.joining.take() {
            self.as_mut().take_up(&joining);
            let this = self.as_mut().project();
            this.watch.starts(|| this.settled.plan.to_string());
            let opening = this.engine.open(now());
            if opening.is_some() {
                return opening;
            }
        }
        let this = self.as_mut().project();
        if let Some(frame) = this.engine.next() {
            return Some(frame);
        }
        // Before more data is taken, so that a busy stream ends too.
        if self.is_signalled() {
            if let Some(frame) = self.as_mut().obey() {
                return Some(frame);
            }
        }
        let this = self.project();
        if this.engine.is_closing() {
            // Behind a long event its turn may come before what the sleep is set for.
            *this.armed = false;
            return this.engine.timeout(now()).or_else(|| this.engine.next());
        }
        this.engine.next()
    }

    /// Takes up what layers further out ask for, before anything was sent.
    fn take_up(self: Pin<&mut Self>, joining: &Joining) {
        let Some((settled, seats)) = joining.take() else {
            return;
        };
        let this = self.project();
        this.engine.settle(Arc::clone(settled.settings(this.watch.is_on())));
        *this.settled = settled;
        if let Some((seat, profile)) = seats.registry {
            *this.listed = Some(Box::new(Listed::new(seat, profile)));
        }
        if let Some(seat) = seats.shutdown {
            *this.seat = Some(seat);
        }
    }

    /// Takes a chunk of the body's, and gives what is to be sent of it.
    pub(crate) fn data(self: Pin<&mut Self>, chunk: Bytes) -> Option<Bytes> {
        self.project().engine.data(chunk)
    }

    /// Takes note of a panic of the body's.
    pub(crate) fn panicked(self: Pin<&mut Self>) {
        self.project().engine.abort();
    }

    /// Takes the body's end.
    pub(crate) fn end(self: Pin<&mut Self>) {
        self.project().engine.end();
    }

    /// Takes the body's failure. Says whether a farewell stands in for it.
    pub(crate) fn fail(self: Pin<&mut Self>) -> bool {
        self.project().engine.fail()
    }

    /// Why the stream is over, once nothing is left to be sent.
    #[inline]
    pub(crate) fn ended(&self) -> Option<EndReason> {
        self.engine.ended()
    }

    /// Waits for the time or a signal, while the body has nothing.
    ///
    /// Ready when there may be something to do, with what is to be sent if there is any.
    pub(crate) fn poll_wait(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let this = self.as_mut().project();
        if let Some(listed) = this.listed.as_deref_mut() {
            listed.polled();
        }
        this.watch.flush(this.engine);
        let known = this.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if self.waits(cx.waker()) {
            return Poll::Pending;
        }
        if self.is_due() {
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
    /// A sleep that knows the waker is not polled again: that it is due shows without.
    #[inline(never)]
    pub(crate) fn waits(&self, waker: &Waker) -> bool {
        let known = self.waker.as_ref().is_some_and(|known| known.will_wake(waker));
        known && self.armed && !self.is_due()
    }

    #[inline]
    fn is_due(&self) -> bool {
        self.sleep.as_ref().is_some_and(Sleep::is_elapsed)
    }

    /// Has the lists wake this task. Says no if a signal came meanwhile.
    fn register(self: Pin<&mut Self>, waker: &Waker) -> bool {
        let this = self.project();
        let on_list = this.listed.as_ref().map(|listed| &listed.seat);
        let missed = on_list.is_some_and(|seat| seat.register(waker))
            | this.seat.as_ref().is_some_and(|seat| seat.register(waker));
        *this.waker = (!missed).then(|| waker.clone());
        !missed
    }

    /// Sets the sleep for the engine's next deadline. Ready if that has passed already.
    fn arm(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        *this.armed = true;
        let Some(at) = this.engine.next_timeout().map(tokio::time::Instant::from_std) else {
            return Poll::Pending;
        };
        match this.sleep.as_mut().as_pin_mut() {
            // Later deadlines are left alone until the timer fires: an event costs no timer
            // operation, only an idle interval does.
            Some(sleep) if sleep.deadline() <= at => {}
            Some(sleep) => sleep.reset(at),
            None => this.sleep.set(Some(sleep_until(at))),
        }
        let Some(sleep) = this.sleep.as_pin_mut() else {
            return Poll::Pending;
        };
        // Behind a burst the task's budget is used up, and a sleep that takes part in it says
        // `Pending` without having taken note of who waits.
        pin!(unconstrained(sleep)).poll(cx)
    }

    /// Tells the engine that it is time.
    fn tick(self: Pin<&mut Self>) -> Option<Bytes> {
        let mut this = self.project();
        // Set anew when the body has nothing again, for what the engine waits for then.
        this.sleep.set(None);
        *this.armed = false;
        *this.waker = None;
        this.engine.timeout(now())
    }

    #[inline]
    fn is_signalled(&self) -> bool {
        self.seat.as_ref().is_some_and(Seat::is_signalled)
            || self.listed.as_ref().is_some_and(|listed| listed.is_signalled(&self.engine))
    }

    /// Does what the registry and the shutdown ask.
    #[cold]
    fn obey(self: Pin<&mut Self>) -> Option<Bytes> {
        let this = self.project();
        // Signals take the waker out, so it is to be registered again.
        *this.waker = None;
        *this.armed = false;
        let mut first = this.listed.as_deref_mut().and_then(|listed| listed.read_mail(this.engine));
        if let Some(seat) = this.seat.as_mut() {
            seat.look(|()| {});
            let n = seat.index();
            let closing = this.settled.closing().filter(|_| !*this.draining);
            let begun = closing.and_then(|closing| Some((closing, closing.drain.started()?)));
            if let Some((closing, started)) = begun {
                *this.draining = true;
                if let Some(listed) = this.listed {
                    listed.profile.closing();
                }
                let farewell = closing.farewell.as_ref();
                let order = closing.drain.close(n, started, closing.finish_within, farewell);
                let farewell = this.engine.close(order, now());
                put_behind(&mut first, farewell, this.engine);
            }
        }
        first
    }

    /// Takes note of a frame that is sent.
    #[inline]
    pub(crate) fn note(self: Pin<&mut Self>, bytes: usize) {
        let this = self.project();
        if let Some(listed) = this.listed.as_deref_mut() {
            listed.sent(bytes, this.engine);
        }
        this.watch.sent(bytes, this.engine, now);
    }

    /// Leaves the lists.
    fn leave(mut self: Pin<&mut Self>) {
        if let Some(joining) = self.as_mut().project().joining.take() {
            // Never polled, but listed.
            self.as_mut().take_up(&joining);
        }
        let this = self.project();
        let reason = this.engine.ended().unwrap_or(EndReason::ClientGone);
        this.watch.ended(reason, this.engine, now);
        if let (Some(listed), Some(enroll)) = (this.listed.take(), this.settled.enroll()) {
            let Listed { seat, profile, .. } = *listed;
            enroll.book.leave(seat, &profile, reason);
        }
        // Last, so that a drain is not over before the hooks were told.
        if let (Some(seat), Some(closing)) = (this.seat.take(), this.settled.closing()) {
            closing.drain.leave(seat, reason);
        }
    }
}
