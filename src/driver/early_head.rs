//! What a stream whose head was sent early shares with the body that waits for the handler.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::dialect::Notice;
use crate::engine::{CloseReason, Farewell};
use crate::plan::ResolvedPlan;
use crate::sync::lock;

/// What a stream whose head was sent early shares with the body that waits for the handler, and
/// with layers further in.
#[derive(Debug)]
pub(crate) struct EarlyHeadLink {
    /// What the layers further out carry out, if there are any.
    outer: Option<Arc<ResolvedPlan>>,
    sent: AtomicBool,
    /// A stream around the body says its last words.
    is_heard: AtomicBool,
    words: Mutex<Option<Box<LastWords>>>,
}

impl EarlyHeadLink {
    pub(crate) fn new(outer: Option<Arc<ResolvedPlan>>) -> Self {
        let [sent, is_heard] = [AtomicBool::new(false), AtomicBool::new(false)];
        Self { outer, sent, is_heard, words: Mutex::new(None) }
    }

    /// Notes that the head was sent. It is before the handler answers, in the same task.
    pub(crate) fn mark_sent(&self) {
        self.sent.store(true, Ordering::Release);
    }

    /// What the layers further out have done, if the head was sent.
    pub(crate) fn done_outside(&self) -> Option<&Arc<ResolvedPlan>> {
        self.outer.as_ref().filter(|_| self.sent.load(Ordering::Acquire))
    }

    /// Has the stream around the body say its last words.
    pub(super) fn hear(&self) {
        self.is_heard.store(true, Ordering::Release);
    }

    /// Leaves the last words for the stream around the body. False if there is none.
    pub(crate) fn leave_words(&self, notice: &Notice, farewell: &Farewell) -> bool {
        let is_heard = self.is_heard.load(Ordering::Acquire);
        if is_heard {
            let Notice { reason, retry, .. } = *notice;
            let words = LastWords { reason, retry, farewell: farewell.clone() };
            *lock(&self.words) = Some(Box::new(words));
        }
        is_heard
    }

    /// The last words, when the body is at its end.
    pub(super) fn take_words(&self) -> Option<Box<LastWords>> {
        lock(&self.words).take()
    }
}

/// What a stream ends with, since the handler's answer is no stream.
#[derive(Debug)]
pub(super) struct LastWords {
    pub(super) reason: CloseReason,
    pub(super) retry: Option<Duration>,
    pub(super) farewell: Farewell,
}
