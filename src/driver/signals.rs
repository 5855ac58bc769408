//! What may have come for a stream since it was last polled: mail, the end, or a time.

use std::borrow::Cow;
use std::pin::Pin;
use std::task::Context;

use bytes::Bytes;

use super::Stream;
use super::early_head::LastWords;
use super::registry::{KICK_GRACE, RegisteredStream, queue_after};
use crate::engine::spread::Retry;
use crate::engine::{BodyState, Close, Command, EndReason, FastPath};
use crate::plan::ShutdownSetting;
use crate::roster::Registration;
use crate::sync::now;

/// What there may be to do for a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent of each other")]
pub(super) struct Signals {
    mail: bool,
    permit: bool,
    shutdown: bool,
    timeout: bool,
}

impl Stream {
    /// What there may be to do before the body is polled.
    pub(super) fn signals(&self) -> Signals {
        let timeout = match self.engine.fast_path() {
            FastPath::Due => true,
            // Outside of a runtime there is no timer, so the clock is read.
            _ if self.timer.is_unarmed() => {
                self.engine.poll_timeout(self.plan.engine()).is_some_and(|at| at <= now())
            }
            _ => self.timer.is_due(),
        };
        Signals {
            mail: self.holdings.has_mail(&self.engine),
            permit: self.holdings.may_be_replaced(),
            shutdown: self.shutdown.as_ref().is_some_and(Registration::is_signalled),
            timeout,
        }
    }

    /// Handles the signals in order, so that a farewell leaves after the mail that came before it.
    #[cold]
    pub(super) fn attend(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        signals: Signals,
    ) -> Option<Bytes> {
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
        self.project().holdings.registered().is_some_and(RegisteredStream::lets_body_speak)
    }

    /// Writes what waits in the mailbox.
    pub(super) fn read_mail(self: Pin<&mut Self>) -> Option<Bytes> {
        let this = self.project();
        this.holdings.registered()?.read_mail(this.engine, this.plan.engine())
    }

    /// Has a frame leave after the one that is sent first.
    pub(super) fn queue_after(
        self: Pin<&mut Self>,
        first: &mut Option<Bytes>,
        frame: Option<Bytes>,
    ) {
        let this = self.project();
        queue_after(first, frame, this.engine, this.plan.engine());
    }

    /// Ends the stream if a newer stream replaced it.
    fn close_if_replaced(self: Pin<&mut Self>) -> Option<Bytes> {
        let this = self.project();
        if !this.holdings.take_replaced() {
            return None;
        }
        if let Some(stats) = this.holdings.stats() {
            stats.mark_closing();
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
        let finish_within = this.holdings.finish_within().or(finish_within.of_all);
        let (order, now) = drain.close_order(shutdown, finish_within, farewell.as_ref())?;
        if let Some(stats) = this.holdings.stats() {
            stats.mark_closing();
        }
        this.engine.handle_command(this.plan.engine(), Command::Close { order, now })
    }

    /// Ends the stream with what a body has left that waited for a handler in vain.
    pub(super) fn say_last_words(self: Pin<&mut Self>) -> Option<Bytes> {
        let this = self.project();
        let LastWords { reason, retry, farewell } = *this.holdings.take_last_words()?;
        let settings = this.plan.engine();
        let farewell = match &settings.on_error {
            Some(on_error) if reason.end_reason() == EndReason::Error => on_error.clone(),
            _ => farewell,
        };
        let (now, farewell, retry) = (now(), Cow::Owned(farewell), retry.map(Retry::after));
        let order = Close { reason, farewell, retry, at: now, cut_at: None };
        this.engine.handle_command(settings, Command::Close { order, now })
    }
}
