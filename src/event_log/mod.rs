//! Logs of events: the [`EventLog`] trait, its four implementations, and the types of their API.
//!
//! A log stores events in topics, gives each event an id, and lets any number of clients follow
//! topics from any position: first the events that they missed, then the events that are appended.
//! [`MemoryLog`] keeps events in the process, `RedisLog` (feature `redis`) in Redis Streams,
//! `NatsLog` (feature `nats`) in NATS JetStream, and `PostgresLog` (feature `postgres`) in a table
//! of PostgreSQL; the last three are shared by several nodes.
//!
//! Most applications use a log through a [`Hub`](crate::Hub), which makes responses from it.
//!
//! # Examples
//!
//! ```
//! use std::future::poll_fn;
//! use std::pin::Pin;
//!
//! use tower_sse::Event;
//! use tower_sse::event_log::{EventLog, Follow, MemoryLog, Start, Step, Topic};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let log = MemoryLog::new();
//! let topic = Topic::new("orders")?;
//! let first = log.append(&topic, Event::new().data("one")).await?;
//! let second = log.append(&topic, Event::new().data("two")).await?;
//!
//! // A client that has seen the first event comes back.
//! let mut follower = log.follow((&topic).into(), Start::After(first));
//! let Some(Step::Event(event)) = poll_fn(|cx| Pin::new(&mut follower).poll_next(cx)).await else {
//!     panic!("no event was lost");
//! };
//! assert_eq!(event.id(), second.as_str());
//! assert_eq!(event.bytes(), &format!("data: two\nid: {second}\n\n"));
//! # Ok(())
//! # }
//! ```
//!
//! # Which events are lost, and what a client is told
//!
//! Every log follows one set of rules. An event that a client should have had, and does not get, is
//! never passed over in silence: the client gets a [`Gap`] first. A gap where nothing was lost is
//! allowed where the log cannot know better, and a loss without a gap never is.
//!
//! | the client's position | it gets | reason of the gap | where it goes on |
//! | --- | --- | --- | --- |
//! | none ([`Start::Live`]), or `now` | what is appended from now on | | |
//! | `earliest` | all that the log has | | |
//! | an event, and all after it are kept | what it missed | | |
//! | an event, and some after it are lost | a gap, then what is kept | [`Expired`](GapReason::Expired) | with the first event that is kept |
//! | an event, and it is not known whether some were lost, as in a topic that ended long ago | a gap, then what is kept | [`Expired`](GapReason::Expired) | with the first event that is kept |
//! | one of another epoch: the log was restarted, or its broker lost everything | a gap, then what is kept | [`Restarted`](GapReason::Restarted) | with the first event that is kept |
//! | one after the last event, or a text that is no id | a gap, then what is kept | [`Unknown`](GapReason::Unknown) | with the first event that is kept |
//!
//! The same holds for a follower that is there all the time: if events are trimmed before it asks
//! for them it gets a gap with [`Expired`](GapReason::Expired), and if the broker comes back
//! without its events one with [`Restarted`](GapReason::Restarted).
//!
//! A gap names a [position](Gap::position) from which a client can come back: the last one before
//! the first event that is kept, or, if none is kept, one after all events. A client of one topic
//! gets no other gap there. A client of several topics may get one, if another of its topics has
//! lost later events.
//!
//! # Messages that are taken once
//!
//! A caller that gets no answer does not know whether its event was appended. With
//! [`append_once`](EventLog::append_once) it may ask again: a log takes a [`MessageId`] once within
//! a window. One set of rules holds for all logs:
//!
//! - A message id is one of its topic. In another topic the same id is another message, so one
//!   message may be published in several topics.
//! - The window begins when the event is appended. A repeat does not extend it.
//! - The event of a repeat is not compared: the first one counts.
//! - An event that is refused takes no id, and neither does [`append`](EventLog::append).
//! - Of several calls at the same time one appends the event, on whichever nodes they are.
//!
//! | log | the window | where ids are remembered | what else forgets an id |
//! | --- | --- | --- | --- |
//! | [`MemoryLog`] | [2 minutes](MemoryLogBuilder::duplicate_window) | in the process | [65,536](MemoryLogBuilder::message_ids) later ones |
//! | `RedisLog` | 2 minutes (`duplicate_window`) | in Redis, a key for each, written with the event | a Redis that lost the event, too |
//! | `PostgresLog` | 2 minutes (`duplicate_window`) | in PostgreSQL, a row for each, written with the event | a server that was set back and lost the event, too |
//! | `NatsLog` | 2 minutes (`duplicate_window`) | in the stream, as `Nats-Msg-Id` | a server that was restarted after it trimmed the event |

