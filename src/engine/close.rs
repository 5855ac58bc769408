//! How a stream is ended from the server's side.

use std::borrow::Cow;
use std::time::Instant;

use bytes::Bytes;

use super::spread::Retry;
use super::{CloseReason, EndReason, Engine, Farewell, Lane, Phase, Settings};

/// An order to end a stream.
#[derive(Debug)]
pub(crate) struct Close<'a> {
    pub(crate) reason: CloseReason,
    pub(crate) farewell: Cow<'a, Farewell>,
    /// How long the client is to wait before it comes back.
    pub(crate) retry: Option<Retry>,
    /// When to end it; in the middle of a long event, at its end.
    pub(crate) at: Instant,
    /// When to end it even in the middle of a long event, without a farewell.
    pub(crate) cut_at: Option<Instant>,
}

impl Close<'_> {
    /// The order as it is kept until its time.
    fn into_owned(self) -> Close<'static> {
        let farewell = Cow::Owned(self.farewell.into_owned());
        Close { farewell, ..self }
    }

    /// When there is something to do next.
    pub(super) fn next(&self, flowing: bool) -> Option<Instant> {
        if flowing { self.cut_at } else { Some(self.at) }
    }
}

impl<S: AsRef<Settings>> Engine<S> {
    /// Takes the order to end the stream that `order` makes of the settings, with the time; of two
    /// orders the earlier counts, and so does the earlier moment to cut it.
    #[inline]
    pub(crate) fn close(
        &mut self,
        order: impl FnOnce(&S) -> Option<(Close<'_>, Instant)>,
    ) -> Option<Bytes> {
        let (close, now) = order(&self.settings.0)?;
        match self.phase {
            Phase::Over(_) => None,
            // Nothing has to be kept for it.
            Phase::Fresh | Phase::Live if close.at <= now => {
                // By reference: the processor would wait with a copy of what was just written until
                // all writes before it are done, some of them far from here in memory.
                let last_words =
                    self.last_words(&close.farewell, close.reason, close.retry.as_ref());
                let reason = close.reason.end_reason();
                self.over(reason);
                last_words
            }
            _ => {
                let close = close.into_owned();
                self.keep_order(close);
                self.check_close(now)
            }
        }
    }

    /// Keeps an order until its time.
    fn keep_order(&mut self, mut close: Close<'static>) {
        let rare = self.rare();
        if let Some(earlier) = rare.close.take() {
            let cut_at = [earlier.cut_at, close.cut_at].into_iter().flatten().min();
            if earlier.at <= close.at {
                close = *earlier;
            }
            close.cut_at = cut_at;
        }
        rare.close = Some(Box::new(close));
        self.armed = false;
        self.lane = Lane::Scan;
    }

    /// The stream was asked to close, now or at some time.
    pub(crate) fn is_closing(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.close.is_some())
    }

    /// Closes the stream if it is time.
    pub(super) fn check_close(&mut self, now: Instant) -> Option<Bytes> {
        let flowing = match self.phase {
            // One farewell is enough, whatever else was asked.
            Phase::Over(_) => return None,
            phase => phase == Phase::Flowing,
        };
        let rare = self.rare.as_mut()?;
        let close = rare.close.as_ref()?;
        if flowing && close.cut_at.is_some_and(|cut_at| cut_at <= now) {
            self.over(EndReason::Cut);
        } else if flowing {
            rare.close_due = close.at <= now;
        } else if close.at <= now {
            return self.conclude();
        }
        None
    }

    /// Ends the stream on the boundary where it is.
    pub(super) fn conclude(&mut self) -> Option<Bytes> {
        let close = self.rare.as_mut()?.close.take()?;
        self.say_farewell(&close.farewell, close.reason, close.retry.as_ref())
    }

    /// Ends the stream with a farewell; the unfinished tail of an event is dropped.
    pub(super) fn say_farewell(
        &mut self,
        farewell: &Farewell,
        reason: CloseReason,
        retry: Option<&Retry>,
    ) -> Option<Bytes> {
        let last_words = self.last_words(farewell, reason, retry);
        self.over(reason.end_reason());
        last_words
    }

    fn last_words(
        &self,
        farewell: &Farewell,
        reason: CloseReason,
        retry: Option<&Retry>,
    ) -> Option<Bytes> {
        farewell.last_words(reason, retry, self.place(), self.scanner.line_end())
    }
}
