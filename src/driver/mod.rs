//! One driven stream: its engine with a clock, wakers and its registrations.
//!
//! The driver decides nothing about bytes. It asks the questions of a poll in one order:
//!
//! 1. Is the stream polled for the first time? It applies the plan of the outer layers, and begins.
//! 2. Does a frame wait? It leaves first.
//! 3. Is there mail? It leaves before anything that ends the stream.
//! 4. Was the stream replaced, or does a drain end it?
//! 5. Is a timeout due? This is checked however busy the body is.
//! 6. Then the body is polled.

mod claim;
mod deferred;
mod early_head;
mod holdings;
mod leaving;
mod link;
mod registry;
mod signals;
mod timer;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use pin_project_lite::pin_project;
use tokio::runtime::Handle;

pub(crate) use claim::{Claim, ClaimedPoll};
pub(crate) use deferred::{Answer, Deferred, trailers};
pub(crate) use early_head::EarlyHeadLink;
use holdings::Holdings;
use link::Opening;
pub(crate) use link::{Around, Done, Registrations, StreamLink};
use signals::Signals;
use timer::Timer;

pub(crate) use crate::engine::{BodyEnd, FastPath, Framing, Output, PassOn, Protocol};
use crate::engine::{BodyState, Command, EndReason, Engine};
use crate::observe::StreamObserver;
use crate::plan::ResolvedPlan;
use crate::roster::Registration;
use crate::state::{DrainStatus, Expiry};
use crate::sync::now;

pin_project! {
    /// An engine with its timer and its registrations, without the body that it works on.
    #[derive(Debug)]
    pub(crate) struct Stream {
        plan: Arc<ResolvedPlan>,
        engine: Engine,
        #[pin]
        timer: Timer,
        // The waker that the timer and the lists have.
        waker: Option<Waker>,
        holdings: Holdings,
        shutdown: Option<Registration<DrainStatus>>,
        observer: StreamObserver,
    }

    impl PinnedDrop for Stream {
        fn drop(this: Pin<&mut Self>) {
            this.leave();
        }
    }
}

impl Stream {
    /// A stream that takes its plan and its registrations from `link` when it is first polled.
    pub(crate) fn new(plan: Arc<ResolvedPlan>, engine: Engine, link: Arc<StreamLink>) -> Self {
        Self {
            plan,
            engine,
            timer: Timer::Unopened { link },
            waker: None,
            holdings: Holdings::default(),
            shutdown: None,
            observer: StreamObserver::off(),
        }
    }

    /// The link that outer layers share with this stream, as long as they may ask for it.
    pub(crate) fn link(&self) -> Option<&Arc<StreamLink>> {
        self.timer.link().or_else(|| self.holdings.link())
    }

    /// How a chunk may [pass](Self::pass), if the body can be polled at once.
    #[inline]
    pub(crate) fn fast_path(&self) -> FastPath {
        match &self.shutdown {
            Some(registration) if registration.is_signalled() => FastPath::Scan,
            _ => self.engine.fast_path(),
        }
    }

    /// Takes a chunk of the body on this path, if it can be sent as it is.
    #[expect(clippy::inline_always, reason = "on its own it costs as much as what it saves")]
    #[inline(always)]
    pub(crate) fn pass(self: Pin<&mut Self>, path: FastPath, chunk: &Bytes) -> bool {
        self.project().engine.pass(path, chunk)
    }

