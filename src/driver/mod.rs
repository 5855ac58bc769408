//! One driven stream: its engine with a clock, a waker and its places on the lists.

mod close_if_replaced;
mod link;
mod listed;
mod loss;
mod places;
mod timer;
mod wait;

use std::pin::Pin;
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use pin_project_lite::pin_project;

use close_if_replaced::close_if_replaced;
use link::Opening;
pub(crate) use link::{Around, Done, Registrations, StreamLink};
use listed::{Listed, put_behind};
use places::Places;
use timer::Timer;

use crate::engine::{EndReason, Engine};
use crate::observe::StreamObserver;
use crate::plan::{Plan, ResolvedPlan, ShutdownSetting};
use crate::roster::Registration;
use crate::state::{DrainStatus, Expiry};
use crate::sync::now;

pin_project! {
    /// An engine and what connects it to the world, all but the body that it works on.
    #[derive(Debug)]
    pub(crate) struct Stream {
        engine: Engine<ResolvedPlan>,
        #[pin]
        timer: Timer,
        // The waker that the timer and the lists know.
        waker: Option<Waker>,
        places: Places,
        seat: Option<Registration<DrainStatus>>,
        watch: StreamObserver,
        // As long as layers further out may ask for it.
        link: Option<Arc<StreamLink>>,
    }

    impl PinnedDrop for Stream {
        fn drop(this: Pin<&mut Self>) {
            this.leave();
        }
    }
}

impl Stream {
    /// A stream that takes its plan and its registrations from `link` when it is polled first.
    pub(crate) fn new(engine: Engine<ResolvedPlan>, link: Arc<StreamLink>) -> Self {
        Self {
            engine,
            timer: Timer::Unopened,
            waker: None,
            places: Places::default(),
            seat: None,
            watch: StreamObserver::off(),
            link: Some(link),
        }
    }

    /// A stream of these bytes, on no list.
    pub(crate) fn of(bytes: Bytes, link: Arc<StreamLink>) -> Self {
        Self::new(Engine::only(Arc::new(Plan::default().resolve()), bytes), link)
    }

    /// What layers further out share with this stream, as long as they may ask for it.
    pub(crate) fn link(&self) -> Option<&Arc<StreamLink>> {
        self.link.as_ref()
    }

    /// Nothing is to be done before the body is polled, and no note is to be taken after.
    #[inline]
    pub(crate) fn is_calm(&self) -> bool {
        self.engine.is_calm() && !self.seat.as_ref().is_some_and(Registration::is_signalled)
    }

    /// The same of a stream that is to end at some time: its sleep tells when to look.
    #[inline]
    pub(crate) fn is_calm_so_far(&self) -> bool {
        let signalled = || self.seat.as_ref().is_some_and(Registration::is_signalled);
        self.engine.is_calm_for_a_time() && !self.is_hurried() && !signalled()
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
        let quiet = self.engine.is_quiet() && !self.timer.is_unopened() && !self.is_signalled();
        let quiet = quiet && !(self.engine.is_timed() && self.is_hurried());
        if quiet { None } else { self.attend() }
    }

    /// Does what is to be done before the body is asked for more, and gives what is to be sent.
    fn attend(mut self: Pin<&mut Self>) -> Option<Bytes> {
        if self.as_mut().project().timer.open() {
            let expiry = self.as_mut().begin();
            let (this, now) = (self.as_mut().project(), now());
            this.watch.starts(|| this.engine.settings().plan.to_string());
            let mut opening = this.engine.open(now);
            let farewell =
                this.engine.plan_end(now, expiry.and_then(|expiry| expiry.on_the_clock(now)));
            put_behind(&mut opening, farewell, this.engine);
            if opening.is_some() {
                return opening;
            }
        }
        let this = self.as_mut().project();
        if let Some(frame) = this.engine.next() {
            return Some(frame);
        }
        // Before more data is taken, so that a busy stream ends too.
        let mut first = None;
        if self.is_signalled() {
            // If the body has nothing, the signal is seen again: behind mail no waker is known.
            let listed = self.as_mut().project().places.listed_mut();
            if !listed.is_some_and(Listed::lets_body_speak) {
                first = self.as_mut().obey();
            }
        }
        // Also behind mail.
        if self.engine.is_timed() && self.is_hurried() {
            let farewell = self.as_mut().rotate();
            put_behind(&mut first, farewell, self.as_mut().project().engine);
        }
        let this = self.project();
        if this.engine.is_closing() {
            // Behind a long event its turn may come before what the timer is set for.
            let frame = this.engine.timeout(now());
            put_behind(&mut first, frame, this.engine);
        }
        first.or_else(|| this.engine.next())
    }