#[cfg(any(feature = "postgres", feature = "redis"))]
mod broker;
#[cfg(any(feature = "nats", feature = "postgres", feature = "redis"))]
mod broker_error;
#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod contract;
mod finish;
#[cfg(any(feature = "nats", feature = "postgres", feature = "redis"))]
mod health;
mod ids;
mod last;
mod logged;
mod memory;
#[cfg(feature = "nats")]
mod nats;
mod once;
mod page;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
mod start;
mod topic;
mod topics;
mod tree;
mod wake_list;
#[cfg_attr(
    not(any(feature = "postgres", feature = "redis")),
    allow(dead_code, reason = "logs of a broker drive all of it, and each other log a part")
)]
mod window;

use std::error::Error;
use std::future::{Future, ready};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

use crate::wire::{Event, EventId};

#[cfg(any(feature = "nats", feature = "postgres", feature = "redis"))]
#[cfg_attr(docsrs, doc(cfg(any(feature = "nats", feature = "postgres", feature = "redis"))))]
pub use broker_error::BrokerError;
pub(crate) use finish::{Told, TopicsHash, close_event, finish_event, finish_id, told};
#[cfg(any(feature = "nats", feature = "postgres", feature = "redis"))]
#[cfg_attr(docsrs, doc(cfg(any(feature = "nats", feature = "postgres", feature = "redis"))))]
pub use health::LogHealth;
pub use logged::{InvalidEvent, Logged};
pub use memory::{MemoryFollower, MemoryLog, MemoryLogBuilder, MemoryLogError};
#[cfg(feature = "nats")]
#[cfg_attr(docsrs, doc(cfg(feature = "nats")))]
pub use nats::{NatsFollower, NatsLog, NatsLogBuilder, NatsStorage};
pub use once::{Appended, MessageId};
pub use page::Page;
#[cfg(feature = "postgres")]
#[cfg_attr(docsrs, doc(cfg(feature = "postgres")))]
pub use postgres::{PostgresFollower, PostgresLog, PostgresLogBuilder};
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use redis::{RedisFollower, RedisLog, RedisLogBuilder};
pub use start::{Gap, GapPolicy, GapReason, Start};
pub use topic::Topic;
pub use topics::Topics;

