//! Following topics of a log in NATS.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::Inner;
use super::fetch::{Fetched, Wanted, fetch};
use super::window::Found;
use crate::event_log::ids::position_of;
use crate::event_log::wake_list::{Ticket, look_or_register};
use crate::event_log::{Follow, Gap, Logged, Start, Step, Topics};
use crate::wire::EventId;

/// Follows topics of a [`NatsLog`](super::NatsLog).
///
/// It is a place and a waker, and while it is sent what it missed, a batch of events.
pub struct NatsFollower {
    inner: Arc<Inner>,
    topics: Topics,
    generation: u64,
    epoch: u64,
    /// There is nothing that it has not given up to this.
    place: u64,
    /// The sequence of the last event that was given, or that it began behind. Zero for none.
    told: u64,
    ticket: Ticket,
    /// What it is behind the window for.
    behind: Option<Box<Behind>>,
}

enum Behind {
    Wanted(Wanted),
    Waiting(Fetching),
    Giving { gap: Option<Gap>, events: VecDeque<(u64, Logged)>, place: u64 },
}

struct Fetching {
    answer: oneshot::Receiver<Fetched>,
    task: AbortHandle,
}

impl Drop for Fetching {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl NatsFollower {
    pub(super) fn new(inner: Arc<Inner>, topics: Topics, from: Start) -> Self {
        let mut window = inner.shared.window();
        window.join(&topics);
        let (generation, epoch, known) = (window.generation, window.epoch, window.known);
        drop(window);
        let (mut place, mut told, mut wanted) = (known, 0, None);
        match &from {
            Start::Live => {}
            Start::Earliest => wanted = Some(Wanted::Earliest),
            Start::Unknown => wanted = Some(Wanted::Unknown(from)),
            Start::After(id) => match position_of(epoch, id) {
                // Read here, or given out by another node before it could be.
                Some(of) => {
                    (place, told) = (of, of);
                    let asked = from;
                    wanted = (of > known).then_some(Wanted::Behind { generation, place, asked });
                }
                None => wanted = Some(Wanted::Unknown(from)),
            },
        }
        let behind = wanted.map(|wanted| Box::new(Behind::Wanted(wanted)));
        let ticket = Ticket::default();
        Self { inner, topics, generation, epoch, place, told, ticket, behind }
    }

    /// Where it is, as far as its client knows.
    fn asked(&self) -> Start {
        match self.told {
            0 => Start::Live,
            told => Start::After(EventId::with_epoch(self.epoch, told)),
        }
    }

    fn begin_fetch(&self, wanted: Wanted) -> Fetching {
        let shared = &self.inner.shared;
        let (send, answer) = oneshot::channel();
        let fetch = fetch(Arc::clone(shared), self.topics.clone(), wanted);
        let task = shared.runtime.spawn(async move {
            let _ = send.send(fetch.await);
        });
        Fetching { answer, task: task.abort_handle() }
    }

    /// Looks into the window, and waits there if there is nothing.
    fn look(&mut self, waker: &Waker) -> Poll<Found> {
        let (topics, generation) = (&self.topics, self.generation);
        let found = look_or_register(
            || self.inner.shared.window(),
            |window| window.wakers(topics),
            &mut self.ticket,
            waker,
            |window| match window.next(topics, generation, self.place) {
                Found::Nothing(place) => {
                    self.place = place;
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
            match this.behind.as_deref_mut() {
                None => match ready!(this.look(cx.waker())) {
                    Found::Event(sequence, event) => {
                        (this.place, this.told) = (sequence, sequence);
                        return Poll::Ready(Some(Step::Event(event)));
                    }
                    // Of another stream nothing was given yet: then it is as if it began with it.
                    Found::Anew | Found::Behind | Found::Nothing(_) => {
                        let (generation, place, asked) =
                            (this.generation, this.place, this.asked());
                        let wanted = Wanted::Behind { generation, place, asked };
                        this.behind = Some(Box::new(Behind::Wanted(wanted)));
                    }
                },
                Some(Behind::Wanted(wanted)) => {
                    let wanted = wanted.clone();
                    let fetching = this.begin_fetch(wanted);
                    this.behind = Some(Box::new(Behind::Waiting(fetching)));
                }
                Some(Behind::Waiting(fetching)) => {
                    let Ok(fetched) = ready!(Pin::new(&mut fetching.answer).poll(cx)) else {
                        // The runtime is being shut down.
                        return Poll::Ready(None);
                    };
                    let Fetched { generation, epoch, gap, events, place } = fetched;
                    if this.generation != generation {
                        (this.generation, this.epoch, this.told) = (generation, epoch, 0);
                    }
                    this.behind = Some(Box::new(Behind::Giving { gap, events, place }));
                }
                Some(Behind::Giving { gap, events, place }) => {
                    if let Some(gap) = gap.take() {
                        return Poll::Ready(Some(Step::Gap(gap)));
                    }
                    if let Some((sequence, event)) = events.pop_front() {
                        (this.place, this.told) = (sequence, sequence);
                        return Poll::Ready(Some(Step::Event(event)));
                    }
                    this.place = *place;
                    this.behind = None;
                }
            }
        }
    }
}

impl Drop for NatsFollower {
    fn drop(&mut self) {
        let waker = self.inner.shared.window().leave(&self.topics, &mut self.ticket);
        // After the lock: a waker's drop is somebody else's code.
        drop(waker);
    }
}

impl fmt::Debug for NatsFollower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsFollower").field("topics", &self.topics).finish_non_exhaustive()
    }
}
