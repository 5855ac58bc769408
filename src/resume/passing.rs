//! What a session that cannot be resumed any more passes to the readers that are there.
//!
//! An event that is longer than the buffer, or that the log never takes, is no reason to end a
//! stream that would have come through without the layer. From that event on the pump passes the
//! body's chunks to the readers that are there, beside the log, and nobody comes back. It passes
//! the next chunk when all of them have taken the last one, so that one chunk is held.

use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;

use super::reader::ReaderHandle;
use super::session::{Session, SessionState};
use crate::event_log::EventLog;
use crate::sync::{now, replace_waker};

/// The chunk that the readers are passed.
#[derive(Debug, Default)]
pub(super) struct Passing {
    chunk: Bytes,
    /// How many there were, this one included.
    number: u64,
    is_over: bool,
}

/// Whether the pump can pass a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PassState {
    Ready,
    /// A reader has not taken the last chunk. If another one has, this is since when it waits.
    Waiting(Option<Instant>),
    NoReaders,
}

impl<L: EventLog> Session<L> {
    /// Gives up resuming: the readers that are there are passed chunks after all that is in the log.
    pub(super) fn begin_passing(&self) -> PassState {
        let mut state = self.lock();
        if state.readers.is_empty() {
            return PassState::NoReaders;
        }
        state.passing = Some(Passing::default());
        drop(state);
        self.wake_readers();
        PassState::Ready
    }

    pub(super) fn is_passing(&self) -> bool {
        self.lock().passing.is_some()
    }

    /// Whether all readers have taken the last chunk. The pump is woken when that changes.
    pub(super) fn pass_state(&self, cx: &mut Context<'_>) -> PassState {
        replace_waker(&self.state, cx.waker(), |state| {
            let pass_state = state.pass_state();
            (Some(&mut state.pump), pass_state)
        })
    }

    /// Passes a chunk, or the end.
    pub(super) fn pass(&self, chunk: Option<Bytes>) {
        let mut state = self.lock();
        if let Some(passing) = &mut state.passing {
            match chunk {
                Some(chunk) => (passing.chunk, passing.number) = (chunk, passing.number + 1),
                None => passing.is_over = true,
            }
        }
        drop(state);
        self.wake_readers();
    }

    /// Cuts off the readers that have not taken the last chunk.
    pub(super) fn cut_off_stalled(&self) {
        let mut state = self.lock();
        let number = state.passing.as_ref().map(|passing| passing.number);
        state.readers.retain(|_, reader| Some(reader.passed) == number);
        drop(state);
        self.wake_readers();
    }
}

impl SessionState {
    fn pass_state(&self) -> PassState {
        let Some(passing) = &self.passing else {
            return PassState::NoReaders;
        };
        let behind = self.readers.iter().filter(|(_, reader)| reader.passed < passing.number);
        match behind.count() {
            _ if self.readers.is_empty() => PassState::NoReaders,
            0 => PassState::Ready,
            behind if behind == self.readers.len() => PassState::Waiting(None),
            _ => {
                let readers = self.readers.iter().map(|(_, reader)| reader);
                let taken = readers.filter(|reader| reader.passed == passing.number);
                PassState::Waiting(taken.map(|reader| reader.took_at).min())
            }
        }
    }
}

impl<L: EventLog> ReaderHandle<L> {
    /// Whether what follows is passed beside the log: the reader has all that is in it.
    pub(super) fn is_passed(&self) -> bool {
        let state = self.session.lock();
        let is_done = |taken: u64| taken >= state.written.events;
        let reader = state.readers.get(self.key);
        state.passing.is_some() && reader.is_none_or(|reader| is_done(reader.taken.events))
    }

    /// Polls for the next chunk. It fails if the reader was cut off.
    pub(super) fn poll_passed(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, CutOff>>> {
        let waker = cx.waker().clone();
        let mut guard = self.session.lock();
        let state = &mut *guard;
        let (Some(passing), Some(reader)) = (&state.passing, state.readers.get_mut(self.key))
        else {
            return Poll::Ready(Some(Err(CutOff)));
        };
        if reader.passed == passing.number {
            let unused = reader.waker.replace(waker);
            let is_over = passing.is_over;
            drop(guard);
            drop(unused);
            return if is_over { Poll::Ready(None) } else { Poll::Pending };
        }
        (reader.passed, reader.took_at) = (passing.number, now());
        let chunk = passing.chunk.clone();
        let pump = state.pump.take();
        drop(guard);
        super::session::wake(pump);
        Poll::Ready(Some(Ok(chunk)))
    }
}

/// A reader that took nothing while others did.
#[derive(Clone, Copy, Debug)]
pub(super) struct CutOff;
