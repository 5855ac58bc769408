//! Following topics of a log in NATS: from the window, or from fetched batches.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::vec;

use tokio::task::JoinHandle;

use super::NatsHandle;
use super::batch::NatsEvent;
use super::fetch::{FetchRequest, FetchedEvents, fetch};
use super::ids::NatsPosition;
use super::link::{NatsMessage, RolledUp};
use crate::event_log::wake_list::{Ticket, look_or_register};
use crate::event_log::window::{Cursor, Found, Placement};
use crate::event_log::{Follow, Gap, GapReason, Logged, Start, Step, Topics};
use crate::sync::drop_caught;

/// Follows topics of a [`NatsLog`](super::NatsLog).
///
/// It is a position and a waker, and a batch of events while it is behind the window.
pub struct NatsFollower {
    log: Arc<NatsHandle>,
    topics: Topics,
    /// The key of its group in the window; `None` if it does not wait.
    group: Option<usize>,
    cursor: Cursor,
    /// The last event that was returned, or the position that the follower started at.
    delivered: Option<NatsPosition>,
    /// The position that the follower started at, while the server is still to be asked for topics
    /// that are finished up to there.
    seeks_ends: Option<u64>,
    ticket: Ticket,
    /// What is fetched, while the follower is behind the window.
    catch_up: Option<Box<CatchUp>>,
    /// The client is told of events that are lost after this.
    owed_after: u64,
    /// The position from which on the follower has read the window.
    in_window_after: u64,
}

enum CatchUp {
    Requested(FetchRequest),
    Fetching(FetchTask),
    Fetched { gap: Option<Gap>, events: vec::IntoIter<NatsEvent>, position: u64 },
}

struct FetchTask(JoinHandle<FetchedEvents>);

impl Drop for FetchTask {
    fn drop(&mut self) {
        self.0.abort();
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
        let placement = window.place(&from);
        let cursor = window.start(placement);
        let starts_after = matches!(placement, Placement::After(_) | Placement::Ahead(_));
        let seeks_ends = Some(cursor.position())
            .filter(|position| starts_after && window.may_be_finished(&topics, *position));
        drop(window);
        let delivered = match &from {
            Start::After(id) if starts_after => NatsPosition::parse(id),
            _ => None,
        };
        let (slot, reason) = match placement {
            Placement::Ahead(_) => (delivered.map(|position| position.slot), None),
            Placement::Gap(reason) => (None, Some(reason)),
            Placement::After(_) | Placement::Earliest => (None, None),
        };
        let owed_after = cursor.owed_after();
        let catch_up = (!matches!(placement, Placement::After(_))).then(|| {
            let (cursor, requested) = (cursor.clone(), from);
            let request = FetchRequest::Events { cursor, slot, reason, requested, owed_after };
            Box::new(CatchUp::Requested(request))
        });
        Self {
            log,
            topics,
            group: None,
            in_window_after: cursor.position(),
            cursor,
            delivered,
            seeks_ends,
            ticket: Ticket::default(),
            catch_up,
            owed_after,
        }
    }

    /// The position of the follower, as far as its client knows.
    fn delivered(&self) -> Start {
        self.delivered.map_or(Start::Live, |position| Start::After(position.id()))
    }

    /// Notes that an event is returned.
    fn step(&mut self, at: NatsPosition, event: Logged) -> Step {
        // A topic may be finished before the position, and then that stays.
        if at.sequence() > self.cursor.position() || !event.finishes_topic() {
            self.delivered = Some(at);
        }
        self.cursor.advance(at.sequence());
        Step::Event(event)
    }

    /// Passes by a message that replaced events of a topic. Returns a gap if the client should have
    /// had some of them.
    fn pass(&mut self, at: NatsPosition, rolled_up: &RolledUp) -> Option<Step> {
        let RolledUp { last, is_read, .. } = *rolled_up;
        self.cursor.advance(at.sequence());
        // What this process has read comes from the window, if the follower was there by then.
        if last <= self.owed_after || (is_read && last > self.in_window_after) {
            return None;
        }
        let after = NatsPosition::after(at.epoch, at.slot);
        let gap = Gap::new(after.id()).requested(&self.delivered()).because(GapReason::Expired);
        (self.delivered, self.owed_after) = (Some(after), at.sequence());
        Some(Step::Gap(gap))
    }