/// An ordered, bounded log of events, each of which belongs to a topic.
///
/// A log gives each event an id. Ids are opaque, at most 64 bytes long, and in one order over all
/// topics of the log. So one id is a position in any set of topics, which matters because a client
/// sends only one `Last-Event-ID`, however many topics it follows.
///
/// Clones are handles to the same log.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no log of events",
    note = "`MemoryLog`, `RedisLog`, `NatsLog` and `PostgresLog` are, each with its feature"
)]
pub trait EventLog: Clone + Send + Sync + 'static {
    /// The error of an append that failed.
    type Error: Error + Send + Sync + 'static;

    /// The follower that [`follow`](Self::follow) returns.
    type Follower: Follow;

    /// Appends an event to a topic and returns the id that the log gave it.
    ///
    /// The log's id replaces an id of the event's own. If a caller awaits each append before the
    /// next, its events are in the order of the calls.
    ///
    /// # Errors
    ///
    /// If the event was not appended, or if the log does not know whether it was, as after the
    /// connection to a broker was lost.
    ///
    /// # Cancellation safety
    ///
    /// If the future is dropped before it is ready, the event may or may not have been appended. It
    /// is never appended in part, and never twice.
    fn append(
        &self,
        topic: &Topic,
        event: Event,
    ) -> impl Future<Output = Result<EventId, Self::Error>> + Send;

    /// Appends an event without waiting, for callers that have no runtime.
    ///
    /// Returns `None`, and does nothing, if the log has to wait, as for a broker. The default
    /// implementation returns `None`.
    fn append_at_once(&self, topic: &Topic, event: &Event) -> Option<Result<EventId, Self::Error>> {
        let _ = (topic, event);
        None
    }

    /// Appends the event of a message, unless the message was taken before.
    ///
    /// It is for callers that may ask twice: after an answer that did not come, it is not known
    /// whether the event was appended, and to ask again with the same message id is safe. It
    /// returns the id of the event that was appended first, whatever the event of the repeat is.
    ///
    /// A message id is one of its topic, and is taken for a time, the log's `duplicate_window`,
    /// from when the event was appended: see [the rules](self#messages-that-are-taken-once).
    ///
    /// It returns `None`, and appends nothing, if the log cannot do this. So does the default
    /// implementation: without help of the log, a repeat would be appended a second time.
    ///
    /// # Errors
    ///
    /// As of [`append`](Self::append). An event that is refused takes no message id.
    ///
    /// # Cancellation safety
    ///
    /// As of [`append`](Self::append).
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_sse::Event;
    /// use tower_sse::event_log::{EventLog, MemoryLog, MessageId, Topic};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (log, topic) = (MemoryLog::new(), Topic::new("orders.42")?);
    /// let message = MessageId::new("payment-7")?;
    /// let paid = || Event::new().data("paid");
    ///
    /// let first = log.append_once(&topic, paid(), &message).await.ok_or("it can")??;
    /// let again = log.append_once(&topic, paid(), &message).await.ok_or("it can")??;
    /// assert!(!first.is_repeat && again.is_repeat);
    /// assert_eq!(first.id, again.id);
    /// # Ok(())
    /// # }
    /// ```
    fn append_once(
        &self,
        topic: &Topic,
        event: Event,
        message: &MessageId,
    ) -> impl Future<Output = Option<Result<Appended, Self::Error>>> + Send {
        let _ = (topic, event, message);
        ready(None)
    }

    /// Follows topics: first the events that were missed, then the events that are appended.
    ///
    /// The follower returns each event once and in the order of the ids, also while other tasks
    /// append. From [`Start::Live`] on, it returns the events that are appended after this call.
    /// Events that cannot be replayed are reported as a [`Step::Gap`].
    ///
    /// There is one exception, so that no client waits for events of a topic that is over. If the
    /// last event of a topic that is followed by name [finishes it](Logged::finishes_topic), the
    /// follower returns that event, also if it starts after it.
    fn follow(&self, topics: Topics, from: Start) -> Self::Follower;

    /// Reads events of a topic that the log has now: at most `limit`, from a position on.
    ///
    /// It returns what a follower that starts at `from` would return at once, with the gap before
    /// it. A look registers nothing: afterwards the log holds no more than before, whatever the
    /// name of the topic is. So a name or an id that a client made up costs one look.
    ///
    /// A log may return fewer events than there are, for example to bound the bytes of an answer;
    /// then [`Page::has_more`] is true.
    ///
    /// The default implementation follows the topic until `limit` events have come, or until none
    /// has come for a second. Implement it if following leaves something behind, or if a second is
    /// long.
    ///
    /// # Errors
    ///
    /// If the log cannot be read now, as while a broker is away.
    ///
    /// # Panics
    ///
    /// The default implementation panics outside of a Tokio runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_sse::Event;
    /// use tower_sse::event_log::{EventLog, MemoryLog, Start, Topic};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let log = MemoryLog::new();
    /// let topic = Topic::new("orders")?;
    /// log.append(&topic, Event::new().data("one")).await?;
    /// log.append(&topic, Event::new().data("two")).await?;
    ///
    /// let page = log.read(&topic, Start::Earliest, 1).await?;
    /// assert!(page.gap.is_none() && page.has_more);
    /// let rest = log.read(&topic, Start::requested(page.events[0].id()), 10).await?;
    /// assert_eq!(rest.events.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    fn read(
        &self,
        topic: &Topic,
        from: Start,
        limit: usize,
    ) -> impl Future<Output = Result<Page, Self::Error>> + Send {
        let topics = Topics::from(topic);
        async move {
            let follower = self.follow(topics, from);
            Ok(page::read_by_following(follower, limit, page::SILENCE).await)
        }
    }

    /// Reads the last `count` events that the log has of these topics, in the order of their ids.
    ///
    /// It returns fewer if there are fewer, and no event that [finishes a
    /// topic](Logged::finishes_topic). Between the first and the last that it returns, none is
    /// missing that the log has. So a follower that starts after the last one goes on where they
    /// end.
    ///
    /// The default implementation reads a single topic page by page. It follows several topics from
    /// the beginning, until a [look](Self::read) at each finds no more, or until it has come to
    /// what is appended meanwhile. Of patterns, and if looks are slow, it knows no better than that
    /// no event has come for a second. It gives up after ten seconds, with what it has seen until
    /// then. Implement it if the log can look from the end, as the logs of this crate do.
    ///
    /// # Errors
    ///
    /// If the log cannot be read now, as while a broker is away.
    ///
    /// # Panics
    ///
    /// The default implementation panics outside of a Tokio runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_sse::Event;
    /// use tower_sse::event_log::{EventLog, MemoryLog, Topic};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let log = MemoryLog::new();
    /// let topic = Topic::new("chat")?;
    /// log.append(&topic, Event::new().data("one")).await?;
    /// let id = log.append(&topic, Event::new().data("two")).await?;
    ///
    /// let last = log.last(&(&topic).into(), 1).await?;
    /// assert_eq!(last.len(), 1);
    /// assert_eq!(last[0].id(), id.as_str());
    /// # Ok(())
    /// # }
    /// ```
    fn last(
        &self,
        topics: &Topics,
        count: usize,
    ) -> impl Future<Output = Result<Vec<Logged>, Self::Error>> + Send {
        let (log, topics) = (self.clone(), topics.clone());
        async move {
            match topics.single() {
                Some(topic) => last::by_reading(&log, topic, count).await,
                None => Ok(last::by_following(&log, &topics, count).await),
            }
        }
    }

    /// Lets go of a topic that is over: from `after` on, none of its events need be kept.
    ///
    /// An event that is appended before then keeps the topic. Keeping events for longer is allowed:
    /// the default implementation does nothing.
    ///
    /// # Errors
    ///
    /// If the log could not note it. Then the topic is kept as any other.
    fn forget(
        &self,
        topic: &Topic,
        after: Duration,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        let _ = (topic, after);
        ready(Ok(()))
    }

    /// Whether the log will not append the same event later either, as an event that is too long.
    /// So there is no use in trying again.
    ///
    /// The default implementation returns false.
    fn is_final(error: &Self::Error) -> bool {
        let _ = error;
        false
    }

    /// The position after the last event of these topics: a follower that starts there misses no
    /// event that is appended later.
    ///
    /// It is for a page that shows a state and then follows its changes: read the position first,
    /// then the state, and give both to the page.
    ///
    /// # Errors
    ///
    /// If the log does not know its last event, as while a broker is away.
    fn latest(&self, topics: &Topics) -> impl Future<Output = Result<EventId, Self::Error>> + Send;
}

