//! A reader's place at a stream that is kept.

use std::sync::Arc;
use std::task::Waker;

use tokio::time::Instant;

use super::{Kept, Place, wake};
use crate::event_log::EventLog;
use crate::wire::EventId;

/// A reader's place at a stream.
#[derive(Debug)]
pub(crate) struct Seat<L: EventLog> {
    pub(crate) kept: Arc<Kept<L>>,
    pub(super) key: usize,
}

impl<L: EventLog> Seat<L> {
    /// Takes note of how far the reader has come.
    pub(crate) fn took(&self, place: Place) {
        let mut state = self.kept.lock();
        if let Some(reader) = state.readers.get_mut(self.key) {
            (reader.taken, reader.behind) = (place, None);
        }
        let task = match state.cramped && state.has_room(self.kept.ahead) {
            true => state.task.take(),
            false => None,
        };
        drop(state);
        wake(task);
    }

    /// Takes note that the log had nothing for the reader, who is told to come back to `place`.
    pub(crate) fn took_all(&self, place: &EventId) {
        let appended = {
            let mut state = self.kept.lock();
            state.gone = Some((place.clone(), state.appended));
            state.appended
        };
        self.took(appended);
    }

    /// Has the reader woken when the stream ends without a word in the log, and says whether it has.
    pub(crate) fn wait(&self, waker: &Waker) -> bool {
        // Cloned, and dropped, outside of the lock: that is somebody else's code.
        let waker = waker.clone();
        let mut state = self.kept.lock();
        let lost = state.silent;
        let reader = state.readers.get_mut(self.key);
        let known = reader.and_then(|reader| reader.waker.replace(waker));
        drop(state);
        drop(known);
        lost
    }
}

impl<L: EventLog> Drop for Seat<L> {
    fn drop(&mut self) {
        let mut state = self.kept.lock();
        let reader = state.readers.try_remove(self.key);
        if let Some(reader) = reader.as_ref().filter(|_| state.readers.is_empty()) {
            state.left = (reader.taken, Instant::now());
        }
        let task = state.task.take();
        drop(state);
        drop(reader);
        wake(task);
    }
}
