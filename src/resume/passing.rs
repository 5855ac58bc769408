//! What a session that cannot be resumed any more passes to the readers that are there.
//!
//! An event that is longer than the buffer, or that the log never takes, is no reason to end a
//! stream that would have come through without the layer. From that event on the pump passes the
//! body's chunks to the readers that are there, beside the log, and nobody comes back. It passes
//! the next chunk when all of them have taken the last one, so that one chunk is held.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::Body;

use super::pump::Pump;
use super::reader::ReaderHandle;
use super::record::{RecordKind, SessionEnd};
use super::session::{Passing, Session, SessionState};
use crate::event_log::EventLog;
use crate::observe;
use crate::sync::{now, replace_waker, wake_all};
use crate::wire::Event;

/// Whether the pump can pass a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PassState {
    Ready,
    /// A reader has not taken the last chunk. If another one has, this is since when it waits.
    Waiting(Option<Instant>),
    NoReaders,
}

impl<L: EventLog> Session<L> {
    /// Gives up resuming: the readers that are there are passed chunks after all that is in the
    /// log.
    fn begin_passing(&self) -> PassState {
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
    fn pass_state(&self, cx: &mut Context<'_>) -> PassState {
        replace_waker(&self.state, cx.waker(), |state| {
            let pass_state = state.pass_state();
            (Some(&mut state.pump), pass_state)
        })
    }

    /// Passes a chunk, or the end.
    fn pass(&self, chunk: Option<Bytes>) {
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
    fn cut_off_stalled(&self) {
        let mut state = self.lock();
        let number = state.passing.as_ref().map(|passing| passing.number);
        let stalled = state.readers.iter().filter(|(_, reader)| Some(reader.passed) != number);
        let stalled: Vec<_> = stalled.map(|(key, _)| key).collect();
        let cut_off: Vec<_> =
            stalled.into_iter().filter_map(|key| state.readers.try_remove(key)).collect();
        drop(state);
        // After the lock is released: wakers are foreign code.
        wake_all(cut_off.into_iter().filter_map(|reader| reader.waker));
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
        wake_all(pump);
        Poll::Ready(Some(Ok(chunk)))
    }
}

impl<L: EventLog> Pump<L> {
    /// Passes the rest of the body to the readers that are there.
    pub(super) async fn pass_on<B: Body<Data = Bytes>>(
        &mut self,
        begin: [Bytes; 2],
        mut skips_lf: bool,
        mut inner: Pin<&mut B>,
    ) -> Result<(), SessionEnd> {
        let [begin, mut chunk] = begin;
        observe::not_resumable("event_too_long");
        if self.session.begin_passing() == PassState::NoReaders {
            return Err(SessionEnd::Failed);
        }
        // Nobody comes back.
        self.linger = Duration::ZERO;
        if self.nodes.is_some() {
            // Clients of other nodes wait for no more.
            self.owes_end = self.write_end(RecordKind::Abandoned).await.is_err();
        }
        self.pass(begin).await?;
        loop {
            if !chunk.is_empty() {
                let lf = std::mem::take(&mut skips_lf) && chunk.starts_with(b"\n");
                self.pass(chunk.slice(usize::from(lf)..)).await?;
            }
            tokio::task::consume_budget().await;
            chunk = match poll_fn(|cx| self.poll_chunk(inner.as_mut(), cx)).await? {
                Some(chunk) => chunk,
                None => return Ok(()),
            };
        }
    }

    /// Passes a chunk when all readers have taken the last one.
    async fn pass(&mut self, chunk: Bytes) -> Result<(), SessionEnd> {
        poll_fn(|cx| self.poll_passed(cx)).await?;
        if !chunk.is_empty() {
            self.session.pass(Some(chunk));
        }
        Ok(())
    }

    /// Passes the last events and the end.
    pub(super) async fn end_passing(&mut self, last: &[Event]) {
        for event in last {
            let _ = self.pass(event.encode()).await;
        }
        self.session.pass(None);
    }

    /// Waits until all readers have taken the last chunk. One that takes nothing for the linger
    /// while another does is cut off.
    fn poll_passed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SessionEnd>> {
        loop {
            match self.session.pass_state(cx) {
                PassState::Ready => return Poll::Ready(Ok(())),
                PassState::NoReaders => return Poll::Ready(Err(SessionEnd::Abandoned)),
                PassState::Waiting(None) => return Poll::Pending,
                PassState::Waiting(Some(since)) => {
                    let Some(at) = since.checked_add(self.session.timing.linger) else {
                        return Poll::Pending;
                    };
                    ready!(self.stalled.poll_until(at, cx));
                    self.session.cut_off_stalled();
                }
            }
        }
    }
}

/// A reader that took nothing while others did.
#[derive(Clone, Copy, Debug)]
pub(super) struct CutOff;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Weak};
    use std::task::{Wake, Waker};

    use super::*;
    use crate::event_log::MemoryLog;
    use crate::resume::reader::ReaderStart;

    /// A waker of a foreign executor, whose drop drops its task, and that a body.
    struct OfTask(Weak<Session<MemoryLog>>, Arc<AtomicUsize>);

    impl Wake for OfTask {
        fn wake(self: Arc<Self>) {}
    }

    impl Drop for OfTask {
        fn drop(&mut self) {
            if self.0.upgrade().is_some_and(|session| session.state.try_lock().is_ok()) {
                self.1.fetch_add(1, Ordering::SeqCst);
            }
        }
    }

    #[test]
    fn the_waker_of_a_reader_that_is_cut_off_is_dropped_under_no_lock() {
        let (session, dropped) = (Session::example(), Arc::<AtomicUsize>::default());
        let reader = session.add_reader(ReaderStart::Beginning).unwrap();
        session.begin_passing();
        session.pass(Some(Bytes::from_static(b"x")));
        let waker: Waker = Arc::new(OfTask(Arc::downgrade(&session), Arc::clone(&dropped))).into();
        // It waits for what is in the log.
        assert!(!reader.is_lost(&waker));
        drop(waker);
        session.cut_off_stalled();
        assert_eq!((session.lock().readers.len(), dropped.load(Ordering::SeqCst)), (0, 1));
    }
}
