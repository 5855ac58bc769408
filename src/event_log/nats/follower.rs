//! Following topics of a log in NATS: from the window, or from fetched batches.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::vec;

use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::NatsHandle;
use super::batch::NatsEvent;
use super::fetch::{FetchRequest, FetchedEvents, fetch};
use super::ids::NatsPosition;
use super::start::{NatsStart, StartPosition};
use super::window::NatsLookup;
use crate::event_log::wake_list::{Ticket, look_or_register};
use crate::event_log::{Follow, Gap, Logged, Start, Step, Topics};

/// Follows topics of a [`NatsLog`](super::NatsLog).
///
/// It is a position and a waker, and a batch of events while it is behind the window.
pub struct NatsFollower {
    log: Arc<NatsHandle>,
    topics: Topics,
    /// The key of its group in the window; `None` if it does not wait.
    group: Option<usize>,
    generation: u64,
    /// The follower has returned all events up to this.
    position: u64,
    /// The last event that was returned, or the position that the follower started at.
    delivered: Option<NatsPosition>,
    /// The position that the follower started at, while the server is still to be asked for topics
    /// that are finished up to there.
    seeks_ends: Option<u64>,
    ticket: Ticket,
    /// What is fetched, while the follower is behind the window.
    catch_up: Option<Box<CatchUp>>,
}

enum CatchUp {
    Requested(FetchRequest),
    Fetching(FetchTask),
    Fetched { gap: Option<Gap>, events: vec::IntoIter<NatsEvent>, position: u64 },
}

struct FetchTask {
    answer: oneshot::Receiver<FetchedEvents>,
    task: AbortHandle,
}

impl Drop for FetchTask {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl NatsFollower {
    pub(super) fn new(log: Arc<NatsHandle>, topics: Topics, from: Start) -> Self {
        let mut follower = Self::looking(log, topics, from);
        let group = follower.log.inner.window().add_follower(&follower.topics);
        follower.group = Some(group);
        follower
    }

    /// A follower that ends when it has returned what there is. The log does not know of it.
    pub(super) fn looking(log: Arc<NatsHandle>, topics: Topics, from: Start) -> Self {
        let window = log.inner.window();
        let NatsStart { generation, position, request } = NatsStart::new(&window, from);
        let (position, delivered) = match position {
            StartPosition::Live(position) => (Some(position), None),
            StartPosition::After(position) => (Some(position.sequence()), Some(position)),
            StartPosition::First => (None, None),
        };
        let seeks_ends = position.filter(|position| window.may_be_finished(&topics, *position));
        drop(window);
        let position = position.unwrap_or_default();
        let catch_up = request.map(|request| Box::new(CatchUp::Requested(request)));
        let (group, ticket) = (None, Ticket::default());
        Self { log, topics, group, generation, position, delivered, seeks_ends, ticket, catch_up }
    }

    /// The position of the follower, as far as its client knows.
    fn delivered(&self) -> Start {
        self.delivered.map_or(Start::Live, |position| Start::After(position.id()))
    }

    /// Notes that an event is returned.
    fn step(&mut self, at: NatsPosition, event: Logged) -> Step {
        // A topic may be finished before the position, and then that stays.
        if at.sequence() > self.position || !event.finishes_topic() {
            (self.position, self.delivered) = (at.sequence(), Some(at));
        }
        Step::Event(event)
    }

    fn spawn_fetch(&self, request: FetchRequest) -> FetchTask {
        let inner = &self.log.inner;
        let (send, answer) = oneshot::channel();
        let fetch = fetch(Arc::clone(inner), self.topics.clone(), request);
        let task = inner.runtime.spawn(async move {
            let _ = send.send(fetch.await);
        });
        FetchTask { answer, task: task.abort_handle() }
    }

    /// Looks for the next event in the window, and has the task woken by it if there is none.
    fn poll_window(&mut self, waker: &Waker) -> Poll<NatsLookup> {
        let generation = self.generation;
        let Some(group) = self.group else {
            let window = self.log.inner.window();
            return Poll::Ready(window.look(&self.topics, generation, self.position));
        };
        let found = look_or_register(
            || self.log.inner.window(),
            |window| window.wakers(group),
            &mut self.ticket,
            waker,
            |window| match window.find(group, generation, self.position) {
                NatsLookup::Nothing(position) => {
                    self.position = position;
                    None
                }
                found => Some(found),
            },
        );
        found.map_or(Poll::Pending, Poll::Ready)
    }
}

impl Follow for NatsFollower {
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Step>> {
        let this = &mut *self;
        loop {
            match this.catch_up.as_deref_mut() {
                None => {
                    let (generation, position) = (this.generation, this.position);
                    let request = match this.seeks_ends.take() {
                        Some(up_to) => FetchRequest::Ends { generation, up_to, next: position },
                        None => match ready!(this.poll_window(cx.waker())) {
                            NatsLookup::Event(at, event) => {
                                return Poll::Ready(Some(this.step(at, event)));
                            }
                            NatsLookup::Nothing(_) | NatsLookup::Ended => return Poll::Ready(None),
                            NatsLookup::Reset | NatsLookup::Behind => {
                                let (slot, requested) = (None, this.delivered());
                                FetchRequest::After { generation, position, slot, requested }
                            }
                        },
                    };
                    this.catch_up = Some(Box::new(CatchUp::Requested(request)));
                }
                Some(CatchUp::Requested(request)) => {
                    let request = request.clone();
                    let task = this.spawn_fetch(request);
                    this.catch_up = Some(Box::new(CatchUp::Fetching(task)));
                }
                Some(CatchUp::Fetching(task)) => {
                    let Ok(fetched) = ready!(Pin::new(&mut task.answer).poll(cx)) else {
                        // The runtime is being shut down.
                        return Poll::Ready(None);
                    };
                    let FetchedEvents { generation, gap, events, position } = fetched;
                    if this.generation != generation {
                        (this.generation, this.position, this.delivered) = (generation, 0, None);
                    }
                    // After a gap comes all that there is, and so do these.
                    this.seeks_ends = this.seeks_ends.filter(|_| gap.is_none());
                    let events = events.into_iter();
                    this.catch_up = Some(Box::new(CatchUp::Fetched { gap, events, position }));
                }
                Some(CatchUp::Fetched { gap, events, position }) => {
                    if let Some(gap) = gap.take() {
                        return Poll::Ready(Some(Step::Gap(gap)));
                    }
                    if let Some((at, event)) = events.next() {
                        return Poll::Ready(Some(this.step(at, event)));
                    }
                    this.position = *position;
                    this.catch_up = None;
                }
            }
        }
    }
}

impl Drop for NatsFollower {
    fn drop(&mut self) {
        let Some(group) = self.group else {
            return;
        };
        let mut window = self.log.inner.window();
        let waker = window.remove_follower(group, &mut self.ticket);
        drop(window);
        // After the lock: a waker's drop is foreign code.
        drop(waker);
    }
}

impl fmt::Debug for NatsFollower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsFollower").field("topics", &self.topics).finish_non_exhaustive()
    }
}
