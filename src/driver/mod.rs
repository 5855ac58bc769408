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
mod link;
mod registry;
mod timer;

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use pin_project_lite::pin_project;
use tokio::runtime::Handle;

pub(crate) use claim::Claim;
pub(crate) use deferred::{Answer, Deferred, trailers};
pub(crate) use early_head::EarlyHeadLink;
use early_head::LastWords;
use link::Opening;
pub(crate) use link::{Around, Done, Registrations, StreamLink};
use registry::{KICK_GRACE, RegisteredStream, queue_after};
use timer::Timer;

use crate::engine::spread::Retry;
pub(crate) use crate::engine::{BodyEnd, FastPath, Framing, Output, PassOn, Protocol};
use crate::engine::{BodyState, Close, Command, EndReason, Engine};
use crate::observe::StreamObserver;
use crate::plan::{ResolvedPlan, ShutdownSetting};
use crate::roster::Registration;
use crate::state::{Drain, DrainStatus, Expiry, Permit, connection_failed_just_now};
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
        places: Option<Box<Places>>,
        shutdown: Option<Registration<DrainStatus>>,
        observer: StreamObserver,
    }

    impl PinnedDrop for Stream {
        fn drop(this: Pin<&mut Self>) {
            this.leave();
        }
    }
}

/// What there may be to do for a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent of each other")]
struct Signals {
    mail: bool,
    permit: bool,
    shutdown: bool,
    timeout: bool,
}

/// State that many streams do not have. It is boxed, so that these streams pay for one pointer.
#[derive(Debug, Default)]
struct Places {
    registered: Option<RegisteredStream>,
    /// Apart, since streams that are in a registry rarely have one.
    permit: Option<Box<Permit>>,
    /// Kept as long as outer layers may ask for it.
    link: Option<Arc<StreamLink>>,
    of_request: Option<Box<OfRequest>>,
}

/// What a stream has of its request, and few streams do.
#[derive(Debug, Default)]
struct OfRequest {
    /// For how long the stream may go on after a drain has begun, in place of what holds for all.
    finish_within: Option<Duration>,
    /// The body may end with words that this stream has to say.
    early_head: Option<Arc<EarlyHeadLink>>,
}

impl OfRequest {
    fn boxed(self) -> Option<Box<Self>> {
        let is_any = self.finish_within.is_some() || self.early_head.is_some();
        is_any.then(|| Box::new(self))
    }
}

impl Places {
    fn is_empty(&self) -> bool {
        let Self { registered, permit, link, of_request } = self;
        registered.is_none() && permit.is_none() && link.is_none() && of_request.is_none()
    }

    /// Whether there may be mail that can be written.
    #[inline]
    fn has_mail(&self, engine: &Engine) -> bool {
        self.registered.as_ref().is_some_and(|registered| registered.has_mail(engine))
    }

    /// Counts a frame that is sent, and gives back what is held until the last one.
    #[inline(never)]
    fn sent(&mut self, bytes: usize, engine: &mut Engine) {
        if let Some(registered) = &mut self.registered {
            registered.sent(bytes, engine);
        }
        let is_held = self.permit.is_some() || self.link.is_some();
        if is_held && engine.ended().is_some() {
            // A client that learns of the end from this frame may come back before the body is
            // dropped.
            (self.permit, self.link) = (None, None);
        }
    }

