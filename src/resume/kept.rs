//! A stream that is kept: what its task and its readers tell each other.

mod seat;

use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;
use std::time::Duration;

pub(super) use seat::Seat;
use slab::Slab;
use tokio::time::Instant;

use super::head::Head;
use super::mark::Place;
use super::token::Token;
use crate::event_log::{EventLog, Topic};
use crate::sync::lock;
use crate::wire::EventId;

/// A stream that is kept: what its task and its readers tell each other.
#[derive(Debug)]
pub(super) struct Kept<L> {
    pub(super) token: Token,
    pub(super) owner: Box<str>,
    pub(super) head: Head,
    pub(super) log: L,
    pub(super) topic: Topic,
    /// How far the task may be ahead of the slowest reader.
    pub(super) ahead: Place,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// How far the log has come.
    appended: Place,
    readers: Slab<Reader>,
    /// Where the last reader was when it left, and when that was.
    left: (Place, Instant),
    /// The id of the last event.
    last: Option<EventId>,
    /// Where a reader was told last that there was nothing in the log, and how far that had come.
    gone: Option<(EventId, Place)>,
    end: Option<End>,
    /// When a client that has seen all came back last.
    told: Option<Instant>,
    task: Option<Waker>,
    /// The task waits until the readers have taken more.
    cramped: bool,
    /// The end is not in the log, so readers must not wait for it there.
    silent: bool,
}

#[derive(Debug)]
struct Reader {
    taken: Place,
    /// What it began behind, while it is not known how far that is.
    behind: Option<EventId>,
    waker: Option<Waker>,
}

/// How a stream has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// By itself.
    Finished,
    /// Its body failed. What there was of it can be had.
    Failed,
    /// Nobody came back.
    Left,
    /// There is nothing in the log that says so.
    Lost,
}

/// What the task finds.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) room: bool,
    /// When the last reader left, if there is none now.
    pub(super) alone_since: Option<Instant>,
}

impl<L: EventLog> Kept<L> {
    /// A stream of which nothing is in the log.
    pub(super) fn new(
        (token, owner): (Token, Box<str>),
        head: Head,
        (log, topic): (L, Topic),
        ahead: Place,
    ) -> Self {
        let state = State {
            appended: Place::default(),
            readers: Slab::new(),
            left: (Place::default(), Instant::now()),
            last: None,
            gone: None,
            end: None,
            told: None,
            task: None,
            cramped: false,
            silent: false,
        };
        Self { token, owner, head, log, topic, ahead, state: Mutex::new(state) }
    }

    /// Each change is whole between any two statements, so there is nothing to mend after a panic.
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// A reader more, behind `after`; none if it is too late for one.
    pub(super) fn join(self: &Arc<Self>, after: Option<&EventId>) -> Option<Seat<L>> {
        let mut state = self.lock();
        if matches!(state.end, Some(End::Left | End::Lost)) {
            return None;
        }
        let known = match after {
            None => Some(Place::default()),
            Some(after) if Some(after) == state.last.as_ref() => Some(state.appended),
            Some(after) => state.gone.as_ref().filter(|gone| gone.0 == *after).map(|gone| gone.1),
        };
        // Not known before its next event: taken to be as far back as can be.
        let behind = after.filter(|_| known.is_none()).cloned();
        let taken = known.unwrap_or_default();
        let key = state.readers.insert(Reader { taken, behind, waker: None });
        let task = state.task.take();
        drop(state);
        wake(task);
        Some(Seat { kept: Arc::clone(self), key })
    }

    /// Whether a client that comes back with this id has seen the whole of the stream.
    pub(super) fn is_over_at(&self, id: &EventId) -> Option<End> {
        let mut state = self.lock();
        let end = state.end.filter(|_| state.last.as_ref() == Some(id));
        if end.is_some() {
            state.told = Some(Instant::now());
        }
        end
    }

    /// Whether somebody was told of the end within this time.
    pub(super) fn was_told_within(&self, time: Duration) -> bool {
        self.lock().told.is_some_and(|at| at.elapsed() < time)
    }

