//! Following topics of a log in NATS: from the window, or from fetched batches.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::NatsHandle;
use super::fetch::{FetchRequest, FetchedEvents, fetch};
use super::window::NatsLookup;
use crate::event_log::ids::parse_position;
use crate::event_log::wake_list::{Ticket, look_or_register};
use crate::event_log::{Follow, Gap, Logged, Start, Step, Topics};
use crate::wire::EventId;

/// Follows topics of a [`NatsLog`](super::NatsLog).
///
/// It is a position and a waker, and a batch of events while it is behind the window.
pub struct NatsFollower {
    log: Arc<NatsHandle>,
    topics: Topics,
    generation: u64,
    epoch: u64,
    /// The follower has returned all events up to this.
    position: u64,
    /// The sequence of the last event that was returned, or of the position that the follower
    /// started at. Zero for none.
    delivered: u64,
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
    Fetched { gap: Option<Gap>, events: VecDeque<(u64, Logged)>, position: u64 },
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
        let mut window = log.inner.window();
        window.add_follower(&topics);
        let (generation, epoch, known) = (window.generation, window.epoch, window.known);
        let (mut position, mut delivered, mut request) = (known, 0, None);
        match &from {
            Start::Live => {}
            Start::Earliest => request = Some(FetchRequest::Earliest),
            Start::Unknown => request = Some(FetchRequest::Unknown(from)),
            Start::After(id) => match parse_position(id) {
                Some((of, of_id)) if of == epoch => {
                    (position, delivered) = (of_id, of_id);
                    // An id that is not known here may be one that another node has given out.
                    request = (of_id > known).then_some(FetchRequest::After {
                        generation,
                        position,
                        requested: from,
                    });
                }
                _ => request = Some(FetchRequest::Unknown(from)),
            },
        }
        let replays_all =
            matches!(request, Some(FetchRequest::Earliest | FetchRequest::Unknown(_)));
        let seeks_ends = !replays_all && window.may_be_finished(&topics, position);
        let seeks_ends = seeks_ends.then_some(position);
        drop(window);
        let catch_up = request.map(|request| Box::new(CatchUp::Requested(request)));
        let ticket = Ticket::default();
        Self { log, topics, generation, epoch, position, delivered, seeks_ends, ticket, catch_up }
    }

    /// The position of the follower, as far as its client knows.
    fn delivered(&self) -> Start {
        match self.delivered {
            0 => Start::Live,
            delivered => Start::After(EventId::with_epoch(self.epoch, delivered)),
        }
    }

    /// Notes that an event is returned.
    fn step(&mut self, sequence: u64, event: Logged) -> Step {
        // A topic may be finished before the position, and then that stays.
        if sequence > self.position || !event.finishes_topic() {
            (self.position, self.delivered) = (sequence, sequence);
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
        let (topics, generation) = (&self.topics, self.generation);
        let found = look_or_register(
            || self.log.inner.window(),
            |window| window.wakers(topics),
            &mut self.ticket,
            waker,
            |window| match window.find(topics, generation, self.position) {
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
                None if this.seeks_ends.is_some() => {
                    let (generation, next) = (this.generation, this.position);
                    let request = this.seeks_ends.take();
                    let request =
                        request.map(|up_to| FetchRequest::Ends { generation, up_to, next });
                    this.catch_up = request.map(|it| Box::new(CatchUp::Requested(it)));
                }
                None => match ready!(this.poll_window(cx.waker())) {
                    NatsLookup::Event(sequence, event) => {
                        return Poll::Ready(Some(this.step(sequence, event)));
                    }
                    NatsLookup::Reset | NatsLookup::Behind | NatsLookup::Nothing(_) => {
                        let request = FetchRequest::After {
                            generation: this.generation,
                            position: this.position,
                            requested: this.delivered(),
                        };
                        this.catch_up = Some(Box::new(CatchUp::Requested(request)));
                    }
                },
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
                    let FetchedEvents { generation, epoch, gap, events, position } = fetched;
                    if this.generation != generation {
                        // No event of the new stream was returned yet.
                        (this.generation, this.epoch, this.delivered) = (generation, epoch, 0);
                    }
                    this.catch_up = Some(Box::new(CatchUp::Fetched { gap, events, position }));
                }
                Some(CatchUp::Fetched { gap, events, position }) => {
                    if let Some(gap) = gap.take() {
                        return Poll::Ready(Some(Step::Gap(gap)));
                    }
                    if let Some((sequence, event)) = events.pop_front() {
                        return Poll::Ready(Some(this.step(sequence, event)));
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
        let mut window = self.log.inner.window();
        let waker = window.remove_follower(&self.topics, &mut self.ticket);
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