    /// Whether a newer stream may have replaced this one.
    #[inline]
    fn is_replaced(&self) -> bool {
        self.permit.as_ref().is_some_and(|permit| permit.is_signalled())
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
            places: None,
            shutdown: None,
            observer: StreamObserver::off(),
        }
    }

    /// The link that outer layers share with this stream, as long as they may ask for it.
    pub(crate) fn link(&self) -> Option<&Arc<StreamLink>> {
        self.timer.link().or_else(|| self.places.as_ref()?.link.as_ref())
    }

    /// How a chunk may [pass](Self::pass), if the body can be asked at once.
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

    /// What is to be sent before the body is asked for more. Nothing if the stream is
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
        let timeout = match this.engine.fast_path() {
            FastPath::Due => true,
            // Outside of a runtime there is no timer, so the clock is read.
            _ if this.timer.is_unarmed() => {
                this.engine.poll_timeout(settings).is_some_and(|at| at <= now())
            }
            _ => this.timer.is_due(),
        };
        let places = this.places.as_deref();
        let signals = Signals {
            mail: places.is_some_and(|places| places.has_mail(this.engine)),
            permit: places.is_some_and(Places::is_replaced),
            shutdown: this.shutdown.as_ref().is_some_and(Registration::is_signalled),
            timeout,
        };
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

    /// Whether nothing is to be sent or done before the body is asked for more.
    #[inline]
    pub(crate) fn is_quiet(&self) -> bool {
        self.engine.fast_path().is_quiet()
            && self.timer.is_quiet()
            && !self.shutdown.as_ref().is_some_and(Registration::is_signalled)
            && self
                .places
                .as_ref()
                .is_none_or(|places| !places.has_mail(&self.engine) && !places.is_replaced())
    }

    /// Handles the signals in order, so that a farewell leaves after the mail that came before it.
    #[cold]
    fn attend(mut self: Pin<&mut Self>, cx: &mut Context<'_>, signals: Signals) -> Option<Bytes> {
        let Signals { mail, permit, shutdown, timeout } = signals;
        // Signals take the waker out, so it has to be registered again.
        *self.as_mut().project().waker = None;
        let ends = permit || shutdown || timeout;
        let mut first = None;
        if mail && (ends || !self.as_mut().lets_body_speak()) {
            first = self.as_mut().read_mail();
        }
        if permit {
            let farewell = self.as_mut().close_if_replaced();
            self.as_mut().queue_after(&mut first, farewell);
        }
        if shutdown {
            let farewell = self.as_mut().close_if_drained();
            self.as_mut().queue_after(&mut first, farewell);
        }
        if timeout {
            let frame = self.as_mut().handle_timeout(cx, BodyState::Unknown);
            self.queue_after(&mut first, frame);
        } else if ends || !self.engine.accepts_events() {
            // An order to close may have been kept, by mail, too.
            self.arm(cx);
        }
        first
    }

    fn lets_body_speak(self: Pin<&mut Self>) -> bool {
        registered(self.project().places).is_some_and(RegisteredStream::lets_body_speak)
    }

    fn read_mail(self: Pin<&mut Self>) -> Option<Bytes> {
        let this = self.project();
        registered(this.places)?.read_mail(this.engine, this.plan.engine())
    }

    /// Has a frame leave after the one that is sent first.
    fn queue_after(self: Pin<&mut Self>, first: &mut Option<Bytes>, frame: Option<Bytes>) {
        let this = self.project();
        queue_after(first, frame, this.engine, this.plan.engine());
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
        let Opening { plan, registrations, observer, expiry } = link.open();
        let Registrations { registry, shutdown, permit, finish_within, early_head } = registrations;
        if let Some(early_head) = &early_head {
            early_head.hear();
        }
        let link = Some(link).filter(|link| Arc::weak_count(link) > 0);
        let registered = registry.map(RegisteredStream::new);
        if let (Some(registered), Some(closing)) = (&registered, plan.closing()) {
            registered.stats.set_drain(&closing.drain);
        }
        let places = Places {
            registered,
            permit: permit.map(Box::new),
            link,
            of_request: OfRequest { finish_within, early_head }.boxed(),
        };
        *this.places = (!places.is_empty()).then(|| Box::new(places));
        (*this.plan, *this.shutdown, *this.observer) = (plan, shutdown, observer);
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
        let this = self.project();
        let (frame, pass_on) = this.engine.handle_end(this.plan.engine(), end);
        queue_after(&mut first, frame, this.engine, this.plan.engine());
        (first, pass_on)
    }

    /// Ends the stream with what a body has left that waited for a handler in vain.
    fn say_last_words(self: Pin<&mut Self>) -> Option<Bytes> {
        let this = self.project();
        let of_request = this.places.as_ref()?.of_request.as_ref()?;
        let LastWords { reason, retry, farewell } =
            *of_request.early_head.as_ref()?.take_words()?;
        let settings = this.plan.engine();
        let farewell = match &settings.on_error {
            Some(on_error) if reason.end_reason() == EndReason::Error => on_error.clone(),
            _ => farewell,
        };
        let (now, farewell, retry) = (now(), Cow::Owned(farewell), retry.map(Retry::after));
        let order = Close { reason, farewell, retry, at: now, cut_at: None };
        this.engine.handle_command(settings, Command::Close { order, now })
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
        if let Some(registered) = registered(this.places) {
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
        let places = this.places.as_deref();
        let registered = places.and_then(|places| places.registered.as_ref());
        let permit = places.and_then(|places| places.permit.as_ref());
        let missed = registered.is_some_and(|it| it.registration.register(waker))
            | permit.is_some_and(|permit| permit.register(waker))
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
        if let Some(registered) = registered(this.places) {
            registered.timed_out(this.engine);
        }
        self.arm(cx);
        frame
    }

    /// Ends the stream if a newer stream replaced it.
    fn close_if_replaced(self: Pin<&mut Self>) -> Option<Bytes> {
        let this = self.project();
        let places = this.places.as_deref_mut()?;
        if !places.permit.as_mut()?.take_replaced() {
            return None;
        }
        if let Some(registered) = &places.registered {
            registered.stats.mark_closing();
        }
        let now = now();
        let order = this.plan.limit()?.replace(now, KICK_GRACE);
        this.engine.handle_command(this.plan.engine(), Command::Close { order, now })
    }

    /// Ends the stream if a drain has begun, now or when it is its turn.
    fn close_if_drained(self: Pin<&mut Self>) -> Option<Bytes> {
        let this = self.project();
        let shutdown = this.shutdown.as_mut().filter(|it| it.is_signalled())?;
        let ShutdownSetting { drain, finish_within, farewell, .. } = this.plan.closing()?;
        let of_request = this.places.as_ref().and_then(|places| places.of_request.as_ref());
        let of_request = of_request.and_then(|it| it.finish_within);
        let finish_within = of_request.or(finish_within.of_all);
        let (order, now) = drain.close_order(shutdown, finish_within, farewell.as_ref())?;
        if let Some(registered) = registered(this.places) {
            registered.stats.mark_closing();
        }
        this.engine.handle_command(this.plan.engine(), Command::Close { order, now })
    }

    /// Counts a frame that is sent.
    #[inline]
    pub(crate) fn sent(self: Pin<&mut Self>, bytes: usize) {
        let this = self.project();
        if let Some(places) = this.places.as_deref_mut() {
            places.sent(bytes, this.engine);
        }
        if this.observer.is_on() {
            let engine = this.engine;
            this.observer.sent(bytes, move || engine.progress(), now);
        }
    }

    /// Leaves the lists.
    fn leave(mut self: Pin<&mut Self>) {
        // It may never have been polled, but it is registered.
        self.as_mut().take_opening();
        let reason = self.engine.ended().unwrap_or_else(|| self.lost());
        let this = self.project();
        let Places { registered, permit, link, .. } =
            this.places.take().map(|places| *places).unwrap_or_default();
        // First, so that a client that comes back because of a hook or a drain's report finds the
        // permit free.
        drop((permit, link));
        this.observer.ended(reason, &this.engine.progress(), now);
        if let (Some(registered), Some(setting)) = (registered, this.plan.registry()) {
            let RegisteredStream { registration, stats, .. } = registered;
            setting.registry.unregister(registration, &stats, reason);
        }
        // Last, so that the hooks have run before a drain is over.
        if let (Some(shutdown), Some(closing)) = (this.shutdown.take(), this.plan.closing()) {
            closing.drain.unregister(shutdown, reason);
        }
    }

    /// Why this stream is dropped before its end.
    ///
    /// A server drops a body when its client went away, and also when the connection was given up
    /// because the client took nothing. Without a sign of that, the client is taken to have left.
    fn lost(&self) -> EndReason {
        let now = now();
        let drain = self.plan.closing().map(|closing| &*closing.drain);
        let stalled = connection_failed_just_now(now)
            || drain.is_some_and(|drain| self.is_stalled(drain, now));
        if stalled { EndReason::Stalled } else { EndReason::ClientGone }
    }

    fn is_stalled(&self, drain: &Drain, now: Instant) -> bool {
        // A stream that is polled has ended by then.
        if self.shutdown.is_some() && drain.is_past_deadline(now) {
            return true;
        }
        let Some(limit) = drain.settings.stall_limit else {
            return false;
        };
        let limit = limit.mul_f32(MOST_OF_IT);
        let since = |at: Instant| now.saturating_duration_since(at);
        let registered = self.places.as_ref().and_then(|places| places.registered.as_ref());
        let stats = registered.map(|registered| &registered.stats);
        // On HTTP/2 a body has a task of its own, which learns of the failure a moment later.
        if drain.connection_failed_recently(now)
            && stats.and_then(|stats| stats.unread_for_at_most(now)) >= Some(limit)
        {
            return true;
        }
        let unread = stats.and_then(|stats| stats.unread_for(now));
        let unseen = self.shutdown.as_ref().filter(|it| it.is_signalled());
        let unseen = unseen.and_then(|_| drain.started()).map(since);
        let missed_deadline = self.engine.missed_deadline(self.plan.engine()).map(since);
        [unread, unseen, missed_deadline].into_iter().flatten().max() >= Some(limit)
    }
}

fn registered(places: &mut Option<Box<Places>>) -> Option<&mut RegisteredStream> {
    places.as_mut().and_then(|places| places.registered.as_mut())
}

/// The share of the stall limit for which a stream was kept waiting when its connection is given
/// up: servers poll bodies for some time longer than they can write, until their buffers are full.
const MOST_OF_IT: f32 = 0.75;