    /// What is to be sent before the body is polled. Nothing if the stream is
    /// [quiet](Self::is_quiet).
    #[inline(never)]
    pub(crate) fn poll_output(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Option<Output> {
        if self.timer.link().is_some() {
            let opening = self.as_mut().open(cx);
            if opening.is_some() {
                return opening.map(Output::Frame);
            }
        }
        let this = self.as_mut().project();
        let settings = this.plan.engine();
        let output = this.engine.poll_output(settings);
        if output.is_some() {
            return output;
        }
        let signals = self.signals();
        if signals == Signals::default() {
            return None;
        }
        let frame = self.as_mut().attend(cx, signals);
        // A signal may have ended the stream with a status and no frame.
        frame.map(Output::Frame).or_else(|| {
            let this = self.project();
            this.engine.poll_output(this.plan.engine())
        })
    }

    /// Whether nothing is to be sent or done before the body is polled.
    #[inline]
    pub(crate) fn is_quiet(&self) -> bool {
        self.engine.fast_path().is_quiet()
            && self.timer.is_quiet()
            && !self.shutdown.as_ref().is_some_and(Registration::is_signalled)
            && self.holdings.are_quiet(&self.engine)
    }

    /// Begins, with what outer layers added.
    #[cold]
    fn open(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Option<Bytes> {
        let expiry = self.as_mut().take_opening();
        let (this, now) = (self.as_mut().project(), now());
        let settings = this.plan.engine();
        this.observer.starts(settings.counts_all_events(), || this.plan.to_string());
        let expires = expiry.and_then(|expiry| expiry.on_the_clock(now));
        let opening = this.engine.handle_command(settings, Command::Open { now, expires });
        self.arm(cx);
        opening
    }

    /// Takes the plan and the registrations from the link, and returns when the credential expires.
    fn take_opening(self: Pin<&mut Self>) -> Option<Expiry> {
        let this = self.project();
        let link = this.timer.open()?;
        let Opening { plan, mut registrations, observer, expiry, link } = link.open();
        let Registrations { shutdown, early_head, registry, .. } = &mut registrations;
        if let Some(early_head) = early_head {
            early_head.hear();
        }
        if let (Some((_, stats)), Some(closing)) = (registry, plan.closing()) {
            stats.set_drain(&closing.drain);
        }
        *this.shutdown = shutdown.take();
        *this.holdings = Holdings::new(registrations, link);
        (*this.plan, *this.observer) = (plan, observer);
        expiry
    }

    /// Takes a chunk of the body, and returns what is to be sent.
    #[inline]
    pub(crate) fn handle_data(self: Pin<&mut Self>, chunk: Bytes) -> Option<Bytes> {
        let this = self.project();
        this.engine.handle_data(this.plan.engine(), chunk)
    }

    /// Takes the end of the body, of whatever kind, after the mail that came before it.
    ///
    /// Returns what is to be sent, and whether what the body ended with has to be passed on after
    /// it.
    pub(crate) fn handle_end(mut self: Pin<&mut Self>, end: BodyEnd) -> (Option<Bytes>, PassOn) {
        let mut first = self.as_mut().read_mail();
        let words = self.as_mut().say_last_words();
        self.as_mut().queue_after(&mut first, words);
        let this = self.as_mut().project();
        let settings = this.plan.engine();
        let (frame, pass_on) = this.engine.handle_end(settings, end);
        // It is the first of the queue, where the rest of the mail may be.
        let first = match (first, frame) {
            (Some(first), Some(frame)) => {
                this.engine.handle_command(settings, Command::PutBack(frame));
                Some(first)
            }
            (first, frame) => first.or(frame),
        };
        (first, pass_on)
    }

    /// Notes that foreign code panicked in a poll.
    pub(crate) fn abort(self: Pin<&mut Self>) {
        let this = self.project();
        this.engine.handle_command(this.plan.engine(), Command::Abort);
    }

    /// Why the stream is over, once all output is sent.
    #[inline]
    pub(crate) fn ended(&self) -> Option<EndReason> {
        self.engine.ended()
    }

    /// Waits for the time or a signal, while the body is pending. Ready when there may be something
    /// to do, with what is to be sent if there is anything.
    pub(crate) fn poll_wait(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let this = self.as_mut().project();
        if let Some(registered) = this.holdings.registered() {
            registered.polled();
        }
        if this.observer.is_on() {
            this.observer.flush(&this.engine.progress());
        }
        if self.waits(cx.waker()) {
            return Poll::Pending;
        }
        if !self.as_mut().register(cx.waker()) {
            return Poll::Ready(None);
        }
        if self.timer.is_due() {
            return Poll::Ready(self.handle_timeout(cx, BodyState::Pending));
        }
        self.poll_timer(cx).map(|()| None)
    }

    /// Whether everything that may happen wakes `waker` already.
    ///
    /// A timer that has the waker is not polled again: [`Timer::is_due`] needs no poll.
    #[inline(never)]
    pub(crate) fn waits(&self, waker: &Waker) -> bool {
        let known = self.waker.as_ref().is_some_and(|known| known.will_wake(waker));
        known && !self.timer.is_due()
    }

    /// Has the lists wake this task. False if a signal came meanwhile.
    fn register(self: Pin<&mut Self>, waker: &Waker) -> bool {
        let this = self.project();
        if this.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            return true;
        }
        // All of them, whatever the first ones say.
        let missed = this.holdings.register(waker)
            | this.shutdown.as_ref().is_some_and(|it| it.register(waker));
        *this.waker = (!missed).then(|| waker.clone());
        !missed
    }

    /// Sets the timer for the engine's next timeout, for [`Timer::is_due`].
    ///
    /// Outside of a runtime the clock is read instead, until the stream has to wait.
    fn arm(self: Pin<&mut Self>, cx: &mut Context<'_>) {
        if Handle::try_current().is_ok() {
            let _ = self.poll_timer(cx);
        } else {
            self.project().timer.disarm();
        }
    }

    /// Waits for the engine's next timeout.
    fn poll_timer(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let Some(at) = this.engine.poll_timeout(this.plan.engine()) else {
            this.timer.clear();
            return Poll::Pending;
        };
        this.timer.poll_until(at, cx)
    }

    fn handle_timeout(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        body: BodyState,
    ) -> Option<Bytes> {
        let this = self.as_mut().project();
        let frame = this.engine.handle_timeout(this.plan.engine(), now(), body);
        if let Some(registered) = this.holdings.registered() {
            registered.timed_out(this.engine);
        }
        self.arm(cx);
        frame
    }

    /// Counts a frame that is sent.
    #[inline]
    pub(crate) fn sent(self: Pin<&mut Self>, bytes: usize) {
        let this = self.project();
        this.holdings.sent(bytes, this.engine);
        if this.observer.is_on() {
            let engine = this.engine;
            this.observer.sent(bytes, move || engine.progress(), now);
        }
    }
}