    fn spawn_fetch(&self, request: FetchRequest) -> FetchTask {
        let inner = &self.log.inner;
        let fetch = fetch(Arc::clone(inner), self.topics.clone(), request);
        FetchTask(inner.runtime.spawn(fetch))
    }

    /// Looks for the next event in the window, and has the task woken by it if there is none.
    fn poll_window(&mut self, waker: &Waker) -> Poll<Looked> {
        let (inner, cursor) = (&self.log.inner, &self.cursor);
        let Some(group) = self.group else {
            let window = inner.window();
            let found = Looked::of(window.look(&self.topics, cursor));
            return Poll::Ready(found.unwrap_or(Looked::Ended));
        };
        let found = look_or_register(
            || inner.window(),
            |window| window.wakers(group),
            &mut self.ticket,
            waker,
            |window| {
                let found = Looked::of(window.find(group, cursor));
                found.or(window.has_ended.then_some(Looked::Ended))
            },
        );
        found.map_or(Poll::Pending, Poll::Ready)
    }
}

/// What the window has for a follower.
enum Looked {
    Event(NatsPosition, Logged),
    RolledUp(NatsPosition, Box<RolledUp>),
    /// The server may have events that the window has not.
    Lacking,
    /// There will be nothing more.
    Ended,
}

impl Looked {
    /// `None` if there is nothing yet.
    fn of(found: Found<'_, NatsMessage>) -> Option<Self> {
        match found {
            Found::Event(NatsMessage { position, event, rolled_up }) => {
                let rolled_up = rolled_up.clone().map(|it| Self::RolledUp(*position, it));
                event.clone().map(|event| Self::Event(*position, event)).or(rolled_up)
            }
            Found::Nothing => None,
            Found::Below(_) | Found::Moved => Some(Self::Lacking),
        }
    }
}

impl Follow for NatsFollower {
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Step>> {
        let this = &mut *self;
        loop {
            match this.catch_up.as_deref_mut() {
                None => {
                    let request = match this.seeks_ends.take() {
                        Some(up_to) => FetchRequest::Ends { cursor: this.cursor.clone(), up_to },
                        None => match ready!(this.poll_window(cx.waker())) {
                            Looked::Event(at, event) => {
                                return Poll::Ready(Some(this.step(at, event)));
                            }
                            Looked::RolledUp(at, rolled_up) => match this.pass(at, &rolled_up) {
                                Some(gap) => return Poll::Ready(Some(gap)),
                                None => continue,
                            },
                            Looked::Ended => return Poll::Ready(None),
                            Looked::Lacking => FetchRequest::Events {
                                cursor: this.cursor.clone(),
                                slot: None,
                                reason: None,
                                requested: this.delivered(),
                                owed_after: this.owed_after,
                            },
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
                    let fetched = match ready!(Pin::new(&mut task.0).poll(cx)) {
                        Ok(fetched) => fetched,
                        Err(error) => {
                            // The runtime is being shut down, and the poller may end a moment
                            // later.
                            if error.is_cancelled() {
                                this.log.inner.end();
                            }
                            return Poll::Ready(None);
                        }
                    };
                    let FetchedEvents { cursor, gap, events, position } = fetched;
                    this.cursor = cursor;
                    if let Some(gap) = &gap {
                        this.delivered = NatsPosition::parse(&gap.position);
                        // If it begins anew, all that there is comes after the gap, and so do
                        // these.
                        if gap.reason != GapReason::Expired {
                            this.seeks_ends = None;
                        }
                        this.owed_after = this.cursor.owed_after().max(position);
                    }
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
                    this.cursor.advance(*position);
                    this.in_window_after = this.cursor.position();
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
        drop_caught(waker);
    }
}

impl fmt::Debug for NatsFollower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsFollower").field("topics", &self.topics).finish_non_exhaustive()
    }
}