    /// Whether all that there ever was is still in the log, so that an id that is not there never was.
    pub(super) fn is_whole(&self) -> bool {
        let appended = self.lock().appended;
        appended.events <= self.ahead.events && appended.bytes <= self.ahead.bytes
    }

    /// Takes note of an event in the log, the last one of them if it has an id that clients know.
    pub(super) fn appended(&self, place: Place, id: EventId) {
        let mut state = self.lock();
        state.appended = place;
        // A client may have come back with the id before the task knew it.
        for (_, reader) in &mut state.readers {
            if reader.behind.as_ref() == Some(&id) {
                (reader.taken, reader.behind) = (place, None);
            }
        }
        state.last = Some(id);
    }

    /// Takes note of the end, and says whether it is the first.
    pub(super) fn end(&self, end: End) -> bool {
        let mut state = self.lock();
        let first = state.end.is_none() || state.end == Some(End::Left) && end == End::Left;
        state.end = state.end.or(Some(end));
        first
    }

    pub(super) fn has_ended(&self) -> bool {
        self.lock().end.is_some()
    }

    /// The id of the last event of a stream that said how it ended, or tried to.
    pub(super) fn last_of_all(&self) -> Option<EventId> {
        let state = self.lock();
        let said = matches!(state.end, Some(End::Finished | End::Failed));
        state.last.clone().filter(|_| said)
    }

    /// Ends the readers that would wait for the end in the log.
    pub(super) fn silence(&self) {
        let mut state = self.lock();
        state.silent = true;
        let readers = state.readers.iter_mut();
        let wakers: Vec<_> = readers.filter_map(|(_, reader)| reader.waker.take()).collect();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// What the task finds. It is woken when that changes.
    pub(super) fn look(&self, waker: &Waker) -> Look {
        let waker = waker.clone();
        let mut state = self.lock();
        let room = state.has_room(self.ahead);
        state.cramped = !room;
        let known = state.task.replace(waker);
        let alone_since = state.readers.is_empty().then_some(state.left.1);
        drop(state);
        drop(known);
        Look { room, alone_since }
    }

    /// Ends it if there is no reader, and was none since then: one may have come and gone meanwhile.
    pub(super) fn leave_alone(&self, since: Instant) -> bool {
        let mut state = self.lock();
        let alone = state.readers.is_empty() && state.left.1 == since;
        if alone {
            state.end = Some(End::Left);
        }
        alone
    }
}

impl State {
    fn has_room(&self, ahead: Place) -> bool {
        let slowest = self.readers.iter().map(|(_, reader)| reader.taken);
        let taken = slowest.min_by_key(|it| it.events).unwrap_or(self.left.0);
        let Place { events, bytes } = self.appended;
        events.saturating_sub(taken.events) < ahead.events
            && bytes.saturating_sub(taken.bytes) < ahead.bytes
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::event_log::MemoryLog;
    use crate::resume::token::Part;

    /// The task looks, and gives the stream up a moment later: on another thread a client may come back
    /// in between, and lose its connection at once.
    #[tokio::test(start_paused = true)]
    async fn who_comes_and_goes_while_a_stream_is_given_up_has_its_linger() {
        let token = Token::random().unwrap();
        let topic = token.topic("ann", Part::Events).unwrap();
        let head = Head::of(&http::Response::new(()).into_parts().0);
        let ahead = Place { events: 1, bytes: 1 };
        let kept = Kept::new((token, "ann".into()), head, (MemoryLog::new(), topic), ahead);
        let kept = Arc::new(kept);
        drop(kept.join(None));
        let look = || kept.look(Waker::noop()).alone_since.unwrap();
        let since = look();
        tokio::time::advance(Duration::from_secs(30)).await;
        drop(kept.join(None));
        assert!(!kept.leave_alone(since) && kept.join(None).is_some());
        assert!(kept.leave_alone(look()) && kept.join(None).is_none());
    }
}