/// Follows topics of a log.
///
/// A follower costs the log a position and a waker, and no queue: events stay in the log until the
/// follower asks for them. A follower that does not ask delays nothing else.
pub trait Follow: Send + 'static {
    /// Polls for the next event, or for a gap before it.
    ///
    /// Returns `Ready(None)` when the log has ended, which most logs never do. After a gap the
    /// follower goes on at the gap's [`position`](Gap::position). While a broker is away the
    /// follower is pending, and it goes on where it was when the broker is back.
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Step>>;

    /// Polls for all events that are ready and that the log can return as one piece of bytes, for
    /// callers that only send them on.
    ///
    /// An event that [finishes its topic](Logged::finishes_topic) is a piece of its own.
    ///
    /// The default implementation returns one event at a time.
    fn poll_run(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Run>> {
        self.poll_next(cx).map(|step| {
            step.map(|step| match step {
                Step::Event(event) => Run::Events(event.into_bytes()),
                Step::Gap(gap) => Run::Gap(gap),
            })
        })
    }
}

/// What [`Follow::poll_next`] returns.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Step {
    /// The next event.
    Event(Logged),
    /// Events that cannot be replayed. The events that follow are after the gap.
    Gap(Gap),
}

/// What [`Follow::poll_run`] returns.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Run {
    /// One or more whole events, encoded as they are sent.
    Events(Bytes),
    /// Events that cannot be replayed. The events that follow are after the gap.
    Gap(Gap),
}
