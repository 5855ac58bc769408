//! What a log does.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::{Gap, Logged, Start, Topic, Topics};
use crate::wire::{Event, EventId};

/// An ordered, bounded memory of events, each in a topic.
///
/// A log gives each event an id. Ids are opaque, at most 64 bytes long, and in one order over all
/// topics of the log: so one id is a place in any set of topics, as a client has only one
/// `Last-Event-ID`, whatever it follows.
///
/// Clones are handles to the same log.
pub trait EventLog: Clone + Send + Sync + 'static {
    /// Why an event could not be appended.
    type Error: Error + Send + Sync + 'static;

    /// Follows topics.
    type Follower: Follow;

    /// Appends an event to a topic, and gives the id that it got.
    ///
    /// The id replaces one of the event's own. Events of one caller, each awaited, are in the order
    /// of the calls.
    ///
    /// # Errors
    ///
    /// When the event was not appended, or when that is not known, as after a broker has gone.
    ///
    /// # Cancellation safety
    ///
    /// A future that is dropped before it is ready may have appended the event or not. It is never
    /// appended in part, and never twice.
    fn append(
        &self,
        topic: &Topic,
        event: Event,
    ) -> impl Future<Output = Result<EventId, Self::Error>> + Send;

    /// Appends an event without waiting, for callers that have no runtime. None, and nothing is
    /// done, if the log has to wait for something, as for a broker.
    fn append_at_once(&self, topic: &Topic, event: &Event) -> Option<Result<EventId, Self::Error>> {
        let _ = (topic, event);
        None
    }

    /// Follows topics: first what was missed, then what comes, each event once and in the order of
    /// the ids, also while others append.
    ///
    /// From [`Start::Live`] on, the follower gets what is appended after this call. What it cannot
    /// get it is told of in a [`Step::Gap`].
    fn follow(&self, topics: Topics, from: Start) -> Self::Follower;

    /// The place behind the last event of these topics: to follow from there misses nothing that is
    /// appended later.
    ///
    /// It is for a page that shows a state and then follows what changes it: get the place, then the
    /// state, and give both to the page.
    ///
    /// # Errors
    ///
    /// When it is not known, as after a broker has gone.
    fn latest(&self, topics: &Topics) -> impl Future<Output = Result<EventId, Self::Error>> + Send;
}

/// Follows topics of a log.
///
/// It costs the log a place and a waker, and no queue: events stay in the log until they are asked
/// for, and who does not ask delays nobody.
pub trait Follow: Send + 'static {
    /// The next event, or a gap in front of it.
    ///
    /// `Ready(None)` when the log has ended, which most logs never do. Behind a gap the follower goes
    /// on at the gap's [`place`](Gap::place). While a broker is away the follower waits, and goes on
    /// where it was.
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Step>>;

    /// The same for those who only send on what they get: of events that are ready, as many as the
    /// log gives at once.
    ///
    /// By default that is one.
    fn poll_run(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Run>> {
        self.poll_next(cx).map(|step| {
            step.map(|step| match step {
                Step::Event(event) => Run::Events(event.into_bytes()),
                Step::Gap(gap) => Run::Gap(gap),
            })
        })
    }
}

/// What a follower comes to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Step {
    /// An event.
    Event(Logged),
    /// Events that cannot be had. What follows is behind the gap.
    Gap(Gap),
}

/// What a follower comes to that only sends it on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Run {
    /// Whole events as they are sent, one at least.
    Events(Bytes),
    /// Events that cannot be had. What follows is behind the gap.
    Gap(Gap),
}