    /// Takes the plan, with what outer layers added to it, and the registrations.
    ///
    /// Gives when the stream's credential expires.
    fn begin(self: Pin<&mut Self>) -> Option<Expiry> {
        let this = self.project();
        let link = this.link.take()?;
        let Opening { plan, registrations, watch, expiry } = link.open();
        *this.link = Some(link).filter(|link| Arc::weak_count(link) > 0);
        let Registrations { registry, shutdown, permit } = registrations;
        this.engine.replace_settings(plan);
        *this.places = Places::new(registry.map(Listed::of), permit);
        *this.seat = shutdown;
        *this.watch = watch;
        if let (Some(listed), Some(closing)) =
            (this.places.listed(), this.engine.settings().closing())
        {
            listed.stats.set_drain(&closing.drain);
        }
        expiry
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
        let this = self.project();
        this.engine.end();
        if this.engine.ended().is_some() {
            this.places.release_permit();
            *this.link = None;
        }
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

    /// Ends the stream if it is time, though its body may have more to say.
    #[cold]
    fn rotate(self: Pin<&mut Self>) -> Option<Bytes> {
        let this = self.project();
        let farewell = this.engine.rotate(now());
        if let Some(listed) = this.places.listed().filter(|_| this.engine.is_closing()) {
            listed.stats.mark_closing();
        }
        farewell
    }

    #[inline]
    pub(crate) fn is_signalled(&self) -> bool {
        self.seat.as_ref().is_some_and(Registration::is_signalled)
            || self.places.is_signalled(&self.engine)
    }

    /// Does what the registry, the limit and the shutdown ask.
    #[cold]
    fn obey(self: Pin<&mut Self>) -> Option<Bytes> {
        let this = self.project();
        // Signals take the waker out, so it is to be registered again.
        *this.waker = None;
        let listed = this.places.listed_mut().filter(|listed| listed.is_signalled(this.engine));
        let mut first = listed.and_then(|listed| listed.read_mail(this.engine));
        let farewell = close_if_replaced(this.places, this.engine);
        put_behind(&mut first, farewell, this.engine);
        if let Some(seat) = this.seat.as_mut().filter(|seat| seat.is_signalled()) {
            let farewell = this.engine.close(|settings| {
                let ShutdownSetting { drain, finish_within, farewell, .. } = settings.closing()?;
                let close = drain.close_order(seat, *finish_within, farewell.as_ref())?;
                if let Some(listed) = this.places.listed() {
                    listed.stats.mark_closing();
                }
                Some(close)
            });
            put_behind(&mut first, farewell, this.engine);
        }
        first
    }

    /// Takes note of a frame that is sent.
    #[inline]
    pub(crate) fn note(self: Pin<&mut Self>, bytes: usize) {
        let this = self.project();
        this.places.sent(bytes, this.engine);
        if this.link.is_some() && this.engine.ended().is_some() {
            *this.link = None;
        }
        this.watch.sent(bytes, this.engine, now);
    }

    /// Leaves the lists.
    fn leave(mut self: Pin<&mut Self>) {
        if self.as_mut().project().timer.open() {
            // Never polled, but listed.
            self.as_mut().begin();
        }
        let reason = self.engine.ended().unwrap_or_else(|| self.lost());
        let this = self.project();
        // First: who comes because hooks or a drain's report tell of this end finds the slot free.
        this.places.release_permit();
        *this.link = None;
        this.watch.ended(reason, this.engine, now);
        let listed = this.places.take_listed();
        if let (Some(listed), Some(registry)) = (listed, this.engine.settings().registry()) {
            let Listed { seat, stats, .. } = listed;
            registry.registry.leave(seat, &stats, reason);
        }
        // Last, so that a drain is not over before the hooks were told.
        if let (Some(seat), Some(closing)) = (this.seat.take(), this.engine.settings().closing()) {
            closing.drain.unregister(seat, reason);
        }
    }
}
